"""The base of every configuration: frozen, strict about names, and free of what it configures.

A configuration holds values only. Its class names the implementation as ``"module:Class"``, which is imported where it
is built and nowhere else.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator

from fedward_core import registry
from fedward_core.errors import SpecError

SHA256 = r"^[0-9a-f]{64}$"  # what a digest looks like, wherever one is a setting


class Frozen(BaseModel):
    """An immutable value whose unknown keys are errors that name the nearest key."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = tuple(field.alias or name for name, field in cls.model_fields.items())
            for key in values:
                if key not in known:
                    raise ValueError(registry.unknown(f"key '{key}'", str(key), known))
        return values


class Config(Frozen):
    """What a spec can choose by name: a method, a backbone, an aggregator, a filter and so on.

    Attributes:
        name: The registered name.
        implementation: ``"module:Class"``, imported only where it runs.
    """

    implementation: ClassVar[str]

    name: str

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Import the implementation and build it with this configuration as its first argument."""
        return registry.load(self.implementation)(self, *args, **kwargs)

    @classmethod
    def default(cls, **values: Any) -> Self:
        """This configuration with its defaults, for tests and tables."""
        return cls.model_validate(values)


def chosen_from(kind: str) -> Callable[[Any], Any]:
    """A validator that turns ``{"name": ..., **values}``, or a bare name, into a registered configuration of a kind."""

    def choose(value: Any) -> Any:
        if isinstance(value, Config):
            return value
        values = {"name": value} if isinstance(value, str) else value
        if not isinstance(values, Mapping) or "name" not in values:
            raise ValueError(f"expected a name from {', '.join(registry.names(kind))}, or a table with such a 'name'")
        try:
            return registry.resolve(kind, str(values["name"])).model_validate(values)
        except SpecError as error:
            raise ValueError(str(error)) from None

    return choose
