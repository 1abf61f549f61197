"""What configurations of networks of libraries have in common, without torch: plain arguments, and never a download."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, JsonValue, model_validator

from fedward_core.spec import BackboneConfig
from fedward_models.frozen import FrozenWeights

_DOWNLOADS = "it fetches or reads weights on its own: name a file of each site by its digest in 'weights'"


class LibraryConfig(BackboneConfig):
    """The base of configurations that name a network of a library.

    Attributes:
        set_elsewhere: Arguments that a spec may not give, each with the reason.
        network: Its name in the library.
        arguments: Handed on to the network.
        weights: Weights to start from; random ones by default.
    """

    set_elsewhere: ClassVar[Mapping[str, str]]

    network: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    weights: FrozenWeights | None = None

    @model_validator(mode="after")
    def _check_arguments(self) -> Self:
        for key in self.arguments:
            loads = key.startswith("pretrained") or key in {"checkpoint_path", "cache_dir"}
            if reason := _DOWNLOADS if loads else self.set_elsewhere.get(key):
                raise ValueError(f"argument '{key}' is not for a spec to set, since {reason}")
        return self

    def __hash__(self) -> int:
        """Arguments may be lists and tables, which have no hash of their own."""
        return hash(self.model_dump_json())
