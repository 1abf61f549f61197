"""What is left when the zip file of a run's artifacts cannot be written."""

import os
from pathlib import Path
from typing import Any

import pytest

from fedward_server.errors import UnavailableError
from fedward_server.runs import artifacts
from fedward_server.runs.artifacts import write_zip
from fedward_server.runs.folder import RunFolder


@pytest.mark.parametrize("fault", [OSError(28, os.strerror(28)), KeyError("stages")], ids=["full disk", "a fault"])
def test_a_zip_file_that_cannot_be_written_leaves_nothing_behind(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings: Any = None  # nobody comes to read them

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(artifacts, "_texts", fail)
    with pytest.raises(UnavailableError if isinstance(fault, OSError) else KeyError):
        write_zip(findings, RunFolder(tmp_path / "run"), tmp_path)
    assert list(tmp_path.iterdir()) == []
