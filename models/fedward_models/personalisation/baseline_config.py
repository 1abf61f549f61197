"""The settings of baselines that change how a site trains, without torch: by phases, a second model, a correction."""

from fractions import Fraction
from typing import ClassVar, Literal

from pydantic import Field

from fedward_core.config import Config
from fedward_core.spec import PersonalisationConfig, Stage


class FedRepConfig(PersonalisationConfig):
    """FedRep: a private classifier is trained first, then the shared backbone under it.

    Paper: L. Collins, H. Hassani, A. Mokhtari, S. Shakkottai, "Exploiting Shared Representations for Personalized
    Federated Learning", ICML 2021, arXiv:2102.07078.

    Attributes:
        head_epochs: Local epochs of the classifier in each round; the backbone then has ``local.epochs``. The paper's
            CIFAR-10 runs with 100 sites take 10, and 1 for the backbone. At 0 the classifier stays as it began.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.fedrep:FedRep"

    name: Literal["fedrep"] = "fedrep"
    head_epochs: int = Field(default=10, ge=0)


class DittoConfig(PersonalisationConfig):
    """Ditto: beside the shared model each site trains one of its own, held near it.

    Paper: T. Li, S. Hu, A. Beirami, V. Smith, "Ditto: Fair and Robust Federated Learning Through Personalization", ICML
    2021, arXiv:2012.04221.

    Attributes:
        pull: lambda, the strength that holds the site's model near the shared one. At 0 it trains alone, towards
            infinity it is the shared one. The paper tunes it for each site; decided here: 1.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.ditto:Ditto"

    name: Literal["ditto"] = "ditto"
    pull: float = Field(default=1.0, ge=0)


class ScaffoldConfig(PersonalisationConfig):
    """SCAFFOLD: each site corrects its steps by how its gradients differ from everyone's.

    Paper: S. P. Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020,
    arXiv:1910.06378. It needs plain SGD at one rate, and ``aggregate: scaffold_mean``. With one site it is plain SGD.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.scaffold:Scaffold"

    name: Literal["scaffold"] = "scaffold"

    def check(self, stage: Stage) -> None:
        """Refuse what the control variates could not be computed from.

        Raises:
            ValueError: Another aggregator, or an optimiser whose steps are not the rate times the gradient.
        """
        local = stage.local
        contradictions = {
            "aggregate: scaffold_mean": stage.aggregate.name != "scaffold_mean",
            "local.optimizer: sgd with momentum 0": not _is_plain_sgd(local.optimizer),
            "local.schedule: constant, without warm-up": (
                local.schedule.shape != "constant" or local.schedule.warmup_rounds > 0
            ),
            "local.layer_decay: 1": local.layer_decay != 1,
            "local.clip_norm: null": local.clip_norm is not None,
            "local.precision: full": local.precision != "full",
        }
        needed = [setting for setting, contradicts in contradictions.items() if contradicts]
        if needed:
            raise ValueError(f"stage '{stage.name}': personalise 'scaffold' needs {'; '.join(needed)}")


def _is_plain_sgd(optimizer: Config) -> bool:
    """Whether there is no momentum at any rate, so that every step is the rate times the gradient."""
    settings = optimizer.model_dump()
    return settings["name"] == "sgd" and not settings["momentum"] and not settings["peak_momentum"]


class LogitBiasConfig(PersonalisationConfig):
    """Every site fits the bias of the classifier to its own labels, and nothing else: the least of personalisations.

    Meant for a stage that starts from a federated one. Decided here, as a baseline against label skew.
    """

    implementation: ClassVar[str] = "fedward_models.personalisation.logit_bias:LogitBias"

    name: Literal["logit_bias"] = "logit_bias"

    def share_at(self, round_: int, rounds: int) -> Fraction:  # noqa: ARG002 - the signature of the family
        """Everything, in every round."""
        return Fraction(1)

    def check(self, stage: Stage) -> None:
        """Refuse a stage in which only a bias would ever be trained.

        Raises:
            ValueError: The stage starts from scratch.
        """
        if stage.start_from == "scratch":
            raise ValueError(
                f"stage '{stage.name}': logit_bias trains the bias of the classifier alone: start_from: previous"
            )
