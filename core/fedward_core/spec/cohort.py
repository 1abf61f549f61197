"""Who takes part in a run."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen


class Cohort(Frozen):
    """Who takes part.

    Attributes:
        sites: Site names, or ``all`` that have the dataset.
        hold_out: Those of them that evaluate and never train, to see how a model does at a hospital that it never saw.
        sites_per_round: How many sites train in a round, drawn anew for each; all by default. Every site evaluates.
        min_sites: Contributions, counted after drop-outs, without which a round fails.
        round_deadline_s: After this time a round goes on without those that have not answered.
    """

    sites: Literal["all"] | tuple[str, ...] = "all"
    hold_out: tuple[str, ...] = ()
    sites_per_round: int | None = Field(default=None, ge=1)
    min_sites: int = Field(default=3, ge=1)
    round_deadline_s: float = Field(default=900.0, gt=0)

    @model_validator(mode="after")
    def _refuse_names_that_stand_twice(self) -> Self:
        for key in ("sites", "hold_out"):
            names = getattr(self, key)
            if names != "all" and len(set(names)) < len(names):
                raise ValueError(f"{key} names a site twice, found {', '.join(names)}: name each once")
        return self

    @model_validator(mode="after")
    def _check_quorum(self) -> Self:
        if self.sites == "all":
            return self
        if unknown := sorted(set(self.hold_out) - set(self.sites)):
            raise ValueError(f"hold_out names {', '.join(unknown)}, which sites does not: name them in both")
        if (count := len(self.training(self.sites))) < self.min_sites:
            raise ValueError(
                f"min_sites is {self.min_sites}, but sites names only {count} that train: name more, or lower it"
            )
        return self

    @model_validator(mode="after")
    def _check_draw(self) -> Self:
        if self.sites_per_round is None:
            return self
        if self.sites_per_round < self.min_sites:
            raise ValueError(
                f"sites_per_round is {self.sites_per_round}, fewer than min_sites {self.min_sites}: no round could "
                "succeed. Draw more, or lower min_sites"
            )
        if self.sites != "all" and self.sites_per_round >= len(self.training(self.sites)):
            raise ValueError(
                f"sites_per_round {self.sites_per_round} has no effect on {len(self.training(self.sites))} sites: "
                "leave it out, or draw fewer"
            )
        return self

    def alone(self, site: str) -> Self:
        """The cohort of one site that trains by itself: of who takes part, only the deadline stays."""
        return type(self)(sites=(site,), min_sites=1, round_deadline_s=self.round_deadline_s)

    def training(self, sites: Iterable[str]) -> tuple[str, ...]:
        """Those of the sites that are not held out, in their order."""
        return tuple(site for site in sites if site not in self.hold_out)
