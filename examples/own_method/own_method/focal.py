"""Training with labels under the focal loss, for classes that some hospitals see seldom.

Paper: T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar, "Focal Loss for Dense Object Detection", ICCV 2017,
https://arxiv.org/abs/1708.02002, Eq. 4. Differs: over exclusive classes instead of single decisions, and without the
weight alpha of a class.

Letters: B batch, C channel, H height, W width, K classes, E features.
"""

from collections.abc import Mapping

from fedward_core.cards import Contract, Task
from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.batch import Batch
from fedward_models.inheritance import Inheritance, take_over
from fedward_models.method import Method
from fedward_models.step import Clock, StepOutput
from torch import Tensor, finfo, nn
from torch.nn import functional

from own_method.config import FocalConfig


class Focal(Method):
    """A backbone with a linear head.

    Raises:
        SpecError: The labels are not one class for each image.
    """

    def __init__(self, config: FocalConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        if contract.task is not Task.CLASSIFICATION:
            raise SpecError(f"focal is for classification, found task '{contract.task}': use supervised")
        self.config, self.backbone, self.task = config, backbone, contract.task
        self.head = nn.Linear(backbone.num_features, len(contract.classes))

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the family's
        """The mean focal loss."""
        return StepOutput(loss=self._losses(batch, gamma=self.config.gamma).mean())

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The cross-entropy of each image, (B,), so that settings can be compared."""
        return self._losses(batch, gamma=0.0)

    def logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def predict(self, images: Tensor) -> Tensor:
        """(B, K) probabilities."""
        return self.logits(images).softmax(dim=1)

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take the backbone over, and from a stage of the same kind the head too.

        Raises:
            CheckpointError: An entry is missing or has another shape.
        """
        own = self.state_dict()
        new = () if isinstance(source, Focal) else tuple(name for name in own if name.startswith("head."))
        taken = take_over(self, state, (name for name in own if name not in new))
        return Inheritance(taken=taken, new=new, dropped=tuple(name for name in state if name not in taken))

    def _losses(self, batch: Batch, *, gamma: float) -> Tensor:
        return focal_loss(self.logits(batch.images), batch.needed_labels(), gamma=gamma)


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p, of the probability p of each image's class.

    Args:
        logits: (B, K).
        labels: (B,) class numbers.
        gamma: 0 for cross-entropy.

    Returns:
        (B,).
    """
    entropy = functional.cross_entropy(logits, labels, reduction="none")
    # Where p is 1, a power below 1 would have no slope.
    wrong = (1 - (-entropy).exp()).clamp(min=finfo(entropy.dtype).tiny)
    return wrong**gamma * entropy
