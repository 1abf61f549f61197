"""FedRep: FedPer's partition, trained in two phases.

Paper: L. Collins, H. Hassani, A. Mokhtari, S. Shakkottai, "Exploiting Shared Representations for Personalized Federated
Learning", ICML 2021, arXiv:2102.07078, algorithm 1.
"""

from fedward_core.partition import Partition
from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.personalisation.baseline_config import FedRepConfig
from fedward_models.personalisation.fedper import FedPer
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm


class FedRep(FedPer):
    """The classifier is private and trained on a backbone that stands still; then the backbone under it."""

    config: FedRepConfig

    def phases(
        self,
        method: Method,  # noqa: ARG002 - the signature of the family
        partition: Partition,  # noqa: ARG002
        *,
        local: Local,
        terms: tuple[LocalTerm, ...],
        joining: bool,  # noqa: ARG002
    ) -> tuple[Phase, ...]:
        """The classifier's epochs, then the backbone's."""
        body = Phase(local=local, trainable=r"(?!head\.).*", terms=terms)
        if not self.config.head_epochs:
            return (body,)
        longer = local.model_copy(update={"epochs": self.config.head_epochs})
        return (Phase(local=longer, trainable=r"head\..*", terms=terms), body)
