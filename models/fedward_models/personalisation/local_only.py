"""Every site for itself: the baseline that shows what a federation is worth."""

from fedward_core.partition import Role, Rule
from fedward_models.method import Method
from fedward_models.personalisation.personalisation import Personalisation, narrowed


class LocalOnly(Personalisation):
    """Nothing travels."""

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """Everything that is not frozen is private."""
        return narrowed(method, (Rule(pattern=r".*", role=Role.PRIVATE),))
