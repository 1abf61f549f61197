"""LG-FedAvg: representations of one's own under layers of all.

Paper: P. P. Liang et al., "Think Locally, Act Globally: Federated Learning with Local and Global Representations",
2020, arXiv:2001.01523. Differs: the authors' CIFAR runs begin with many rounds of plain averaging; here that is a stage
of its own before this one. Their released list of this network's layers ends in the convolutions, of which it shares
the last two (pliang279/LG-FedAvg, commit 7af0568); here, as the paper says, the first layers stay.
"""

from fedward_core.errors import SpecError
from fedward_core.partition import Rule
from fedward_models.method import Method
from fedward_models.personalisation.config import LGFedAvgConfig
from fedward_models.personalisation.personalisation import Personalisation, narrowed, private

BACKBONE = "backbone."


class LGFedAvg(Personalisation):
    """The first layers of the backbone are private."""

    config: LGFedAvgConfig

    def rules(self, method: Method) -> tuple[Rule, ...]:
        """The first layers are private with their norms and statistics, the rest as the method says.

        Raises:
            SpecError: The backbone has fewer layers.
        """
        layers, available = self.config.private_layers, method.backbone.num_layers()
        if layers > available:
            raise SpecError(
                f"private_layers is {layers}, but the backbone has {available} layers: give at most so many"
            )
        return narrowed(method, private(name for name in method.state_dict() if self._is_private(name, method)))

    def _is_private(self, name: str, method: Method) -> bool:
        if not name.startswith(BACKBONE):
            return False
        return method.backbone.layer_of(name.removeprefix(BACKBONE)) < self.config.private_layers
