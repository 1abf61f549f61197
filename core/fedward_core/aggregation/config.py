"""What a spec can say about aggregators, each default with its source."""

import math
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fedward_core.spec import AggregatorConfig

Decay = Annotated[float, Field(ge=0, lt=1)]


class WeightedMeanConfig(AggregatorConfig):
    """The mean of all updates, weighted by their images (McMahan et al., AISTATS 2017: FedAvg).

    Attributes:
        weigh_by: ``images``, as in the paper, or ``sites``: each counts alike (LG-FedAvg, Liang et al.,
            arXiv:2001.01523, released code).
    """

    implementation: ClassVar[str] = "fedward_core.aggregation.weighted_mean:WeightedMean"

    name: Literal["weighted_mean"] = "weighted_mean"
    weigh_by: Literal["images", "sites"] = "images"


class FedAvgMConfig(AggregatorConfig):
    """Server momentum (Hsu, Qi and Brown, arXiv:1909.06335, 2019).

    Attributes:
        lr: How far the global weights follow the velocity; the paper's update has no such factor, which is 1.
        momentum: Decay of the velocity. At 0, with ``lr`` 1, this is the weighted mean up to rounding; a constant
            movement is amplified by 1 / (1 - momentum). The paper tries 0 to 0.997; which of these is the default was
            decided here.
    """

    implementation: ClassVar[str] = "fedward_core.aggregation.fedavgm:FedAvgM"

    name: Literal["fedavgm"] = "fedavgm"
    lr: float = Field(default=1.0, gt=0)
    momentum: Decay = 0.9


class FedAdamConfig(AggregatorConfig):
    """Adam at the server (Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2).

    Attributes:
        lr: The server's rate, which the paper tunes for each task; the default was decided here.
        beta1: Decay of the first moment (the paper's value in all experiments).
        beta2: Decay of the second moment (the paper's value in all experiments).
        tau: The degree of adaptivity: the larger, the nearer to plain server momentum (the paper's default).
    """

    implementation: ClassVar[str] = "fedward_core.aggregation.fedadam:FedAdam"

    name: Literal["fedadam"] = "fedadam"
    lr: float = Field(default=0.01, gt=0)
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    tau: float = Field(default=1e-3, gt=0)


class ScaffoldMeanConfig(AggregatorConfig):
    """The server's side of SCAFFOLD (Karimireddy et al., ICML 2020, algorithm 1).

    Attributes:
        lr: How far the weights follow the mean of the sites; the paper's experiments take 1.
    """

    implementation: ClassVar[str] = "fedward_core.aggregation.scaffold_mean:ScaffoldMean"
    personalisation: ClassVar[str | None] = "scaffold"

    name: Literal["scaffold_mean"] = "scaffold_mean"
    lr: float = Field(default=1.0, gt=0)


class MedianConfig(AggregatorConfig):
    """The coordinate-wise median, unweighted (Yin et al., ICML 2018, definition 1)."""

    implementation: ClassVar[str] = "fedward_core.aggregation.median:Median"

    name: Literal["median"] = "median"


class TrimmedMeanConfig(AggregatorConfig):
    """The coordinate-wise trimmed mean, unweighted (Yin et al., ICML 2018, definition 2).

    Attributes:
        trim: The part of the updates that is left out at either end; up to that part of the sites may be bad. Towards 0
            this is the plain mean, towards one half the median. The default was decided here: one site at either end
            from five on.
    """

    implementation: ClassVar[str] = "fedward_core.aggregation.trimmed_mean:TrimmedMean"

    name: Literal["trimmed_mean"] = "trimmed_mean"
    trim: float = Field(default=0.2, gt=0, lt=0.5)

    @property
    def exact_trim(self) -> Fraction:
        """The part as it is written: 0.29 of 100 is 29, not 28.999..."""
        return Fraction(str(self.trim))

    @property
    def least_updates(self) -> int:
        """Of fewer, none is left out, and the mean would not be robust at all."""
        return math.ceil(1 / self.exact_trim)
