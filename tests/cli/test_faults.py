"""What a person reads of what goes wrong, and what stays a bug of ours."""

import errno
import os

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from fedward_cli.faults import PoliteGroup
from fedward_core.errors import DataError


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


def test_an_interruption_has_an_exit_code_of_its_own() -> None:
    assert outcome_of(KeyboardInterrupt()).exit_code == 130
