"""Frozen weights that a run needs: at hand, fetched where the policy says so, or a reason that says what to do."""

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from waiting import wait_until

from fedward_client.agent import supply
from fedward_client.agent.catalogue import Catalogue
from fedward_client.agent.consents import Consents
from fedward_client.agent.coordinator import Coordinator
from fedward_client.agent.errors import CoordinatorAwayError
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.permissions import Permissions
from fedward_client.agent.reporter import Reporter
from fedward_client.agent.service import AgentService
from fedward_core import frozen_weights
from fedward_core.fleet_messages import Proposal
from fedward_core.spec import Spec
from fedward_models.frozen import FOLDERS, FrozenWeights, frozen_in, read_frozen

FILE = save({"weight": np.arange(64, dtype=np.float32)})
DIGEST = hashlib.sha256(FILE).hexdigest()
PROBE = {"method": {"name": "probe", "weights": {"name": "tower", "sha256": DIGEST}}}
STAGE = {**PROBE, "backbone": {"name": "small_cnn", "widths": [4, 8]}}
Propose = Callable[..., Proposal]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the site's people place weights."""
    monkeypatch.setattr(supply, "PATIENCE_S", 60.0)  # a busy machine
    monkeypatch.setenv(FOLDERS, str(tmp_path / "placed"))
    (tmp_path / "placed").mkdir()
    return tmp_path / "placed"


@pytest.fixture
def reporter(home: AgentHome, script: Any) -> Reporter:
    catalogue = Catalogue(home.catalogue, "north", log=home.path / "cards.log")
    permissions = Permissions(home, SiteKey.read(home.key), tls=False)
    return Reporter(home, Coordinator(script.url, key="fw_secret"), permissions, catalogue)


@pytest.fixture
def ask(home: AgentHome, reporter: Reporter, script: Any, propose: Propose, tmp_path: Path) -> Callable[..., Any]:
    """Report once while runs that name the weights ask for the site; the answers so far."""

    def once(*runs: str, fetch: bool = True, expires_s: float = 2e9, interval_s: float = 5.0) -> list[Any]:
        home.policy.write_text(f"datasets: {{simulated: {{path: {tmp_path}}}}}\nfetch_weights: {str(fetch).lower()}\n")
        asked = [propose(run=run, stage=STAGE).model_copy(update={"expires_s": expires_s}) for run in runs]
        proposals = [one.model_dump(mode="json") for one in asked]
        script.answers["heartbeats"] = (200, {"interval_s": interval_s, "proposals": proposals})
        reporter.step()
        found: list[Any] = script.bodies("answers")
        return found

    return once


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests that were asked for of a coordinator which has the file."""
    return serve_pieces(monkeypatch, lambda: iter((FILE[:100], FILE[100:])))


def serve_pieces(
    monkeypatch: pytest.MonkeyPatch, pieces: Callable[[], Iterator[bytes]], size: int | None = None
) -> list[str]:
    asked: list[str] = []

    @contextmanager
    def weights(_: Coordinator, sha256: str) -> Iterator[tuple[int | None, Iterator[bytes]]]:
        asked.append(sha256)
        yield size, pieces()

    monkeypatch.setattr(Coordinator, "weights", weights)
    return asked


def agreed(answers: list[Any]) -> list[bool]:
    return [answer["takes_part"] for answer in answers]


def files_in(home: AgentHome) -> list[str]:
    return sorted(path.name for path in home.weights.iterdir()) if home.weights.exists() else []


def test_a_file_that_the_site_lacks_is_fetched_before_it_agrees(
    ask: Callable[..., Any], home: AgentHome, sent: list[str]
) -> None:
    assert agreed(ask("one")) == [True]
    assert sent == [DIGEST]
    assert (home.weights / f"{DIGEST}.safetensors").read_bytes() == FILE
    assert files_in(home) == [f"{DIGEST}.safetensors"]
    assert [proposal.run for proposal in Consents(home.consents).all()] == ["one"]
    assert agreed(ask("two")) == [True, True]
    assert sent == [DIGEST]  # it is there


@pytest.mark.parametrize("name", ["tower", DIGEST])
def test_a_file_that_a_person_has_placed_is_not_fetched(
    name: str, ask: Callable[..., Any], elsewhere: Path, sent: list[str]
) -> None:
    (elsewhere / f"{name}.safetensors").write_bytes(FILE)
    assert agreed(ask("one", fetch=False)) == [True]
    assert sent == []


def test_without_leave_the_refusal_says_where_to_place_the_file_or_what_to_set(
    ask: Callable[..., Any], home: AgentHome, sent: list[str]
) -> None:
    (answer,) = ask("one", fetch=False)
    assert not answer["takes_part"]
    for words in ("'tower'", DIGEST, "place the file", "fetch_weights"):
        assert words in answer["reason"]
    assert (sent, files_in(home), Consents(home.consents).all()) == ([], [], ())


def test_another_file_of_the_name_is_left_as_it_is_and_the_right_one_used(
    ask: Callable[..., Any], home: AgentHome, elsewhere: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "tower.safetensors").write_bytes(other := save({"weight": np.zeros(3, np.float32)}))
    assert "lacks" in ask("one", fetch=False)[0]["reason"]
    assert agreed(ask("two")) == [False, True]
    assert sent == [DIGEST]
    assert (elsewhere / "tower.safetensors").read_bytes() == other
    monkeypatch.setenv(FOLDERS, AgentService(home)._environment()[FOLDERS])
    assert read_frozen(FrozenWeights(name="tower", sha256=DIGEST))["weight"].shape == (64,)


def test_a_fetched_file_that_was_damaged_since_is_fetched_anew(
    ask: Callable[..., Any], home: AgentHome, sent: list[str]
) -> None:
    ask("one")
    (home.weights / f"{DIGEST}.safetensors").write_bytes(FILE[:-1])
    assert agreed(ask("two")) == [True, True]
    assert sent == [DIGEST, DIGEST]
    assert (home.weights / f"{DIGEST}.safetensors").read_bytes() == FILE


@pytest.mark.parametrize(
    ("pieces", "words"),
    [((FILE[:-1], b"x"), "not the one that was named"), ((FILE[:-4],), "not the one that was named")],
    ids=["changed", "cut"],
)
def test_wrong_bytes_are_refused_and_leave_nothing(
    pieces: tuple[bytes, ...],
    words: str,
    ask: Callable[..., Any],
    home: AgentHome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve_pieces(monkeypatch, lambda: iter(pieces))
    (answer,) = ask("one")
    assert (answer["takes_part"], words in answer["reason"]) == (False, True)
    assert files_in(home) == []


def test_a_coordinator_without_the_file_is_told_how_to_add_it(ask: Callable[..., Any], script: Any) -> None:
    script.answers[f"/api/v1/weights/{DIGEST}"] = (404, {"error": {"code": "not_found", "message": "none"}})
    (answer,) = ask("one")
    assert not answer["takes_part"]
    assert "the coordinator has no weights with this digest: add them by `fedward weights add`" in answer["reason"]


def test_a_file_without_end_is_given_up(
    ask: Callable[..., Any], home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    monkeypatch.setattr(supply, "MOST_GB", 1e-5)
    serve_pieces(monkeypatch, endless)
    assert "larger than 1e-05 GB" in ask("one")[0]["reason"]
    monkeypatch.setattr(supply, "MOST_GB", 8.0)
    monkeypatch.setattr(supply, "LONGEST_S", 0.01)
    assert "took longer than" in ask("two")[1]["reason"]
    assert files_in(home) == []


def test_what_would_fill_the_disk_is_not_fetched(
    ask: Callable[..., Any], home: AgentHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "free_disk_bytes", lambda _: 5 * 10**9)
    serve_pieces(monkeypatch, lambda: iter((FILE,)), size=4 * 10**9 + 1)
    assert "too little room" in ask("one")[0]["reason"]
    assert files_in(home) == []


def test_a_full_disk_is_told_in_words(
    ask: Callable[..., Any], home: AgentHome, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(frozen_weights, "flush_to_disk", fail)
    reason = ask("one")[0]["reason"]
    assert "No space left on device" in reason
    assert str(home.path) not in reason
    assert (sent, files_in(home)) == ([DIGEST], [])


def test_a_coordinator_that_goes_away_amid_the_file_is_asked_again(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Iterator[bytes]:
        yield FILE[:10]
        raise CoordinatorAwayError("it does not answer")

    serve_pieces(monkeypatch, broken)
    assert ask("one") == []
    serve_pieces(monkeypatch, lambda: iter((FILE,)))
    assert agreed(ask("one")) == [True]


class Slow:
    """Sends the first bytes, and the others when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supply, "PATIENCE_S", 0.0)
        self.let = threading.Event()
        self.asked = serve_pieces(monkeypatch, self.pieces)

    def pieces(self) -> Iterator[bytes]:
        yield FILE[:10]
        self.let.wait(60)
        yield FILE[10:]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    made = Slow(monkeypatch)
    yield made
    made.let.set()


def test_reports_go_on_while_a_file_comes_and_the_answer_follows(ask: Callable[..., Any], slow: Slow) -> None:
    assert ask("one") == ask("one", "two") == []
    slow.let.set()
    wait_until(lambda: agreed(ask("one")) == [True])
    wait_until(lambda: agreed(ask("two")) == [True, True])
    assert slow.asked == [DIGEST]


def test_fetching_ends_with_a_run_that_is_cancelled_or_paused(
    ask: Callable[..., Any], home: AgentHome, slow: Slow
) -> None:
    assert ask("one") == []
    wait_until(lambda: len(files_in(home)) == 1)
    assert ask() == []  # it asks no more
    assert ask("one") == []  # it asks again, while the first try has not ended
    slow.let.set()
    wait_until(lambda: agreed(ask("one")) == [True])
    assert slow.asked == [DIGEST, DIGEST]


def test_what_kept_a_run_from_a_file_once_is_looked_at_anew_when_it_asks_again(
    ask: Callable[..., Any], home: AgentHome, slow: Slow
) -> None:
    ask("one")
    ask()
    slow.let.set()
    wait_until(lambda: files_in(home) == [])
    ask()
    wait_until(lambda: agreed(ask("one")) == [True])


def test_fetching_ends_with_the_agent(ask: Callable[..., Any], reporter: Reporter, home: AgentHome, slow: Slow) -> None:
    ask("one")
    wait_until(lambda: len(files_in(home)) == 1)
    (stop := threading.Event()).set()
    reporter.run(stop)
    slow.let.set()
    wait_until(lambda: files_in(home) == [])


def test_a_site_that_cannot_have_the_file_in_time_says_so_and_goes_on_fetching(
    ask: Callable[..., Any], home: AgentHome, slow: Slow
) -> None:
    soon_s = time.time() + 0.5
    (answer,) = ask("one", expires_s=soon_s, interval_s=5.0)
    assert (answer["takes_part"], "still fetching" in answer["reason"]) == (False, True)
    wait_until(lambda: time.time() > soon_s)
    ask()
    slow.let.set()
    wait_until(lambda: files_in(home) == [f"{DIGEST}.safetensors"])
    assert slow.asked == [DIGEST]


@pytest.mark.parametrize(("left_s", "says_so"), [(6.5, True), (60.0, False)])
def test_a_site_says_so_while_it_is_still_heard(
    left_s: float, says_so: bool, ask: Callable[..., Any], slow: Slow
) -> None:
    """After the pause the next report looks for the weights first, and its answer would come too late."""
    answers = ask("one", expires_s=time.time() + left_s, interval_s=5.0)
    assert ["still fetching" in answer["reason"] for answer in answers] == [True] * says_so


def test_every_frozen_file_of_a_spec_is_found_once() -> None:
    tower, other = ({"name": name, "sha256": digit * 64} for name, digit in (("tower", "1"), ("other", "2")))
    probe = {"method": {"name": "probe", "weights": tower}, "backbone": STAGE["backbone"], "rounds": 1}
    timm = {"method": "supervised", "backbone": {"name": "timm", "weights": other}, "rounds": 1}
    stages = [{"name": "a", **probe}, {"name": "b", **timm}, {"name": "c", **probe}]
    spec = Spec.parse({"name": "many", "dataset": {"name": "chest", "image_px": 16}, "stages": stages})
    assert [one.name for one in frozen_in(spec)] == ["tower", "other"]


def test_what_trains_looks_where_it_did_and_among_what_was_fetched(
    home: AgentHome, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = AgentService(home)
    expected = f"{elsewhere}:{home.weights}"
    assert service._environment()[FOLDERS] == service._jobs()._environment[FOLDERS] == expected
    monkeypatch.delenv(FOLDERS)
    assert service._environment()[FOLDERS] == f"weights:{home.weights}"
