"""``fedward weights`` against a coordinator that ``fedward server`` started."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from typer.testing import CliRunner

from fedward_cli.main import app
from fedward_models.frozen import FrozenWeights

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Give commands to a coordinator that takes files of up to a megabyte."""
    place = ["--home", str(tmp_path_factory.mktemp("coordinator")), "--port", "0", "--weights-gb", "0.001"]
    command = [sys.executable, "-m", "fedward_cli", "server", *place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = re.search(r"http://\S+:\d+", process.stderr.readline())
        assert address, process.stderr.read()
        environment = {"FEDWARD_URL": address[0], "FEDWARD_KEY": process.stdout.readline().strip()}
        yield lambda *arguments: CliRunner().invoke(app, ["weights", *map(str, arguments)], env=environment)
        process.terminate()


def written(path: Path, count: int = 8) -> str:
    save_file({"weight": np.arange(count, dtype=np.float32)}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_add_prints_goes_into_a_spec_as_it_is(call: Call, tmp_path: Path) -> None:
    digest = written(path := tmp_path / "mae vit (large).safetensors")
    for _ in range(2):
        added = call("add", path)
        assert added.exit_code == 0, added.output
        weights = FrozenWeights.model_validate(yaml.safe_load(added.stdout))
        assert weights == FrozenWeights(name="mae-vit-large-", sha256=digest)
    assert "In a spec" in added.stderr
    assert json.loads(call("add", path, "--json").stdout)["sha256"] == digest


def test_a_digest_of_digits_only_stays_text_in_a_spec(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path := tmp_path / "_.safetensors")
    monkeypatch.setattr("fedward_models.frozen.file_digest", lambda _: "1" * 64)
    monkeypatch.setattr("fedward_cli.network.coordinator.Coordinator.upload", lambda *_: {})
    assert yaml.safe_load(call("add", path).stdout) == {"name": "weights", "sha256": "1" * 64}


def test_list_shows_what_was_added_and_remove_takes_it_away(call: Call, tmp_path: Path) -> None:
    digest = written(path := tmp_path / "tower.safetensors", count=9)
    call("add", path)
    assert digest in call("list").stdout.replace("\n", "")
    assert digest in [one["sha256"] for one in json.loads(call("list", "--json").stdout)]
    assert call("remove", digest).exit_code == 0
    assert digest not in call("list", "--json").stdout
    again = call("remove", digest)
    assert (again.exit_code, "no weights with sha256" in again.stderr) == (1, True)


def test_a_pickled_checkpoint_is_refused_before_anything_is_sent(call: Call, tmp_path: Path) -> None:
    (path := tmp_path / "teacher.pth").write_bytes(b"PK\x03\x04 and so on")
    refused = call("add", path)
    assert (refused.exit_code, "no safetensors file" in " ".join(refused.stderr.split())) == (1, True)


def test_a_file_beyond_what_the_coordinator_takes_is_refused_with_the_option_that_sets_it(
    call: Call, tmp_path: Path
) -> None:
    written(path := tmp_path / "large.safetensors", count=2**20)
    refused = call("add", path)
    assert (refused.exit_code, "--weights-gb" in refused.stderr) == (1, True)
