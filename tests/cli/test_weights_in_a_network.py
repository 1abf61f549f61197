"""Hospitals of a real network train with frozen weights that none of them had."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from fedward_cli.network.deployed import Deployed
from fedward_cli.network.local_network import network
from fedward_cli.network.sites import sites_of
from fedward_cli.simulation.execution import execute, job_for
from fedward_core.arrays import digest, read_arrays
from fedward_core.errors import FedwardError
from fedward_core.spec import Dataset, Spec
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.data import describe, generate, sites_in
from fedward_models.frozen import FOLDERS, file_digest

BACKBONE = {"name": "small_cnn", "widths": [4, 8]}


def spec_with(weights: dict[str, str], *, seed: int) -> Spec:
    method = {"name": "probe", "weights": weights}
    values: dict[str, Any] = {
        "name": "probing",
        "seed": seed,
        "dataset": {"name": "chest", "image_px": 16},
        "cohort": {"min_sites": 2},
        "evaluate": {"bootstrap": 0},
        "stages": [
            {"name": "only", "method": method, "backbone": BACKBONE, "rounds": 2, "local": {"batch_size": 8}},
        ],
    }
    return Spec.parse(values)


@pytest.mark.slow
def test_a_run_trains_with_weights_that_its_sites_never_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDERS, str(tmp_path / "nothing-here"))
    generate(data := tmp_path / "data", sites=2, images_per_site=20, image_px=16)
    sites = sites_in(data)
    channels = describe(data, sites[0], Dataset(name="chest", image_px=16)).contract.channels
    backbone = SmallCNNConfig.default(**BACKBONE).build(image_px=16, channels=channels)
    save_file(backbone.state_dict(), path := tmp_path / "tower.safetensors")
    sha256 = file_digest(path)
    refused, absent, spec = (spec_with({"name": "tower", "sha256": sha256}, seed=seed) for seed in range(3))
    with network(home := tmp_path / "network", sites_of(data, sites), dataset="chest") as running:
        with pytest.raises(FedwardError, match="lacks the frozen weights 'tower'"):
            Deployed(running)(job_for(refused, sites=sites, data=data, out=tmp_path / "refused"))
        for policy in home.glob("agents/*/site.yaml"):
            policy.write_text(f"{policy.read_text()}fetch_weights: true\n")
        with pytest.raises(FedwardError, match="has no weights with this digest"):
            Deployed(running)(job_for(absent, sites=sites, data=data, out=tmp_path / "absent"))
        running.coordinator.upload(f"/weights/{sha256}", path)
        Deployed(running)(job_for(spec, sites=sites, data=data, out=tmp_path / "deployed"))
        assert len(list(home.glob(f"agents/*/weights/{sha256}.safetensors"))) == len(sites)
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    execute(job_for(spec, sites=sites, data=data, out=tmp_path / "simulated"), engine="inline")
    final = "stages/only/final.safetensors"
    ours, theirs = (digest(read_arrays(tmp_path / way / final)[0]) for way in ("deployed", "simulated"))
    assert ours == theirs
