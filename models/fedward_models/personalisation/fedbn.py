"""FedBN: normalisation of one's own, for sites whose images differ in appearance.

Paper: X. Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021,
arXiv:2102.07623. Differs: the paper speaks of batch norm; where a network has layer or group norms, these are private
too.
"""

from fedward_core.partition import Rule
from fedward_models.method import Method
from fedward_models.personalisation.norms import norm_names
from fedward_models.personalisation.personalisation import Personalisation, narrowed, private


class FedBN(Personalisation):
    """Scales, shifts and statistics of every normalisation are private."""

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """Normalisations are private, the rest as the method says.

        Raises:
            SpecError: The method has no normalisation.
        """
        return narrowed(method, private(norm_names(method)))
