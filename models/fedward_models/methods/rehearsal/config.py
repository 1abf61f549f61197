"""Settings of the rehearsal."""

from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.cards import DataNeed
from fedward_core.spec import MethodConfig


class RehearsalConfig(MethodConfig):
    """Moves weights that nobody needs, to time and try a network before patients' images are touched.

    Attributes:
        megabytes: The size of the model, in megabytes of float32.
        tensors: Into how many tensors it is cut.
    """

    implementation: ClassVar[str] = "fedward_models.methods.rehearsal.rehearsal:Rehearsal"
    runtime: ClassVar[Literal["torch", "numpy"]] = "numpy"
    need: ClassVar[DataNeed | None] = None
    needs_labels: ClassVar[bool] = False
    needs_backbone: ClassVar[bool] = False

    name: Literal["rehearsal"] = "rehearsal"
    megabytes: float = Field(default=0.01, gt=0)
    tensors: int = Field(default=4, ge=1)
