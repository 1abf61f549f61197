"""FedBYOL: each site predicts what a slow copy of the network makes of another view of the same image.

    online    view --> backbone --> projector --> predictor --.
                                                              | 2 - 2 cos, in both directions
    target    other view --> backbone' --> projector' --------'      target <- m target + (1-m) online, after each step

Paper: J.-B. Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS 2020,
https://arxiv.org/abs/2006.07733. Under federated averaging it is a baseline of R. Yan et al. (SSL-FL), IEEE TMI 2023,
https://arxiv.org/abs/2205.08576.

Faithful to BYOL: the symmetric loss, heads of two layers with batch norm between, a momentum that rises to 1 as half a
cosine, no gradient into the target, no negatives.
Differs: views of radiographs keep their colours, and the heads are smaller. Decided here, since how SSL-FL's authors
federate it is not published: online network and predictor are averaged, and the target stays at its site.

Letters: B batch, C channel, H height, W width, D what is predicted.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from fedward_core.cards import Contract, DataNeed
from fedward_core.errors import DataError
from fedward_core.partition import Role, Rule
from fedward_models.backbones.backbone import Backbone
from fedward_models.batch import Batch
from fedward_models.data.batches.views import draw_view
from fedward_models.inheritance import Inheritance, pooling_anew, take_over
from fedward_models.layers.projection_heads import normed_head
from fedward_models.layers.slow_copy import SlowCopy, rising_momentum
from fedward_models.losses.latent_prediction import latent_prediction
from fedward_models.method import Method
from fedward_models.methods.fedbyol.config import FedBYOLConfig
from fedward_models.step import Clock, StepOutput


class FedBYOL(Method):
    """BYOL, over any backbone of images.

    Attributes:
        config: Its settings.
        projector: From features to what is predicted.
        predictor: From the online projection of one view to the target's of the other.
        target: The slow copy of backbone and projector; it stays at the site.
    """

    need = DataNeed.TWO_VIEWS

    def __init__(self, config: FedBYOLConfig, *, backbone: Backbone, contract: Contract) -> None:  # noqa: ARG002 - the family's
        super().__init__()
        self.config, self.backbone = config, backbone
        # Without biases: before a batch norm they change nothing, and BYOL's last maps have none.
        self.projector = normed_head(backbone.num_features, config.hidden, config.width, last_norm=False)
        self.predictor = normed_head(config.width, config.hidden, config.width, last_norm=False)
        self.target = SlowCopy(self._followed())

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw two views of each image."""
        views = {
            "first": draw_view(batch, self.config.first_view, rng),
            "second": draw_view(batch, self.config.second_view, rng),
        }
        return replace(batch, drawn={**batch.drawn, **views})

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The mean loss of the batch.

        Raises:
            DataError: The batch has one image, over which no batch norm can be formed.
        """
        if len(batch) < 2:
            raise DataError(
                "the heads of fedbyol norm over the batch and need two images in it, found 1: raise local.batch_size, "
                "or leave out sites with one training image"
            )
        return StepOutput(loss=self.evaluation_loss(batch).mean())

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The loss of each image of a prepared batch in both directions, (B,), in [0, 8]."""
        first, second = batch.drawn["first"], batch.drawn["second"]
        return latent_prediction(self._predicted(first), self.target(second)) + latent_prediction(
            self._predicted(second), self.target(first)
        )

    def predict_batch(self, batch: Batch) -> Tensor:
        """The loss of each image, (B,), under views that are the same at every call."""
        return self.evaluation_loss(self.prepare(batch, torch.Generator().manual_seed(0)))

    def rules(self) -> tuple[Rule, ...]:
        """The online network and the predictor travel; the target stays at the site."""
        return (Rule(pattern=r"target\..*", role=Role.PRIVATE), Rule(pattern=r".*", role=Role.SHARED))

    def momentum_at(self, clock: Clock) -> float:
        """What the target keeps of itself: from the setting up to 1 over the stage, as half a cosine (BYOL)."""
        return rising_momentum(self.config.momentum, clock.position / clock.rounds)

    def join(self) -> None:
        """Begin with the received weights in the target, which has followed nobody yet."""
        self.target.restart(self._followed())

    def before_step(self, clock: Clock) -> None:
        """Begin a round from the received weights, where the target is rebuilt."""
        if self.config.target == "rebuild" and clock.epoch == clock.step == 0:
            self.target.restart(self._followed())

    def after_step(self, clock: Clock) -> None:
        """Move the target."""
        self.target.follow(self._followed(), momentum=self.momentum_at(clock))

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take the backbone over, from a stage of ``fedbyol`` all that travelled, and copy it into the target.

        What serves pooled features only starts as it is built where the stage before had none of it.

        Raises:
            CheckpointError: An entry is missing or has another shape.
        """
        own, anew = tuple(self.state_dict()), pooling_anew(self, state)
        parts = ("backbone.", "projector.", "predictor.") if isinstance(source, FedBYOL) else ("backbone.",)
        taken = take_over(self, state, (name for name in own if name.startswith(parts) and name not in anew))
        self.target.restart(self._followed())
        copies = {f"target.{name}" for name in taken}
        return Inheritance.of(self, state, taken=taken, cloned=tuple(name for name in own if name in copies))

    def _followed(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "projector": self.projector}

    def _predicted(self, images: Tensor) -> Tensor:
        """The online network: (B, C, H, W) to (B, D)."""
        predicted: Tensor = self.predictor(self.projector(self.backbone(images)))
        return predicted
