"""What a spec can say about filters."""

from typing import ClassVar, Literal

from fedward_core.config import Config


class BFloat16Config(Config):
    """Halves what travels: float32 keeps its range and the upper 8 bits of its precision."""

    implementation: ClassVar[str] = "fedward_core.filters.bfloat16:BFloat16"

    name: Literal["bfloat16"] = "bfloat16"


class Delta8BitConfig(Config):
    """Quarters what travels: the movement away from the global weights, in 255 steps for each row of a tensor."""

    implementation: ClassVar[str] = "fedward_core.filters.delta_8bit:Delta8Bit"

    name: Literal["delta_8bit"] = "delta_8bit"
