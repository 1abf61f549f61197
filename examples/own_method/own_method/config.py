"""The settings of the method, without torch, so that a spec which names it is checked on any machine."""

from typing import ClassVar, Literal

from fedward_core.spec import MethodConfig
from pydantic import Field


class FocalConfig(MethodConfig):
    """Classification under the focal loss, which listens less to images that are classified well already.

    Attributes:
        gamma: How much less: an image whose class has the probability p counts (1 - p)^gamma. 0 is cross-entropy. The
            paper's best is 2 (Lin et al., ICCV 2017, Table 1b).
    """

    implementation: ClassVar[str] = "own_method.focal:Focal"

    name: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0)
