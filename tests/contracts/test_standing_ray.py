"""Ray that stands gives the bits of one process, run after run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedward_core.arrays import digest, read_arrays
from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_models.data import generate
from fedward_server.engines.inline import InlineEngine

SITES = ("hill", "north")
# In a process of its own: Ray leaves threads and open files behind, which would count as failures in this one.
PROGRAM = """
import json, sys
from pathlib import Path
import ray
from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_server.engines.ray import RayEngine
from fedward_server.flower.standing_ray import standing_ray

data, out, *specs = sys.argv[1:]
nodes = []
with standing_ray():
    for number, text in enumerate(specs):
        spec, folder = Spec.model_validate_json(text), Path(out) / str(number)
        job = Job(spec=spec, run="run", sites=("hill", "north"), data=Path(data), out=folder)
        RayEngine().run(job, lambda event: None)
        nodes.append(ray.get_runtime_context().get_node_id())
assert not ray.is_initialized()
print(json.dumps(nodes))
"""


def spec_of(width: int) -> Spec:
    stage = {
        "name": "only",
        "method": "supervised",
        "backbone": {"name": "small_cnn", "widths": [width]},
        "rounds": 2,
        "local": {"batch_size": 8, "optimizer": {"name": "adamw", "lr": 0.01}},
    }
    values = {"name": "toy", "cohort": {"min_sites": 2}, "dataset": {"name": "simulated", "image_px": 16}}
    return Spec.parse({**values, "evaluate": {"bootstrap": 0}, "stages": [stage]})


@pytest.mark.slow
def test_two_runs_on_one_ray_have_the_bits_of_one_process(tmp_path: Path) -> None:
    generate(tmp_path / "data", sites=3, images_per_site=24, image_px=16, seed=1)
    specs = [spec_of(4), spec_of(6)]
    arguments = [str(tmp_path / "data"), str(tmp_path / "ray"), *(spec.model_dump_json() for spec in specs)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = json.loads(done.stdout.splitlines()[-1])
    assert first == second
    for number, spec in enumerate(specs):
        out = tmp_path / "inline" / str(number)
        InlineEngine().run(Job(spec=spec, run="run", sites=SITES, data=tmp_path / "data", out=out), lambda event: None)
        final = f"{number}/stages/only/final.safetensors"
        ours, theirs = (digest(read_arrays(tmp_path / engine / final)[0]) for engine in ("ray", "inline"))
        assert ours == theirs
