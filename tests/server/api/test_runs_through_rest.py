"""A run from submission to its artifacts, through REST alone."""

import contextlib
import csv
import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import wait_until

from fedward_core.arrays import read_arrays


def test_a_run_is_carried_out_and_its_artifacts_downloaded(shared_coordinator: Any, tmp_path: Any) -> None:
    assert shared_coordinator.submit("whole-1", 3)["state"] == "submitted"
    run = shared_coordinator.wait("whole-1", "completed")
    assert run["attempt"] == 1
    events = shared_coordinator.call("GET", "/runs/whole-1/events").json()
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["kind"] for event in events].count("round_finished") == 3
    moves = [event["facts"]["to"] for event in events if event["kind"] == "run_moved"]
    assert moves == ["submitted", "starting", "running", "completed"]

    metrics = shared_coordinator.call("GET", "/runs/whole-1/metrics").json()
    assert len(metrics["losses"]) == 9
    assert {one["site"] for one in metrics["evaluations"]} == {"hill", "north", "river"}

    answer = shared_coordinator.call("GET", "/runs/whole-1/artifacts/download", role="reader")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    digests = json.loads(archive.read("digests.json"))
    assert set(archive.namelist()) == {
        "cards.json",
        "digests.json",
        "events.jsonl",
        "metrics.csv",
        "metrics.json",
        "models.json",
        "run.json",
        "spec.json",
        "stages/only/final.safetensors",
    }
    named = set(archive.namelist()) - {"digests.json"}
    assert digests == {name: hashlib.sha256(archive.read(name)).hexdigest() for name in named}
    models = json.loads(archive.read("models.json"))
    assert models["only"]["final"] == {"present": True}
    assert "set evaluate.best" in models["only"]["best"]["reason"]
    assert archive.read("metrics.csv") == shared_coordinator.call("GET", "/runs/whole-1/metrics.csv").content
    assert str(shared_coordinator.home).encode() not in b"".join(archive.read(name) for name in archive.namelist())
    archive.extract("stages/only/final.safetensors", tmp_path)
    assert read_arrays(tmp_path / "stages/only/final.safetensors")[0].keys() == {f"tensor_{i}" for i in range(4)}


def test_the_best_model_is_in_the_download_with_what_chose_it(shared_coordinator: Any, drill: Any) -> None:
    evaluate = {"every": 1, "split": "val", "best": "mean_weight"}
    body = {"study": "drill", "spec": drill(4) | {"evaluate": evaluate}, "run": "best-1"}
    shared_coordinator.call("POST", "/studies", json={"name": "drill", "sites": ["hill", "north", "river"]})
    assert shared_coordinator.call("POST", "/runs", json=body).status_code == 201
    shared_coordinator.wait("best-1", "completed")
    answer = shared_coordinator.call("GET", "/runs/best-1/artifacts/download")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    best = json.loads(archive.read("models.json"))["only"]["best"]
    rows = list(csv.DictReader(io.StringIO(archive.read("metrics.csv").decode())))
    own = [row for row in rows if row["metric"] == "mean_weight" and row["site"] == "hill"]
    assert [row["round"] for row in own] == ["1", "2", "3", "4"]
    means = [float(row["value"]) for row in own]
    assert (best["metric"], best["round"]) == ("mean_weight", means.index(max(means)))
    assert "stages/only/best.safetensors" in archive.namelist()


def test_events_stream_until_the_end_and_go_on_from_the_last_one_seen(shared_coordinator: Any) -> None:
    shared_coordinator.submit("told-1", 3)
    headers = {"Authorization": f"Bearer {shared_coordinator.keys['reader']}"}
    told = []
    with httpx.stream(
        "GET", f"{shared_coordinator.url}/runs/told-1/events/stream", headers=headers, timeout=60
    ) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = [line for line in stream.iter_lines() if line]
    sequences = [int(line.removeprefix("id: ")) for line in told if line.startswith("id: ")]
    assert sequences == list(range(1, len(sequences) + 1))
    assert told[-2:] == ["event: end", 'data: {"state": "completed"}']
    last = {"Last-Event-ID": str(sequences[-2])}
    rest = shared_coordinator.call("GET", "/runs/told-1/events/stream", headers=last).text
    assert rest.count("id: ") == 1


@pytest.mark.parametrize("wanted", ["bytes=abc", "bytes=99999999-"])
def test_a_download_leaves_no_file_behind_whatever_part_is_asked_for(wanted: str, shared_coordinator: Any) -> None:
    shared_coordinator.submit("parts-1", 1)
    shared_coordinator.wait("parts-1", "completed")
    temporary = Path(tempfile.gettempdir())
    before = set(temporary.glob("fedward-artifacts-*"))
    answer = shared_coordinator.call("GET", "/runs/parts-1/artifacts/download", headers={"Range": wanted})
    assert set(temporary.glob("fedward-artifacts-*")) == before
    assert [path.name for path in shared_coordinator.home.iterdir() if path.suffix == ".zip"] == []
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_a_stream_ends_when_its_key_is_taken_back(shared_coordinator: Any) -> None:
    shared_coordinator.submit("long-1", 100_000)
    shared_coordinator.call("POST", "/runs/long-1/pause")  # nothing happens in it, and it does not end
    key = shared_coordinator.call("POST", "/keys", json={"name": "listener", "role": "reader"}).json()["key"]
    headers, url = {"Authorization": f"Bearer {key}"}, f"{shared_coordinator.url}/runs/long-1/events/stream"
    with httpx.stream("GET", url, headers=headers, timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "id: 1"
        shared_coordinator.call("DELETE", "/keys/listener")
        assert "event: end" not in list(lines)
    shared_coordinator.call("POST", "/runs/long-1/stop")


def test_one_key_follows_only_so_many_streams_at_a_time(shared_coordinator: Any) -> None:
    shared_coordinator.submit("many-1", 100_000)
    shared_coordinator.call("POST", "/runs/many-1/pause")  # nothing happens in it, and it does not end
    url, keys = f"{shared_coordinator.url}/runs/many-1/events/stream", shared_coordinator.keys
    headers = {role: {"Authorization": f"Bearer {key}"} for role, key in keys.items()}
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(timeout=60, limits=limits) as client, contextlib.ExitStack() as stack:

        def follow(role: str) -> int:
            return stack.enter_context(client.stream("GET", url, headers=headers[role])).status_code

        assert {follow("reader") for _ in range(50)} == {200}
        assert follow("reader") == 503
        assert follow("admin") == 200
        stack.close()
        wait_until(lambda: follow("reader") == 200)
    shared_coordinator.call("POST", "/runs/many-1/stop")


def test_one_key_has_only_so_many_downloads_under_way(shared_coordinator: Any) -> None:
    shared_coordinator.submit("slow-1", 1)
    shared_coordinator.wait("slow-1", "completed")
    # Weights that fill what a connection holds while nobody reads.
    (shared_coordinator.home / "runs" / "slow-1" / "stages" / "only" / "final.safetensors").write_bytes(bytes(2**25))
    url = f"{shared_coordinator.url}/runs/slow-1/artifacts/download"
    headers = {"Authorization": f"Bearer {shared_coordinator.keys['reader']}"}
    with httpx.Client(timeout=60, headers=headers) as client, contextlib.ExitStack() as stack:

        def download() -> int:
            return stack.enter_context(client.stream("GET", url)).status_code

        assert [download() for _ in range(5)] == [200, 200, 200, 200, 503]
        stack.close()
        wait_until(lambda: download() == 200)


def test_submitting_twice_gives_one_run(shared_coordinator: Any, drill: Any) -> None:
    first = shared_coordinator.submit("twice-1", 1)
    body = {"study": "drill", "spec": drill(1), "run": "twice-1"}
    assert shared_coordinator.call("POST", "/runs", json={**body, "workers": 2}).status_code == 409
    body = {"study": "drill", "spec": drill(1)}
    key = {"Idempotency-Key": "once"}
    answers = [shared_coordinator.call("POST", "/runs", json=body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"] != first["id"]
    other = {"study": "drill", "spec": drill(2)}
    assert shared_coordinator.call("POST", "/runs", json=other, headers=key).json()["error"]["code"] == "conflict"


def test_a_run_that_is_stopped_ends_cancelled_and_may_be_stopped_again(shared_coordinator: Any) -> None:
    shared_coordinator.submit("stopped-1", 100_000)
    shared_coordinator.submit("stopped-2", 1)
    assert shared_coordinator.call("POST", "/runs/stopped-2/stop").json()["state"] == "cancelled"
    shared_coordinator.wait("stopped-1", "running")
    early = shared_coordinator.call("GET", "/runs/stopped-1/artifacts/download")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "conflict")
    assert shared_coordinator.call("POST", "/runs/stopped-1/stop").json()["state"] == "stopping"
    run = shared_coordinator.wait("stopped-1", "cancelled")
    assert run["reason"] == "stopped on request"
    assert shared_coordinator.call("POST", "/runs/stopped-1/stop").json()["state"] == "cancelled"


def test_a_run_that_fails_says_why_without_a_path(shared_coordinator: Any, tmp_path: Any, drill: Any) -> None:
    (tmp_path / "data" / "north").mkdir(parents=True)
    (tmp_path / "data" / "north" / "labels.csv").write_text("nothing\n")
    study = {"name": "broken", "data": str(tmp_path / "data")}
    assert shared_coordinator.call("POST", "/studies", json=study).json()["sites"] == ["north"]
    (shared_coordinator.home / "runs" / "bad" / "run.json").mkdir(parents=True)
    body = {"study": "broken", "spec": drill(1) | {"cohort": {"min_sites": 1}}, "run": "bad"}
    shared_coordinator.call("POST", "/runs", json=body)
    run = shared_coordinator.wait("bad", "failed")
    assert run["reason"]
    assert str(tmp_path) not in json.dumps(run) + shared_coordinator.call("GET", "/runs/bad/events").text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"stages": []}, "stages"),
        ({"cohort": {"sites": ["hill", "north", "valley"]}}, "valley"),
        ({"cohort": {"min_sites": 4}}, "min_sites"),
        (
            {"stages": [{"name": "only", "method": "rehearsal", "rounds": 1, "aggregate": "trimmed_mean"}]},
            "needs the updates of 5 sites",
        ),
        ({"sed": 1}, "seed"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_faults(change: Any, word: str, shared_coordinator: Any, drill: Any) -> None:
    shared_coordinator.call("POST", "/studies", json={"name": "drill", "sites": ["hill", "north", "river"]})
    answer = shared_coordinator.call(
        "POST", "/runs", json={"study": "drill", "spec": drill(1) | change, "run": "wrong-1"}
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "wrong_spec"
    assert word in answer.json()["error"]["message"]
    assert not [run for run in shared_coordinator.call("GET", "/runs").json() if run["id"] == "wrong-1"]


def test_classes_of_the_study_stand_in_the_spec_that_is_kept(shared_coordinator: Any, drill: Any) -> None:
    study = {"name": "lungs", "sites": ["hill", "north", "river"], "classes": ["normal", "covid"]}
    shared_coordinator.call("POST", "/studies", json=study)
    shared_coordinator.call("POST", "/runs", json={"study": "lungs", "spec": drill(1), "run": "lungs-1"})
    assert shared_coordinator.run("lungs-1")["spec"]["dataset"]["classes"] == ["normal", "covid"]
    other = drill(1) | {"dataset": {"name": "none", "classes": ["covid", "normal"]}}
    assert shared_coordinator.call("POST", "/runs", json={"study": "lungs", "spec": other}).status_code == 422


def test_a_run_takes_the_stages_over_that_an_earlier_one_of_its_study_began_with(
    shared_coordinator: Any, drill: Any
) -> None:
    shared_coordinator.call("POST", "/studies", json={"name": "drill", "sites": ["hill", "north", "river"]})
    first = drill(3)
    second = first | {"stages": [*first["stages"], first["stages"][0] | {"name": "more", "start_from": "previous"}]}
    for run, spec in (("begun-1", first), ("begun-2", second)):
        body = {"study": "drill", "spec": spec, "run": run}
        assert shared_coordinator.call("POST", "/runs", json=body).status_code == 201
        shared_coordinator.wait(run, "completed")
    events = shared_coordinator.call("GET", "/runs/begun-2/events").json()
    assert [event["stage"] for event in events if event["kind"] == "stage_reused"] == ["only"]
    assert {event["stage"] for event in events if event["kind"] == "round_finished"} == {"more"}
