"""The coordinator's side works where torch and the zoo's libraries are not installed."""

import subprocess
import sys

BLOCKED = """
import importlib, pkgutil, sys

ABSENT = {"torch", "torchvision", "timm", "monai", "open_clip", "transformers", "sklearn", "ray"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""

IMPORTED = """
import fedward_server
names = {module.name for module in pkgutil.walk_packages(fedward_server.__path__, "fedward_server.")}
for name in sorted(name for name in names if "ray" not in name):
    importlib.import_module(name)
assert "fedward_server.flower.deployed_run" in names
"""

CHECKED = """
from fedward_core.spec import Spec
stages = [
    {"name": "pretrain", "method": "mae", "backbone": {"name": "vit"}, "rounds": 1},
    {"name": "finetune", "method": "supervised", "start_from": "previous", "rounds": 1,
     "personalise": {"name": "channel_decoupling", "ramp_rounds": 0}},
]
spec = Spec.parse({"name": "toy", "dataset": {"name": "toy", "image_px": 64}, "stages": stages})
spec.digest()
[stage.aggregate.build() for stage in spec.stages]
"""


def test_every_module_of_the_server_can_be_imported_and_a_spec_checked() -> None:
    code = BLOCKED + IMPORTED + CHECKED
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
