"""Ditto: a shared model, and beside it one of the site's own that is held near it.

    state = the shared model  +  personal.* (private)          evaluated: personal

Paper: T. Li, S. Hu, A. Beirami, V. Smith, "Ditto: Fair and Robust Federated Learning Through Personalization", ICML
2021, arXiv:2012.04221, algorithm 1. As there, the site's model is pulled to the shared one of the round's start.
Differs: both see the same batches in the same order, so that each alone is what it would be without the other.
"""

import copy

from fedward_core.partition import Partition, Rule
from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.personalisation.baseline_config import DittoConfig
from fedward_models.personalisation.personalisation import Personalisation, private
from fedward_models.training.config import ProximalConfig
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm, Proximal

PERSONAL = "personal"


class Ditto(Personalisation):
    """Doubles the memory of a model at a site; what travels stays as it was."""

    config: DittoConfig

    def extend(self, method: Method) -> None:
        """A second model, equal to the first at the start of the stage."""
        method.add_module(PERSONAL, copy.deepcopy(method))

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """The second model is private, the first as the method says."""
        own = (name for name in method.state_dict() if name.startswith(f"{PERSONAL}."))
        return (*private(own), *method.rules())

    def phases(
        self,
        method: Method,
        partition: Partition,  # noqa: ARG002 - the signature of the family
        *,
        local: Local,
        terms: tuple[LocalTerm, ...],
        joining: bool,  # noqa: ARG002
    ) -> tuple[Phase, ...]:
        """The shared model with the stage's own terms, then the site's with the pull."""
        return (
            Phase(local=local, trainable=rf"(?!{PERSONAL}\.).*", terms=terms),
            Phase(local=local, terms=(PullToShared(self.config, method),), target=PERSONAL),
        )

    def evaluated(self, method: Method, partition: Partition) -> Method:  # noqa: ARG002 - the signature of the family
        """The site's model."""
        personal = method.get_submodule(PERSONAL)
        assert isinstance(personal, Method)
        return personal


class PullToShared(Proximal):
    """lambda/2 times the squared distance of the site's model to the shared one, as it was at the round's start.

    Args:
        config: The strength.
        method: The shared model.
    """

    def __init__(self, config: DittoConfig, method: Method) -> None:
        super().__init__(ProximalConfig(mu=config.pull))
        self._shared = method

    def begin(self, method: Method) -> None:
        """Copy of the shared model what the site's own trains, and not the one within it."""
        shared = dict(self._shared.named_parameters())
        trained = (name for name, parameter in method.named_parameters() if parameter.requires_grad)
        self._start = {name: shared[name].detach().clone() for name in trained}
