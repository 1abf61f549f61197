"""What the core drags along, seen in a process of its own."""

import subprocess
import sys

import pytest

FOREIGN = ("torch", "flwr", "ray", "timm", "monai", "fastapi", "sqlalchemy")
REPORT = f"print(','.join(name for name in {FOREIGN} if name in sys.modules))"
EVERY_MODULE = """
import importlib, pkgutil, sys
import fedward_core
for module in pkgutil.walk_packages(fedward_core.__path__, "fedward_core."):
    importlib.import_module(module.name)
"""
EVERY_CONFIGURATION = """
import sys
from fedward_core import registry
for kind in ("aggregators", "backbones", "filters", "local_terms", "methods", "optimizers", "personalisations"):
    for name in registry.names(kind):
        registry.resolve(kind, name).default()
"""


def foreign_after(program: str) -> str:
    run = subprocess.run([sys.executable, "-c", program + REPORT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("program", [EVERY_MODULE, EVERY_CONFIGURATION], ids=["modules", "configurations"])
def test_neither_the_core_nor_checking_a_spec_imports_a_framework(program: str) -> None:
    assert foreign_after(program) == ""


def test_a_framework_that_is_imported_would_be_seen() -> None:
    assert foreign_after("import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n") == "torch"
