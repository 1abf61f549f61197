"""One evaluated figure, never without its n."""

import math

from pydantic import Field

from fedward_core.config import Frozen

MOST = 2**53  # images: what a float counts exactly

RECALL = "recall/"
"""How the names of the recalls of classes begin; behind it stands the class."""

WITHOUT_PROMPT = "accuracy_without_prompt"
"""What a frozen network alone gets right; told beside the accuracy of a prompt around the same images."""

CUT_REPORTS = "cut_reports"
"""The part of the reports that lost their end, in training."""

COLLAPSED = "largest_class_share"
"""The part of a site's predictions that one class takes; told only where it should warn."""


class Metric(Frozen):
    """A figure with what it rests on.

    Attributes:
        value: The figure; None where it is not defined, e.g. AUROC at a site with one class.
        n: The number of images it rests on.
        low: Lower end of the 95 % bootstrap interval over patients.
        high: Upper end of it.
    """

    value: float | None
    n: int = Field(ge=0, le=MOST)
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """E.g. ``0.812 [0.774, 0.846] n=225``."""
        if self.value is None or not math.isfinite(self.value):
            return f"- n={self.n}"
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if self.low is not None and self.high is not None else ""
        return f"{self.value:.3f}{interval} n={self.n}"


Metrics = dict[str, Metric]
