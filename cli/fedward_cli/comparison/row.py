"""One row of a comparison: what is known of an arm."""

from fedward_core.config import Frozen


class Figure(Frozen):
    """One figure, averaged over seeds.

    Attributes:
        value: The figure; None where it is not defined.
        n: The test images it rests on.
        low: Lower end of its 95 % interval, where there is one.
        high: Upper end of it.
        recall: Whether it is the recall of the one class that the site has, in place of a figure that needs two.
    """

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    recall: bool = False

    def __str__(self) -> str:
        """E.g. ``0.812 [0.774, 0.846] n=225``."""
        if self.value is None:
            return "-"
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if self.low is not None else ""
        return f"{'recall ' if self.recall else ''}{self.value:.3f}{interval} n={self.n}"


class Difference(Frozen):
    """The mean difference to the first arm, paired by seed, with a 95 % bootstrap interval."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """E.g. ``+0.031 [+0.012, +0.049]``."""
        interval = f" [{self.low:+.3f}, {self.high:+.3f}]" if self.low is not None else ""
        return f"{self.value:+.3f}{interval}"


class Effort(Frozen):
    """What an arm took, with the stages that it took over from another arm.

    Attributes:
        rounds: Of all stages together.
        least_steps: Optimiser steps of the site that made the fewest, averaged over seeds.
        most_steps: The same of the site that made the most.
        bytes_of_site: What a site sent, averaged over sites and seeds.
    """

    rounds: int = 0
    least_steps: int = 0
    most_steps: int = 0
    bytes_of_site: int = 0

    @property
    def steps(self) -> str:
        """E.g. ``960 to 1,360``."""
        least, most = f"{self.least_steps:,}", f"{self.most_steps:,}"
        return least if least == most else f"{least} to {most}"


class Collapse(Frozen):
    """A site at which nearly all predictions of the last evaluation were one class, though its images have several."""

    site: str
    seed: int
    share: float
    n: int

    def __str__(self) -> str:
        """E.g. ``river, seed 1 (97% of n=57)``."""
        return f"{self.site}, seed {self.seed} ({self.share:.0%} of n={self.n})"


class Row(Frozen):
    """One arm.

    Attributes:
        arm: Its name.
        sites: Its figure at each site.
        mean: The plain mean over the sites where the figure is defined.
        by_seed: That mean for each seed.
        pooled: The figure over the test images of all sites together, where the sites tell enough for it.
        worst: The site with the lowest figure, among those where it is defined.
        gap: How far the worst site is below the best.
        difference: To the first arm; None for the first itself and for guessing.
        bytes_sent: By all sites over all rounds, averaged over seeds.
        effort: Rounds, steps and bytes; None for guessing.
        collapses: Where one class took nearly all predictions.
    """

    arm: str
    sites: dict[str, Figure]
    mean: Figure
    by_seed: tuple[float | None, ...]
    pooled: Figure
    worst: str | None
    gap: float | None = None
    difference: Difference | None = None
    bytes_sent: int = 0
    effort: Effort | None = None
    collapses: tuple[Collapse, ...] = ()

    def minus(self, first: "Row") -> list[float]:
        """The differences to another arm, of those seeds for which both have a mean."""
        pairs = zip(self.by_seed, first.by_seed, strict=True)
        return [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
