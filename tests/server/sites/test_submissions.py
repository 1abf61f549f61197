"""What a study is and what a run of it may ask for, as both are made: doing it twice is fine, and otherwise is told."""

import json
import threading
from typing import Any

import pytest

from fedward_core.spec import Spec
from fedward_server.scheduler.task import Finding

JSON = {"Content-Type": "application/json"}
STUDY: dict[str, Any] = {"name": "drill", "sites": ["hill", "north", "river"], "classes": ["a", "b"]}
SPEC: dict[str, Any] = {
    "name": "drill",
    "dataset": {"name": "none"},
    "cohort": {"min_sites": 2},
    "stages": [{"name": "only", "method": "rehearsal", "rounds": 1}],
}


@pytest.fixture
def studied(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A coordinator with two studies, which starts no attempt."""
    waits = "fedward_server.scheduler.work.Work._start"
    monkeypatch.setattr(waits, lambda work, task: Finding(bytes_read=task.bytes_read))
    for study in (STUDY, {**STUDY, "name": "other"}):
        assert hub.call("POST", "/studies", json=study).status_code == 201
    return hub


def submit(hub: Any, *, key: str = "", **changes: Any) -> Any:
    headers = {"Authorization": f"Bearer {hub.admin}", **({"Idempotency-Key": key} if key else {})}
    body = {"study": "drill", "spec": SPEC, **changes}
    return hub.runner.run(hub.client.request("POST", "/api/v1/runs", headers=headers, json=body))


def told(answer: Any) -> str:
    return str(answer.json()["error"]["message"])


@pytest.mark.parametrize("change", [{"sites": ["hill", "north"]}, {"classes": ["b", "a"]}, {"classes": []}])
def test_a_study_may_be_made_again_but_not_otherwise(change: dict[str, Any], studied: Any) -> None:
    assert studied.call("POST", "/studies", json=STUDY).status_code == 201
    answer = studied.call("POST", "/studies", json={**STUDY, **change})
    assert (answer.status_code, "another study 'drill'" in told(answer)) == (409, True)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"study": "other"}, "study"),
        ({"engine": "ray"}, "engine"),
        ({"workers": 2}, "workers"),
        ({"spec": {**SPEC, "seed": 1}}, "spec digest"),
        ({"spec": {**SPEC, "cohort": {"min_sites": 2, "sites": ["hill", "north"]}}}, "spec digest"),
    ],
)
def test_a_run_may_be_submitted_again_but_not_otherwise(change: dict[str, Any], what: str, studied: Any) -> None:
    assert [submit(studied, run="one").status_code for _ in range(2)] == [201, 200]
    answer = submit(studied, run="one", **change)
    assert (answer.status_code, f"with another {what}" in told(answer)) == (409, True)


def test_a_key_that_belongs_to_one_run_gives_no_other(studied: Any) -> None:
    assert submit(studied, run="one", key="once").status_code == 201
    assert submit(studied, key="once").json()["id"] == "one"
    answer = submit(studied, run="two", key="once")
    assert (answer.status_code, "belongs to run 'one'" in told(answer)) == (409, True)


def test_an_engine_that_does_not_exist_is_answered_with_the_nearest(studied: Any) -> None:
    answer = submit(studied, engine="inlin")
    assert (answer.status_code, "Did you mean 'inline'?" in told(answer)) == (422, True)


@pytest.mark.parametrize(
    ("cohort", "expected"),
    [
        ({"min_sites": 2, "hold_out": ["far"]}, "has no site far"),
        ({"min_sites": 2, "hold_out": ["hill", "river"]}, "1 sites of study 'drill' would train"),
        ({"min_sites": 4}, "3 sites of study 'drill' would train"),
    ],
)
def test_a_cohort_that_a_study_cannot_give_is_refused(cohort: dict[str, Any], expected: str, studied: Any) -> None:
    answer = submit(studied, spec={**SPEC, "cohort": cohort})
    assert (answer.status_code, expected in told(answer)) == (422, True)


def test_a_spec_is_parsed_where_nobody_else_waits_for_it(studied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    parse = Spec.parse

    def noted(values: Any) -> Spec:
        threads.append(threading.current_thread())
        return parse(values)

    monkeypatch.setattr(Spec, "parse", noted)
    assert submit(studied).status_code == 201
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/runs", {"study": "\ud800", "spec": SPEC}),
        ("/runs", {"study": "drill", "spec": SPEC, "\udfff": 1}),
        ("/runs", {"study": "drill", "spec": {**SPEC, "\ud800": 1}}),
        ("/runs", {"study": "drill", "spec": {**SPEC, "dataset": {"name": "a\ud83d"}}}),
        ("/studies", {"name": "other", "sites": ["hill"], "classes": ["\ude00\ud83d"]}),
    ],
)
def test_half_a_character_is_refused_and_told(path: str, body: dict[str, Any], studied: Any) -> None:
    answer = studied.call("POST", path, content=json.dumps(body), headers=JSON)
    assert answer.status_code == 422
    assert "is half a character" in told(answer)


def test_half_a_character_that_stands_there_as_bytes_is_refused_too(studied: Any) -> None:
    content = json.dumps({"study": "drill\ud800", "spec": SPEC}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    answer = studied.call("POST", "/runs", content=content, headers=JSON)
    assert (answer.status_code, "is half a character" in told(answer)) == (422, True)


@pytest.mark.parametrize("path", ["/runs", "/runs/drill-1/stop"])
def test_what_is_nested_too_deeply_to_be_read_is_refused(path: str, studied: Any) -> None:
    """Also where no body is asked for: whoever has no key, too, may send one."""
    answer = studied.call("POST", path, key="", content="[" * 100_000, headers=JSON)
    assert answer.status_code in {400, 422}


def test_a_character_of_two_halves_is_whole(studied: Any) -> None:
    body = {"name": "faces", "sites": ["hill"], "classes": ["\U0001f600"]}
    answer = studied.call("POST", "/studies", content=json.dumps(body), headers=JSON)
    assert (answer.status_code, answer.json()["classes"]) == (201, ["\U0001f600"])
