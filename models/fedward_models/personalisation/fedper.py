"""FedPer: a classifier of one's own on a backbone of all.

Paper: M. G. Arivazhagan, V. Aggarwal, A. K. Singh, S. Choudhary, "Federated Learning with Personalization Layers",
2019, arXiv:1912.00818. Differs: the paper can also keep the backbone's last blocks private; here it is the classifier
alone, its base case and the one that comparisons use.
"""

from fedward_core.errors import SpecError
from fedward_core.partition import Rule
from fedward_models.method import Method
from fedward_models.personalisation.personalisation import Personalisation, narrowed, private


class FedPer(Personalisation):
    """Everything under ``head.`` is private."""

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """The classifier is private, the rest as the method says.

        Raises:
            SpecError: The method has no classifier.
        """
        names = [name for name in method.state_dict() if name.startswith("head.")]
        if not names:
            raise SpecError(
                f"fedper keeps the classifier private, but {type(method).__name__} has none: "
                "choose a method with classes"
            )
        return narrowed(method, private(names))
