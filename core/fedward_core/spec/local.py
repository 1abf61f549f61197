"""Training at a site within a round."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen, chosen_from
from fedward_core.spec.choices import LocalTermChoice, OptimizerChoice


class Schedule(Frozen):
    """The learning rate over a stage: linear warm-up from 0, then a half cosine to the final rate, at every step.

    Attributes:
        shape: ``cosine``, or ``constant`` after the warm-up. ``cosine_table`` is Fed-BEiT's: both parts are tables over
            steps, and the peak stands in both, at the last step of the warm-up and at the first after it.
            ``cosine_epochs`` is DeiT's: set once an epoch, and the cosine's clock also runs during the warm-up.
            ``cyclic`` rises linearly from 0 to the peak and falls back to 0; ``piecewise`` takes a tenth at half of the
            rounds and a hundredth at three quarters: both are those of fast adversarial training.
        warmup_rounds: Rounds of warm-up.
        first_lr: The rate at the start of the warm-up of ``cosine_epochs``.
        final_lr: The rate at the end of the cosine.
        peak_at: Where ``cyclic`` peaks, as a part of the rounds; 0.4 by default, as in GradAlign's code.
    """

    shape: Literal["cosine", "cosine_table", "cosine_epochs", "cyclic", "piecewise", "constant"] = "constant"
    warmup_rounds: float = Field(default=0.0, ge=0)
    first_lr: float = Field(default=0.0, ge=0)
    final_lr: float = Field(default=0.0, ge=0)
    peak_at: float = Field(default=0.4, gt=0, lt=1)

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if self.shape == "constant" and self.final_lr:
            raise ValueError("final_lr has no effect with shape 'constant': use shape 'cosine', or leave final_lr out")
        if self.shape in ("cyclic", "piecewise") and (self.final_lr or self.warmup_rounds):
            raise ValueError(f"warmup_rounds and final_lr have no effect with shape '{self.shape}': leave them out")
        if self.shape != "cyclic" and self.peak_at != 0.4:
            raise ValueError(f"peak_at has no effect with shape '{self.shape}': use shape 'cyclic', or leave it out")
        if self.shape != "cosine_epochs" and self.first_lr:
            raise ValueError(f"first_lr has no effect with shape '{self.shape}': use shape 'cosine_epochs'")
        if self.first_lr and not self.warmup_rounds:
            raise ValueError("first_lr has no effect without a warm-up: set warmup_rounds, or leave first_lr out")
        return self


class Local(Frozen):
    """Training at a site within a round.

    Attributes:
        epochs: Passes over the local data.
        batch_size: Images a step. A site with fewer images makes one batch of all; an incomplete last batch is dropped.
        threads: Threads of a site's training. With 1, every engine gives the same bits on CPU.
        device: ``auto`` takes the first GPU if there is one.
        precision: ``mixed`` uses 16-bit autocast, on a GPU only.
        optimizer: The optimiser.
        optimizer_state: ``keep`` leaves moments at the site from round to round (SSL-FL), ``reset`` starts anew
            (CD2-pFed).
        schedule: The learning rate over the stage.
        layer_decay: Each layer's rate is this times that of the layer above; 1 for none.
        clip_norm: Gradients are scaled down to this global norm.
        sam_rho: How far sharpness-aware minimisation moves the weights uphill before the gradient that counts (Foret et
            al., ICLR 2021); every step then computes two gradients. 0 for none; 0.05 in the paper and in MINiT.
        terms: Local terms that join the method's loss.
        augment: Random flips, shifts and contrast of training images, at the site.
        balanced: Draw training images with replacement, so that every class that the site has is equally likely; as
            many as there are. Only where each image has one class.
    """

    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=32, ge=1)
    threads: int = Field(default=1, ge=1)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    precision: Literal["full", "mixed"] = "full"
    optimizer: OptimizerChoice = Field(default_factory=lambda: chosen_from("optimizers")("adamw"))
    optimizer_state: Literal["keep", "reset"] = "keep"
    schedule: Schedule = Schedule()
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    clip_norm: float | None = Field(default=None, gt=0)
    sam_rho: float = Field(default=0.0, ge=0)
    terms: tuple[LocalTermChoice, ...] = ()
    augment: bool = False
    balanced: bool = False
