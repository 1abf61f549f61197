"""Evaluation at the sites."""

from typing import Self

from pydantic import Field, model_validator

from fedward_core.cards import Split
from fedward_core.config import SHA256, Frozen


class PublicSet(Frozen):
    """A public dataset that every site holds, and whose images are no patient's of theirs.

    Attributes:
        name: Its name in the sites' catalogues.
        sha256: Its digest, as its card shows it: that of the whole file for ``.npz``. Another one is refused.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=SHA256)


class Evaluate(Frozen):
    """Evaluation at the sites.

    Attributes:
        every: Rounds between evaluations; the last round of a stage is always evaluated.
        split: Which split; the test split never selects anything.
        bootstrap: Resamples for the intervals, over patients; 0 for none.
        best: The figure by which a stage's best evaluated round is kept beside its last, e.g. ``auroc``: its mean over
            the sites that train, weighted by images. Of ``loss`` the least is best, of any other the greatest. Needs
            the validation split.
        keep_predictions: Whether each site keeps what its model predicts for every image at the newest evaluation of a
            stage. It stays at the site; where all sites are simulated, arms are compared patient by patient with it.
        public: A public dataset on which each site's model predicts after a stage's last round. The sites, all of which
            must have consented in their policies, send these predictions and no weight, and the coordinator takes their
            mean: what CD2-pFed (Shen et al., CVPR 2022) calls External. For deployed runs, and stages with classes.
    """

    every: int = Field(default=5, ge=1)
    split: Split = Split.TEST
    bootstrap: int = Field(default=200, ge=0)
    best: str | None = Field(default=None, min_length=1, max_length=100)
    keep_predictions: bool = False
    # Left out of the text where it is not set, so that specs from before it keep their digests.
    public: PublicSet | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _check_best(self) -> Self:
        if self.best is not None and self.split is not Split.VALIDATION:
            raise ValueError(
                f"best chooses a model, and the {self.split} split must not: set split to {Split.VALIDATION}, or leave "
                "best out"
            )
        return self
