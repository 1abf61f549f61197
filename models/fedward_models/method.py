"""The one interface of the zoo: a method turns a batch into a loss, and says which of its numbers may travel.

A method knows no sites, rounds, files or devices. It is federated and personalised from outside, without a line of its
own.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from fedward_core.cards import DataNeed
from fedward_core.errors import SpecError
from fedward_core.partition import Role, Rule
from fedward_models.batch import Batch
from fedward_models.inheritance import Inheritance
from fedward_models.step import Clock, StepOutput

if TYPE_CHECKING:
    from fedward_models.backbones.backbone import Backbone


class Method(nn.Module):
    """The base of every method.

    Attributes:
        need: What the method reads, as its configuration says; one that needs images reads what its backbone reads.
        spares_backbone: Whether the weight decay spares what the backbone names, e.g. the class token.
        backbone: The network it trains.
        head_features: What its head reads of the backbone: ``pooled`` features, or the ``class_token``.
        normalisation: What its network's pixels are standardised by: a published standard, or as the ``site`` does.
    """

    need: ClassVar[DataNeed] = DataNeed.IMAGE
    spares_backbone: ClassVar[bool] = False
    backbone: "Backbone"
    head_features: str = "pooled"
    normalisation: str = "site"

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:  # noqa: ARG002 - the signature of the family
        """Make every random draw of a step, once. By default there is none.

        Args:
            batch: Images and labels as the loader gives them.
            rng: A CPU generator, seeded for this step.
        """
        return batch

    @abstractmethod
    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:
        """The loss of a prepared batch: a function of parameters and batch alone, so that it can be repeated."""

    @abstractmethod
    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The loss of each image of a prepared batch, without what only regularises training, e.g. smoothed labels.

        It is what is evaluated where there are no labels.

        Returns:
            (B,).
        """

    def predict(self, images: Tensor) -> Tensor:
        """What is evaluated, of images alone. A method has a :meth:`predict` or a :meth:`predict_batch` of its own.

        Args:
            images: (B, C, H, W), float, standardised; pixels in [0, 1] for a method that reads pixels.

        Returns:
            (B, K) class probabilities, (B, K, H, W) for segmentation, or whatever ``evaluate`` of the method reads.

        Raises:
            NotImplementedError: The method has neither.
        """
        if type(self).predict_batch is Method.predict_batch:
            raise NotImplementedError(f"{type(self).__name__} needs a predict or a predict_batch of its own")
        return self.predict_batch(Batch(images=images))

    @property
    def standardises(self) -> bool:
        """Whether it standardises pixels itself, so that :meth:`predict` reads them from 0 to 1. By default not."""
        return False

    def predict_batch(self, batch: Batch) -> Tensor:
        """What is evaluated, for a method that reads more of a batch than its images; else :meth:`predict`."""
        return self.predict(batch.images)

    def measures(self, batch: Batch) -> Mapping[str, Tensor]:  # noqa: ARG002 - the signature of the family
        """Further values of each image, (B,), whose means evaluation reports by these names. By default there are none.

        E.g. whether an image is classified right under attack. The method is in evaluation mode, without gradients.

        Args:
            batch: As the loader gives it, on the device.
        """
        return {}

    def check_trained(self) -> None:
        """Called before an evaluation, so that what was never trained is not taken for a result. By default all passes.

        Raises:
            UntrainedError: A part that evaluation needs still is as it was built.
        """

    def logits(self, images: Tensor) -> Tensor:  # noqa: ARG002 - the signature of the family
        """(B, K) logits, where there are any; what distillation compares.

        Raises:
            SpecError: The method has none.
        """
        raise SpecError(f"{type(self).__name__} has no logits: choose a method with classes, or set distillation: 0")

    def rules(self) -> tuple[Rule, ...]:
        """What travels, by state-dict name. By default everything does."""
        return (Rule(pattern=r".*", role=Role.SHARED),)

    @property
    def replays(self) -> int:
        """Steps on each batch, one after another, each with draws of its own. By default one."""
        return 1

    @property
    def no_weight_decay(self) -> frozenset[str]:
        """Parameters that the weight decay spares, beside biases and norms: what the backbone says, or no others."""
        names = self.backbone.no_weight_decay if self.spares_backbone else ()
        return frozenset(f"backbone.{name}" for name in names)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the plan and the record, e.g. which frozen weights are read. By default there are none."""
        return ()

    @property
    def origins(self) -> tuple[str, ...]:
        """Those notes that must hold at every site, of what no weight carries and no digest in the spec fixes.

        A site refuses a plan without them. By default there are none.
        """
        return ()

    def join(self) -> None:
        """Called where a site enters a stage that others have begun: before it trains, or evaluates if it never does.

        What travels has been received, and what stays at a site is as the stage began with it, e.g. a momentum branch
        that follows the weights as they were before anybody trained. By default it stays so.
        """

    def before_step(self, clock: Clock) -> None:
        """Called before the forward pass of every step, e.g. to move a momentum branch."""

    def after_backward(self, clock: Clock) -> None:
        """Called between backward and the optimiser, e.g. to normalise a gradient."""

    def after_step(self, clock: Clock) -> None:
        """Called after the optimiser's step."""

    @abstractmethod
    def inherit(self, state: Mapping[str, Tensor], source: "Method") -> Inheritance:
        """Take over what the stage before has learned.

        Args:
            state: The previous stage's state dict.
            source: The previous stage's method, untrained, for its form.

        Raises:
            CheckpointError: An entry that must be taken over is missing or has another shape.
            SpecError: The method cannot go on from that one.
        """
