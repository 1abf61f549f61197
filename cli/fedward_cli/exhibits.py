"""What a spec can choose, told from the registry and from the configuration classes: names, needs, papers, settings."""

import inspect
import json
from importlib.metadata import entry_points
from typing import Any

from pydantic_core import PydanticUndefined

from fedward_cli import docstrings
from fedward_core import registry
from fedward_core.cards import DataNeed
from fedward_core.config import Config, Frozen
from fedward_core.errors import SpecError
from fedward_core.spec import MethodConfig

KINDS = {
    "method": "methods",
    "backbone": "backbones",
    "tokenizer": "tokenizers",
    "optimizer": "optimizers",
    "local_term": "local_terms",
    "personalisation": "personalisations",
    "aggregator": "aggregators",
    "filter": "filters",
    "engine": "engines",
}


class Setting(Frozen):
    """One key of a configuration: its default as YAML would write it, and what it means."""

    key: str
    default: str
    meaning: str


class Exhibit(Frozen):
    """One registered name.

    Attributes:
        name: The name that a spec uses.
        kind: Method, backbone, optimizer and so on.
        summary: What it is, in a sentence.
        needs: What it cannot do without.
        paper: Where it was published; empty for what has no paper.
        settings: The keys that a spec may set.
    """

    name: str
    kind: str
    summary: str
    needs: str = ""
    paper: str = ""
    settings: tuple[Setting, ...] = ()


def exhibits(kind: str | None = None) -> tuple[Exhibit, ...]:
    """Everything registered, or everything of one kind.

    Raises:
        SpecError: No such kind.
    """
    if kind is not None and kind not in KINDS:
        raise SpecError(registry.unknown(f"kind '{kind}'", kind, tuple(KINDS)))
    kinds = KINDS if kind is None else {kind: KINDS[kind]}
    return tuple(_exhibit(one, group, name) for one, group in kinds.items() for name in registry.names(group))


def _exhibit(kind: str, group: str, name: str) -> Exhibit:
    if kind == "engine":
        # An engine is its own class and has no settings; its module may import Ray, and so is only read.
        (entry,) = entry_points(group=f"fedward.{group}", name=name)
        docstring = docstrings.of_module(entry.module)
        return Exhibit(name=name, kind=kind, summary=docstrings.summary(docstring))
    config = registry.resolve(group, name)
    of_module = docstrings.of_module(config.implementation.partition(":")[0])
    return Exhibit(
        name=name,
        kind=kind,
        summary=docstrings.summary(config.__doc__),
        needs=_needs(config),
        paper=docstrings.paper(inspect.cleandoc(config.__doc__ or "")) or docstrings.paper(of_module),
        settings=_settings(config),
    )


def _needs(config: type[Config]) -> str:
    if not issubclass(config, MethodConfig):
        return ""
    images = "images with reports" if config.need is DataNeed.IMAGE_REPORT else "images"
    parts = [f"{images} and labels" if config.needs_labels else images]
    if config.needs_backbone:
        parts.append("a backbone")
    if config.runtime == "numpy":
        parts.append("no torch")
    return ", ".join(parts)


def _settings(config: type[Config]) -> tuple[Setting, ...]:
    meanings = docstrings.attributes(config)
    return tuple(
        Setting(key=key, default=_default(field), meaning=meanings.get(key, ""))
        for key, field in config.model_fields.items()
        if key != "name"
    )


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    return json.dumps(value.model_dump() if isinstance(value, Config) else value, default=str)
