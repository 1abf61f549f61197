"""What a spec can choose by name: the bases of its configurations, and the fields that hold one."""

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, SerializeAsAny

from fedward_core.cards import DataNeed
from fedward_core.config import Config, chosen_from

if TYPE_CHECKING:
    from fedward_core.spec.stage import Stage

# Of a run or a stage, from end to end: it becomes a folder's name, with a few signs more behind it.
NAME = r"^[a-z0-9][a-z0-9_-]{0,99}$"


class MethodConfig(Config):
    """The base of every method's configuration.

    Attributes:
        need: What the method reads; the implementation declares the same. One that needs images reads whatever its
            backbone reads, volumes or clips too. None for a method that reads no data.
        needs_labels: Whether training reads labels.
        needs_backbone: Whether the method trains a backbone.
        takes_mirrored: Whether training images may be mirrored left to right; not where reports speak of sides.
        runtime: Which program carries the method out at a site; the numpy one starts without torch.
    """

    need: ClassVar[DataNeed | None] = DataNeed.IMAGE
    needs_labels: ClassVar[bool] = True
    needs_backbone: ClassVar[bool] = True
    takes_mirrored: ClassVar[bool] = True
    runtime: ClassVar[Literal["torch", "numpy"]] = "torch"

    @property
    def needs_previous(self) -> bool:
        """Whether the method reads the network of the stage before, e.g. as a teacher, beside a backbone of its own."""
        return False

    @property
    def freezes_previous(self) -> bool:
        """Whether that network is frozen as it stands, so that a stage may not name another backbone."""
        return False

    @property
    def passes(self) -> int:
        """How often an epoch goes through the data; more than once where each batch is trained on several times."""
        return 1


class BackboneConfig(Config):
    """The base of every backbone's configuration.

    Attributes:
        need: What the backbone reads: images (B, C, H, W), volumes (B, C, D, H, W) or clips (B, C, T, H, W).
        continues: Whether a stage that starts from the previous one may name this backbone anew, with settings that
            leave its parameters as they are. Otherwise such a stage inherits it unchanged.
    """

    need: ClassVar[DataNeed] = DataNeed.IMAGE
    continues: ClassVar[bool] = False


class FilterConfig(Config):
    """The base of every filter's configuration.

    Attributes:
        compresses: Whether the filter leaves fewer bits a value, so that a second one like it finds nothing to do.
    """

    compresses: ClassVar[bool] = False


class AggregatorConfig(Config):
    """The base of every aggregator's configuration.

    Attributes:
        personalisation: The personalisation without which the rule has nothing to fold.
    """

    personalisation: ClassVar[str | None] = None

    @property
    def least_updates(self) -> int:
        """Of fewer updates the rule makes nothing."""
        return 1


class PersonalisationConfig(Config):
    """The base of every personalisation: which part of the model stays private, and from which round on."""

    def share_at(self, round_: int, rounds: int) -> Fraction:  # noqa: ARG002 - the signature of the family
        """The private share of every cut axis in a round, in [0, 1], never falling."""
        return Fraction(0)

    def check(self, stage: "Stage") -> None:
        """Refuse a stage whose other settings contradict this personalisation. By default none does.

        Raises:
            ValueError: They do; the message says what to change.
        """


MethodChoice = Annotated[SerializeAsAny[MethodConfig], BeforeValidator(chosen_from("methods"))]
BackboneChoice = Annotated[SerializeAsAny[Config], BeforeValidator(chosen_from("backbones"))]
OptimizerChoice = Annotated[SerializeAsAny[Config], BeforeValidator(chosen_from("optimizers"))]
LocalTermChoice = Annotated[SerializeAsAny[Config], BeforeValidator(chosen_from("local_terms"))]
PersonalisationChoice = Annotated[
    SerializeAsAny[PersonalisationConfig], BeforeValidator(chosen_from("personalisations"))
]
AggregatorChoice = Annotated[SerializeAsAny[AggregatorConfig], BeforeValidator(chosen_from("aggregators"))]
FilterChoice = Annotated[SerializeAsAny[FilterConfig], BeforeValidator(chosen_from("filters"))]
