"""The settings of every personalisation, without torch: what stays at the site, and from which round on."""

from fractions import Fraction
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedward_core.spec import PersonalisationConfig, Stage


class ChannelDecouplingConfig(PersonalisationConfig):
    """CD2-pFed: a share of each layer's channels is private, and the two halves teach each other.

    Paper: Y. Shen, Y. Zhou, L. Yu, "CD2-pFed: Cyclic Distillation-guided Channel Decoupling for Model Personalization
    in Federated Learning", CVPR 2022, arXiv:2204.03880. No code is published and most values are not known: what is
    marked "Decided here" must not be reported as the paper's.

    Without averaging over epochs (``temporal_averaging: null``) this is FedAvg at ``private: 0``, and local training at
    ``private: 1, ramp_rounds: 0``.

    Attributes:
        private: The private share of each layer's channels at the end of the ramp. Decided here: a half.
        coupling: What becomes of the weights between the two halves. ``rows``: those that lead to a shared channel are
            shared, the only reading in which exactly the private share of a layer's filters stays at the site.
            ``block``: all are private, so that the shared part is a network of its own. ``branch``: there are none; two
            narrow networks stand side by side, and their logits add.
        distillation: The weight of the cyclic distillation in the loss; 0 for none. Decided here: 0.5.
        temperature: Softens both halves' predictions before they are compared. Decided here: 1.
        detach_teacher: Each half in turn is a constant that the other learns from; without it gradients reach both, as
            the paper's formula reads.
        ramp_rounds: The private share grows linearly from 0 over this number of rounds; null for half of the rounds, 0
            to start at the whole share. Decided here: half.
        temporal_averaging: The weight of an epoch's end in the running average that a site trains with, at its ramp's
            end; the rest is the average so far. The opposite of a teacher's momentum; 1 without ramp for no averaging,
            null for none at all. Decided here: 0.9.
        averaging_ramp: The weight grows with the site's epochs, 1/2, 2/3, 3/4, up to ``temporal_averaging``.
        averaging_scope: ``all`` trained weights, as the paper's formula reads, or only ``private`` ones.
        warmup_epochs: More local epochs for a site that joins a running stage, in its first round there. Decided here:
            1.
        norms: ``follow``: scale, shift and statistics belong to their channel. ``local``: all are private, as in FedBN.
            Decided here: ``follow``.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.channel_decoupling:ChannelDecoupling"

    name: Literal["channel_decoupling"] = "channel_decoupling"
    private: float = Field(default=0.5, ge=0, le=1)
    coupling: Literal["rows", "block", "branch"] = "rows"
    distillation: float = Field(default=0.5, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    detach_teacher: bool = False
    ramp_rounds: int | None = Field(default=None, ge=0)
    temporal_averaging: float | None = Field(default=0.9, gt=0, le=1)
    averaging_ramp: bool = True
    averaging_scope: Literal["all", "private"] = "all"
    warmup_epochs: int = Field(default=1, ge=0)
    norms: Literal["follow", "local"] = "follow"

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if not self.distillation and (self.detach_teacher or self.temperature != 1):
            raise ValueError(
                "detach_teacher and temperature have no effect with distillation 0: "
                "leave them out, or raise distillation"
            )
        if not self.private and self.ramp_rounds:
            raise ValueError("ramp_rounds has no effect with private 0: leave it out, or raise private")
        if self.temporal_averaging is None and not (self.averaging_ramp and self.averaging_scope == "all"):
            raise ValueError(
                "averaging_ramp and averaging_scope have no effect without temporal_averaging: leave them out"
            )
        if not self.private and self.norms == "follow" and self.averaging_scope == "private":
            raise ValueError("averaging_scope 'private' has no effect with private 0: leave it out, or raise private")
        return self

    def check(self, stage: Stage) -> None:
        """Refuse what would train something else than it says.

        Raises:
            ValueError: The stage is over before the ramp is, so that no round has the whole private share; or it asks
                for sharpness-aware minimisation over branches: uphill, the weights between them would be back.
        """
        reached = self.share_at(stage.rounds - 1, stage.rounds)
        if reached < self._whole:
            raise ValueError(
                f"stage '{stage.name}': its {stage.rounds} rounds are over at a private share of {float(reached):.3g}, "
                f"before it comes to {self.private:g}: set personalise.ramp_rounds lower, 0 to start at the whole share"
            )
        if self.coupling == "branch" and stage.local.sam_rho:
            raise ValueError(
                f"stage '{stage.name}': coupling 'branch' keeps weights at zero that local.sam_rho would move: leave "
                "sam_rho out, or choose coupling 'rows' or 'block'"
            )

    def share_at(self, round_: int, rounds: int) -> Fraction:
        """The private share in a round: a linear ramp from 0 that stays at its end, exact so that all sites agree."""
        ramp = Fraction(rounds, 2) if self.ramp_rounds is None else Fraction(self.ramp_rounds)
        return self._whole if round_ >= ramp else self._whole * round_ / ramp

    @property
    def _whole(self) -> Fraction:
        """The share at the ramp's end, of the decimal text: 0.1 means a tenth, and rounding half up needs it so."""
        return Fraction(str(self.private))


class FedPerConfig(PersonalisationConfig):
    """FedPer: the classifier is private, the backbone is shared.

    Paper: M. G. Arivazhagan, V. Aggarwal, A. K. Singh, S. Choudhary, "Federated Learning with Personalization Layers",
    2019, arXiv:1912.00818.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.fedper:FedPer"

    name: Literal["fedper"] = "fedper"


class LGFedAvgConfig(PersonalisationConfig):
    """LG-FedAvg: the first layers are private, what is above them is shared.

    Paper: P. P. Liang et al., "Think Locally, Act Globally: Federated Learning with Local and Global Representations",
    2020, arXiv:2001.01523.

    Attributes:
        private_layers: How many layers, counted from the image as the backbone counts them: the stages and hidden
            layers of a CNN, the embeddings and blocks of a transformer. Decided here: 2, the convolutions of the
            default small CNN.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.lg_fedavg:LGFedAvg"

    name: Literal["lg_fedavg"] = "lg_fedavg"
    private_layers: int = Field(default=2, ge=1)


class FedBNConfig(PersonalisationConfig):
    """FedBN: the parameters and statistics of every normalisation are private, the rest is shared.

    Paper: X. Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021,
    arXiv:2102.07623.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.fedbn:FedBN"

    name: Literal["fedbn"] = "fedbn"


class LocalOnlyConfig(PersonalisationConfig):
    """Every site trains alone; the baseline that any federation has to beat."""

    implementation: ClassVar[str] = "fedward_models.personalisation.local_only:LocalOnly"

    name: Literal["local_only"] = "local_only"

    def share_at(self, round_: int, rounds: int) -> Fraction:  # noqa: ARG002 - the signature of the family
        """Everything, in every round."""
        return Fraction(1)
