"""What a person reads of what goes wrong, and what stays a bug of ours."""

import errno
import os
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from fedward_cli.faults import PoliteGroup
from fedward_client.jobs.fault import FAULT, fault_of, read_fault
from fedward_core.errors import BusyError, DataError, RoundError, UntrainedError


def outcome_of(error: BaseException) -> Result:
    """A command that fails."""
    app = typer.Typer(cls=PoliteGroup, pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None: ...

    return CliRunner().invoke(app, ["fail"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("no site: expected one"), "no site: expected one"),
        (OSError(errno.EACCES, "Permission denied", "/srv/scans"), "Permission denied: '/srv/scans'"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), os.strerror(errno.ENOSPC)),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), os.strerror(errno.EDQUOT)),
        (MemoryError("Unable to allocate 8 TiB"), "the memory of this machine does not suffice"),
        (ModuleNotFoundError("No module named 'ray'", name="ray"), "needs the package 'ray'"),
    ],
)
def test_what_a_person_can_mend_is_a_sentence_and_exit_code_1(error: Exception, words: str) -> None:
    result = outcome_of(error)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "This did not work" in result.stderr
    assert words in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "error",
    [
        KeyError("weights"),
        OSError(errno.EBADF, "Bad file descriptor"),
        ModuleNotFoundError("No module named 'fedward_core.x'", name="fedward_core.x"),
    ],
)
def test_a_bug_of_ours_is_shown_whole(error: Exception) -> None:
    result = outcome_of(error)
    assert result.exception is error
    assert "This did not work" not in result.stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DataError("no site: expected one"), "no site: expected one"),
        (UntrainedError("the head was never trained"), "the head was never trained"),
        (OSError(errno.EACCES, "Permission denied", "/srv/scans"), "Permission denied: '/srv/scans'"),
        (RoundError("a worker of Ray Train was lost"), ""),
        (BusyError("another run is at work"), ""),
        (MemoryError(), ""),
        (KeyError("weights"), ""),
        (KeyboardInterrupt(), ""),
    ],
)
def test_the_agent_is_told_what_would_end_a_job_again(
    error: BaseException, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FAULT, str(fault_of(tmp_path)))
    outcome_of(error)
    assert read_fault(tmp_path) == told


def test_a_fault_that_cannot_be_kept_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job").touch()
    monkeypatch.setenv(FAULT, str(fault_of(tmp_path / "job")))
    assert "no site" in outcome_of(DataError("no site")).stderr


def test_an_interruption_has_an_exit_code_of_its_own() -> None:
    assert outcome_of(KeyboardInterrupt()).exit_code == 130
