"""One method within a run."""

from fractions import Fraction
from typing import Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen, chosen_from
from fedward_core.spec.choices import (
    NAME,
    AggregatorChoice,
    BackboneChoice,
    BackboneConfig,
    FilterChoice,
    MethodChoice,
    PersonalisationChoice,
)
from fedward_core.spec.local import Local


class Stage(Frozen):
    """One method, federated for a number of rounds.

    Attributes:
        name: The stage's name.
        method: The method.
        backbone: The network; a stage that starts from the previous one inherits it and names none, unless its method
            reads the previous network beside its own.
        start_from: ``scratch``, or ``previous`` to go on from the stage before.
        rounds: Rounds.
        local: Training at a site.
        personalise: What stays private; nothing by default.
        aggregate: How updates are folded.
        filters: Applied in this order at the site, undone in reverse on the server.
        label_fraction: The part of each site's training labels that is used in this stage; by default the dataset's.
    """

    name: str = Field(pattern=NAME)
    method: MethodChoice
    backbone: BackboneChoice | None = None
    start_from: Literal["scratch", "previous"] = "scratch"
    rounds: int = Field(ge=1)
    local: Local = Field(default_factory=Local)
    personalise: PersonalisationChoice | None = None
    aggregate: AggregatorChoice = Field(default_factory=lambda: chosen_from("aggregators")("weighted_mean"))
    filters: tuple[FilterChoice, ...] = ()
    # Left out of the text where it is not set, so that specs from before it keep their digests.
    label_fraction: float | None = Field(default=None, gt=0, le=1, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _check_backbone(self) -> Self:
        if self.method.needs_previous and self.start_from == "scratch":
            raise ValueError(
                f"stage '{self.name}': method '{self.method.name}' with these settings reads the network of the stage "
                "before: set start_from: previous"
            )
        continues = isinstance(self.backbone, BackboneConfig) and self.backbone.continues
        if self.start_from == "previous" and self.backbone and not (self.method.needs_previous or continues):
            raise ValueError(
                f"stage '{self.name}' starts from the previous one and inherits its backbone: leave 'backbone' out"
            )
        if self.start_from == "scratch" and self.method.needs_backbone and not self.backbone:
            raise ValueError(f"stage '{self.name}' starts from scratch and needs a 'backbone'")
        if self.backbone and not self.method.needs_backbone:
            raise ValueError(
                f"stage '{self.name}': method '{self.method.name}' trains no backbone: leave 'backbone' out"
            )
        return self

    @model_validator(mode="after")
    def _check_what_is_read(self) -> Self:
        if self.label_fraction is not None and not self.method.needs_labels:
            raise ValueError(
                f"stage '{self.name}': method '{self.method.name}' reads no labels, so that label_fraction has no "
                "effect: leave it out"
            )
        if self.local.balanced and not self.method.needs_labels:
            raise ValueError(
                f"stage '{self.name}': method '{self.method.name}' reads no labels, and local.balanced draws by them: "
                "leave it out"
            )
        if self.local.augment and not self.method.takes_mirrored:
            raise ValueError(
                f"stage '{self.name}': local.augment mirrors images, and the reports that method '{self.method.name}' "
                "reads speak of left and right: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if self.local.schedule.warmup_rounds > self.rounds:
            raise ValueError(
                f"stage '{self.name}' warms up for {self.local.schedule.warmup_rounds} of {self.rounds} rounds"
            )
        return self

    @model_validator(mode="after")
    def _check_personalisation(self) -> Self:
        if self.personalise:
            self.personalise.check(self)
        needed = self.aggregate.personalisation
        if needed and (self.personalise is None or self.personalise.name != needed):
            raise ValueError(
                f"stage '{self.name}': aggregate '{self.aggregate.name}' folds what 'personalise: {needed}' sends: "
                "set both, or neither"
            )
        return self

    @model_validator(mode="after")
    def _refuse_filters_without_effect(self) -> Self:
        compressing = [config.name for config in self.filters if config.compresses]
        if len(compressing) > 1:
            raise ValueError(f"stage '{self.name}' compresses with {' and '.join(compressing)}: choose one of them")
        return self

    def share_at(self, round_: int) -> Fraction:
        """The private share in a round."""
        return self.personalise.share_at(round_, self.rounds) if self.personalise else Fraction(0)
