"""What a spec can say about filters."""

from typing import ClassVar, Literal

from fedward_core.spec import FilterConfig


class BFloat16Config(FilterConfig):
    """Halves what travels: float32 keeps its range and the upper 8 bits of its precision."""

    implementation: ClassVar[str] = "fedward_core.filters.bfloat16:BFloat16"
    compresses: ClassVar[bool] = True

    name: Literal["bfloat16"] = "bfloat16"


class Delta8BitConfig(FilterConfig):
    """Quarters what travels: the movement away from the global weights, in 255 steps for each row of a tensor."""

    implementation: ClassVar[str] = "fedward_core.filters.delta_8bit:Delta8Bit"
    compresses: ClassVar[bool] = True

    name: Literal["delta_8bit"] = "delta_8bit"
