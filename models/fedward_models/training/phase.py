"""A phase: some parameters, trained with one optimiser. Most rounds have one; two are FedRep and Ditto."""

import re
from dataclasses import dataclass

from torch import nn

from fedward_core.errors import SpecError
from fedward_core.spec import Local
from fedward_models.method import Method
from fedward_models.training.terms import LocalTerm


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Training of some parameters.

    Attributes:
        local: Epochs, optimiser, schedule and precision.
        trainable: A regular expression over whole parameter names; the others stand still and get no gradient.
        terms: Everything that joins the method's loss, already built.
    """

    local: Local
    trainable: str = r".*"
    terms: tuple[LocalTerm, ...] = ()

    def parameters(self, method: Method) -> dict[str, nn.Parameter]:
        """The parameters that this phase trains, by name; never one that the method itself holds fixed.

        Raises:
            SpecError: There is none.
        """
        named = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
        trained = {name: parameter for name, parameter in named.items() if re.fullmatch(self.trainable, name)}
        if not trained:
            raise SpecError(
                f"nothing to train: none of {len(named)} parameters matches '{self.trainable}'. Widen the expression"
            )
        return trained
