"""A bias of one's own on the logits of everyone's model: it fits the frequency of a site's labels, and nothing else."""

from fedward_core.errors import SpecError
from fedward_core.partition import Partition, Rule
from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.personalisation.local_only import LocalOnly
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm

BIAS = "head.bias"


class LogitBias(LocalOnly):
    """Nothing travels, and the bias of the classifier alone is trained."""

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """Everything that is not frozen is private.

        Raises:
            SpecError: The method has no classifier with a bias.
        """
        if BIAS not in method.state_dict():
            raise SpecError(
                f"logit_bias trains the bias of the classifier, but {type(method).__name__} has none: choose a method "
                "with classes"
            )
        return super().rules(method)

    def phases(
        self,
        method: Method,  # noqa: ARG002 - the signature of the family
        partition: Partition,  # noqa: ARG002
        *,
        local: Local,
        terms: tuple[LocalTerm, ...],
        joining: bool,  # noqa: ARG002
    ) -> tuple[Phase, ...]:
        """The bias, on features that stand still."""
        return (Phase(local=local, trainable=r"head\.bias", terms=(*terms, StandingFeatures())),)


class StandingFeatures(LocalTerm):
    """Keeps the backbone in evaluation mode: norms use their statistics and leave them alone, nothing is dropped."""

    def begin(self, method: Method) -> None:
        """``fit`` gives every module its own mode back at the end."""
        method.backbone.eval()
