"""Loads what a run needs before it is asked for, in a process whose forks will carry it out.

Importing torch and reading a site's images take longer than many a round; forks find both where their parent has them.
Nothing is computed here, and no accelerator is touched: a process that forks must not.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from fedward_core import registry
from fedward_core.config import Config
from fedward_core.spec import Spec, Stage
from fedward_models.data.site_data import read_site
from fedward_models.programs.program import open_program


def preload(spec: Spec, *, site: str, data: Path) -> None:
    """Import every part that a spec names, and read a site's images.

    Args:
        spec: The run.
        site: The site.
        data: The folder with its datasets.

    Raises:
        FedwardError: The images cannot be used; whoever is asked for work will say so in its own way.
    """
    for index in range(len(spec.stages)):
        open_program(spec, index)
    for stage in spec.stages:
        if stage.method.runtime == "torch":
            _load_parts(stage)
    read_site(data, site, spec.dataset)


def _load_parts(stage: Stage) -> None:
    for part in _parts(stage):
        registry.load(part.implementation)
    # torch imports its compiler at an optimiser's first step, which takes seconds though nothing is compiled.
    importlib.import_module("torch._dynamo")


def _parts(value: object) -> Iterator[Config]:
    """Every choice by name within a value, however deep."""
    if isinstance(value, Config):
        yield value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _parts(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            yield from _parts(one)
