"""The SuperLink and its control, for real."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedward_server.flower.bundle import build_bundle
from fedward_server.flower.connection import Connection
from fedward_server.flower.control import FlowerControl, RunRefusedError, SuperLinkAwayError
from fedward_server.flower.superlink import SuperLink, SuperLinkError


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[SuperLink]:
    with SuperLink(tmp_path / "superlink", log=tmp_path / "superlink.log") as link:
        yield link


def test_a_run_is_taken_followed_and_stopped_and_nothing_is_left(superlink: SuperLink) -> None:
    with FlowerControl(Connection(address=superlink.address)) as control:
        run_id = control.start_run(build_bundle().content, {"run": "one", "spec": "{}"})
        assert control.status(run_id).status == "pending"
        control.stop_run(run_id)
        assert control.status(run_id).outcome == "stopped"
        with pytest.raises(RunRefusedError, match="does it know the run"):
            control.status(run_id + 1)
        with pytest.raises(RunRefusedError):
            control.start_run(build_bundle().content, {"undeclared": 1})
        assert control.nodes() == ()

        pid = superlink.pid
        superlink.stop()
        assert not superlink.healthy()
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(SuperLinkAwayError):
            control.nodes()


def test_a_superlink_that_cannot_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "superlink.db").mkdir()
    with pytest.raises(SuperLinkError, match="its log says why"):
        SuperLink(tmp_path, log=tmp_path / "superlink.log").start()


def test_the_bundle_is_the_same_each_time_and_holds_no_code() -> None:
    bundle = build_bundle()
    assert bundle == build_bundle()
    assert len(bundle.content) < 2000
    assert b".py" not in bundle.content.replace(b"pyproject.toml", b"")
