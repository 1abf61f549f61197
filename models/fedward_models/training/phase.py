"""A phase: some parameters, trained with one optimiser. Most rounds have one; FedRep and Ditto have two."""

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
        target: Which method within the method makes the steps, e.g. Ditto's personal one; by default itself.
    """

    local: Local
    trainable: str = r".*"
    terms: tuple[LocalTerm, ...] = ()
    target: str = ""

    def trained(self, method: Method) -> Method:
        """The method that makes the steps."""
        target = method.get_submodule(self.target)
        assert isinstance(target, Method)
        return target

    def parameters(self, method: Method) -> dict[str, nn.Parameter]:
        """The parameters that this phase trains, by their names in the target; never one that the method holds fixed.

        Raises:
            SpecError: There is none.
        """
        everything = self.trained(method).named_parameters()
        named = {name: parameter for name, parameter in everything if parameter.requires_grad}
        trained = {name: parameter for name, parameter in named.items() if re.fullmatch(self.trainable, name)}
        if not trained:
            raise SpecError(
                f"nothing to train: none of {len(named)} parameters matches '{self.trainable}'. Widen the expression"
            )
        return trained
