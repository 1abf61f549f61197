"""Hospitals of a real network train on volumes and clips, as they do on images."""

from pathlib import Path
from typing import Any

import pytest

from fedward_cli.network.deployed import Deployed
from fedward_cli.network.local_network import network
from fedward_cli.network.sites import sites_of
from fedward_cli.simulation.execution import execute, job_for
from fedward_core.arrays import digest, read_arrays
from fedward_core.cards import DataKind
from fedward_core.spec import Spec
from fedward_models.data import generate, sites_in

MINIT = {"name": "minit", "block_px": 8, "patch_px": 4, "width": 8, "depth": 1, "heads": 2, "hidden": 8}
STS = {"name": "sts_resnet", "width": 4, "depths": [1, 1], "stem": "small"}
KINDS = {DataKind.VOLUME: ({"depth": 16}, MINIT), DataKind.CLIP: ({"frames": 8}, STS)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_over_a_network_gives_the_weights_of_a_simulation(kind: DataKind, tmp_path: Path) -> None:
    grid, backbone = KINDS[kind]
    (length,) = grid.values()
    generate(tmp_path / "data", sites=2, images_per_site=20, image_px=16, kind=kind, depth=length)
    sites = sites_in(tmp_path / "data")
    stage = {"name": "only", "method": "supervised", "backbone": backbone, "rounds": 2, "local": {"batch_size": 8}}
    values: dict[str, Any] = {
        "name": str(kind),
        "dataset": {"name": "scans", "kind": kind, "image_px": 16, **grid},
        "cohort": {"min_sites": 2},
        "evaluate": {"bootstrap": 0},
        "stages": [stage],
    }
    spec = Spec.parse(values)
    data = tmp_path / "data"
    with network(tmp_path / "network", sites_of(data, sites), dataset="scans", kind=kind) as running:
        Deployed(running)(job_for(spec, sites=sites, data=data, out=tmp_path / "deployed"))
    execute(job_for(spec, sites=sites, data=data, out=tmp_path / "simulated"), engine="inline")
    final = "stages/only/final.safetensors"
    ours, theirs = (digest(read_arrays(tmp_path / way / final)[0]) for way in ("deployed", "simulated"))
    assert ours == theirs
