"""What a job does: it trains, or it has a finished model predict or explain images of the site."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedward_core.cards import Split
from fedward_core.config import Frozen

MODEL, KEPT, RESULTS = "model", "kept", "results"  # in the job's folder


class Train(Frozen):
    """As `fedward train` does.

    Attributes:
        kind: The command that does it.
        ray_workers: Workers that share every batch by Ray Train; 1 trains without it.
    """

    kind: Literal["train"] = "train"
    ray_workers: int = 1

    def arguments(self, job: Path, *, site: str, data: Path) -> list[str]:
        """What `fedward` is called with.

        Args:
            job: The folder of the job.
            site: The site.
            data: The folder with the site's data.
        """
        where = ["--site", site, "--data", str(data), "--out", str(job / "run")]
        together = ["--ray-workers", str(self.ray_workers)] if self.ray_workers > 1 else []
        return [self.kind, str(job / "spec.yaml"), *where, *together]


class UseOfModel(Frozen):
    """What a finished model is used for.

    Attributes:
        kind: The command that does it.
        stage: The stage whose model it is.
        best: Whether it has the weights after the best evaluated round, in place of the last ones.
        kept: Whether it is the site's own, with what the site has kept of the stage.
        split: Which of the site's images.
    """

    kind: Literal["predict", "explain"]
    stage: str
    best: bool = False
    kept: bool = False
    split: Split = Split.TEST

    def arguments(self, job: Path, *, site: str, data: Path) -> list[str]:  # noqa: ARG002 - the signature of the family
        """As of :class:`Train`; the site's folder holds no other site's data."""
        places = [str(job / MODEL), "--data", str(data), "--out", str(job / RESULTS)]
        which = ["--stage", self.stage, *(["--best"] if self.best else [])]
        own = ["--kept", str(job / KEPT)] if self.kept else []
        return [self.kind, *places, *which, *own, "--split", self.split]


class Predict(UseOfModel):
    """As `fedward predict` does."""

    kind: Literal["predict"] = "predict"


class Explain(UseOfModel):
    """As `fedward explain` does.

    Attributes:
        map: What the maps show.
        images: How many images are explained.
    """

    kind: Literal["explain"] = "explain"
    map: str
    images: int

    def arguments(self, job: Path, *, site: str, data: Path) -> list[str]:
        """As of any use of a model, with what the maps are."""
        return [*super().arguments(job, site=site, data=data), "--map", self.map, "--images", str(self.images)]


Work = Annotated[Train | Predict | Explain, Field(discriminator="kind")]
