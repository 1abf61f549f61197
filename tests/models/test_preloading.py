"""What is loaded before a run asks for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedward_core.errors import DataError
from fedward_core.spec import Spec
from fedward_models.data import generate
from fedward_models.data.site_data import _read
from fedward_models.programs.preloading import preload


def spec_of(method: str, **stage: object) -> Spec:
    stages = [{"name": "only", "method": method, "rounds": 1, **stage}]
    return Spec.parse({"name": "drill", "dataset": {"name": "simulated", "image_px": 16}, "stages": stages})


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    generate(folder, sites=1, images_per_site=20, image_px=16, seed=1)
    return folder


def test_a_sites_images_are_read_once_and_found_again(hospitals: Path) -> None:
    site = next(hospitals.glob("*.npz")).stem
    _read.cache_clear()
    preload(spec_of("rehearsal"), site=site, data=hospitals)
    preload(spec_of("rehearsal"), site=site, data=hospitals)
    assert (_read.cache_info().misses, _read.cache_info().hits) == (1, 1)


def test_a_site_without_data_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        preload(spec_of("rehearsal"), site="north", data=tmp_path)


def test_every_part_of_a_run_is_imported_and_a_rehearsal_imports_no_torch(hospitals: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fedward_core.spec import Spec;"
        "from fedward_models.programs.preloading import preload;"
        "preload(Spec.model_validate_json(sys.argv[1]), site=sys.argv[2], data=Path(sys.argv[3])); print(*sys.modules)"
    )
    site = next(hospitals.glob("*.npz")).stem

    def modules(spec: Spec) -> set[str]:
        command = [sys.executable, "-c", code, spec.model_dump_json(), site, str(hospitals)]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    assert "torch" not in modules(spec_of("rehearsal"))
    trained = spec_of("supervised", backbone={"name": "small_cnn"}, personalise="fedbn", filters=["bfloat16"])
    expected = {
        "torch._dynamo",
        "fedward_models.programs.torch_program",
        "fedward_models.methods.supervised.supervised",
        "fedward_models.backbones.small_cnn.small_cnn",
        "fedward_core.filters.bfloat16",
    }
    assert expected <= modules(trained)
