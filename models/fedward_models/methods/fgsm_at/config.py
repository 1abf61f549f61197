"""The settings of adversarial training."""

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from fedward_core.spec import MethodConfig

# Radii over step lengths, as published; see FGSMATConfig.step_ratio.
_STEP_RATIOS = {"fgsm": 1.0, "fgsm_rs": 1.25, "n_fgsm": 1.0, "pgd": 0.2, "free": 1.0}
_REPLAYS = 8  # of ``free``, as in its paper


class FGSMATConfig(MethodConfig):
    """FGSM adversarial training with its bag of tricks (Li et al., arXiv:2209.02684), and its baselines.

    The two tricks that are layers, a stride in the first convolution and smooth activations, are settings of the
    backbone ``preact_resnet``. The paper's own numbers are not public, so defaults are decided here where no other
    source stands.

    Attributes:
        epsilon: The radius, in units of pixels from 0 (black) to 1 (white). 8/255, as in the paper.
        attack: What training images are perturbed by. ``fgsm``: one step from the image (Goodfellow et al., ICLR 2015).
            ``fgsm_rs``: one step from a random start (Wong et al., ICLR 2020). ``n_fgsm``: one step from stronger noise
            without a ball (de Jorge et al., NeurIPS 2022). ``pgd``: several steps (Madry et al., ICLR 2018). ``free``:
            one perturbation that is carried from step to step, while each batch is repeated (Shafahi et al., NeurIPS
            2019).
        step_ratio: The step's length over the radius; null for the published one: 1, 1.25, 1, 0.2 and 1.
        steps: Steps of ``pgd``; null for 10, as in GradAlign's code.
        replays: How often ``free`` repeats each batch; null for 8, as in its paper. An epoch makes as many times the
            steps, so that fewer rounds do.
        warmup_rounds: Rounds over which the attack grows to full strength: the radius of ``pgd``, the step of the
            others. GradAlign's code takes 5 epochs on SVHN, and none elsewhere.
        noise_ratio: The noise of ``n_fgsm`` over the radius; null for 2, as in its paper.
        ties: How much of the gradient reaches a pixel that is exactly black or white through the clamp to the image
            range: ``pass``, all of it, as in Wong et al.'s code; ``half`` of it; or ``zero``, none, as in GradAlign's,
            which never perturbs a black ground in training, where an attack then does.
        grad_align: The weight of GradAlign (Andriushchenko and Flammarion, NeurIPS 2020); 0 for none, ``published`` for
            that of its code, which depends on the radius.
        mask_ratio: The part of the pixels that is hidden in training; 0 for none. Decided here: 0.4.
        mask_mode: ``random`` draws a mask for each image, ``batch`` one for each batch, ``fixed`` one for all images of
            all sites, ``grid`` is a checkerboard, with mask_ratio 0.5. Decided here: ``random``.
        mask_px: The height and width of the squares that are hidden, less than the image's. Decided here: 1.
        mask_seed: The seed of the ``fixed`` mask, the same at every site.
        mask_value: What hidden pixels show: ``black``, or the ``mean`` of the site's images. Decided here: ``black``.
        perturb_masked: Whether hidden pixels are perturbed too. Decided here: yes.
        first_layer_penalty: The weight of the penalty on the first layer's weights; 0 for none. Decided here: 0.005.
        first_layer_norm: What is penalised of the first layer's weights: ``frobenius``, the sum of their squares;
            ``l1``, the sum of their absolute values; ``spectral``, the square of their largest singular value; or
            ``gain``, the largest sum of absolute values of one filter. Decided here: ``frobenius``.
        first_layer_cap: The largest length (Frobenius norm) of the first layer's weights; longer ones are scaled down
            to it after each step; null for no bound, decided here.
        norm_statistics: Which images the running statistics of batch norms follow, by which evaluation standardises
            features: those of ``training``, hidden and perturbed, or ``whole`` ones, by one more pass a step. Decided
            here: ``training``, as in the baselines' code.
        evaluation_steps: Steps of the PGD under which evaluation reports accuracy; 0 for no attack in evaluation.
            Decided here: 20; published tables take 50.
        evaluation_restarts: Its random starts. Decided here: 1; published tables take 10.
        evaluation_square: Queries of Square, an attack without gradients, under which evaluation reports accuracy; 0
            for none. Decided here: 0, for its time; AutoAttack takes 5000.
        evaluation_auto_attack: Whether evaluation reports accuracy under AutoAttack, for published tables; every site
            then needs the extra ``bench``. Decided here: no, for its time.
        monitor_steps: Steps of the PGD that watches training, on the first batch of each local epoch; 0 for none.
            Decided here: 0, since evaluation watches the same on other images. Wong et al. take 5.
    """

    implementation: ClassVar[str] = "fedward_models.methods.fgsm_at.fgsm_at:FGSMAT"

    name: Literal["fgsm_at"] = "fgsm_at"
    epsilon: float = 8 / 255
    attack: Literal["fgsm", "fgsm_rs", "n_fgsm", "pgd", "free"] = "fgsm"
    step_ratio: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    replays: int | None = Field(default=None, ge=1)
    warmup_rounds: float = Field(default=0.0, ge=0)
    noise_ratio: float | None = Field(default=None, gt=0)
    ties: Literal["zero", "half", "pass"] = "pass"
    grad_align: float | Literal["published"] = 0.0
    mask_ratio: float = Field(default=0.4, ge=0, lt=1)
    mask_mode: Literal["random", "batch", "fixed", "grid"] = "random"
    mask_px: int = Field(default=1, ge=1)
    mask_seed: int = Field(default=0, ge=0)
    mask_value: Literal["black", "mean"] = "black"
    perturb_masked: bool = True
    first_layer_penalty: float = Field(default=0.005, ge=0)
    first_layer_norm: Literal["frobenius", "l1", "spectral", "gain"] = "frobenius"
    first_layer_cap: float | None = Field(default=None, gt=0)
    norm_statistics: Literal["training", "whole"] = "training"
    evaluation_steps: int = Field(default=20, ge=0)
    evaluation_restarts: int = Field(default=1, ge=1)
    evaluation_square: int = Field(default=0, ge=0)
    evaluation_auto_attack: bool = False
    monitor_steps: int = Field(default=0, ge=0)

    @field_validator("epsilon")
    @classmethod
    def _check_epsilon(cls, epsilon: float) -> float:
        if not 0 <= epsilon <= 1:
            raise ValueError(
                f"epsilon is a radius in units of pixels from 0 (black) to 1 (white), found {epsilon:g}: for 8 of 255 "
                "grey levels write 0.0314"
            )
        return epsilon

    @field_validator("grad_align")
    @classmethod
    def _check_alignment(cls, weight: float | Literal["published"]) -> float | Literal["published"]:
        if weight != "published" and not weight >= 0:
            raise ValueError(f"grad_align is a weight of at least 0, or 'published'; found {weight}")
        return weight

    @model_validator(mode="after")
    def _refuse_settings_without_effect(self) -> Self:
        if self.steps is not None and self.attack != "pgd":
            raise ValueError(f"steps has no effect with attack '{self.attack}', which makes one: use attack 'pgd'")
        if self.replays is not None and self.attack != "free":
            raise ValueError(f"replays has no effect with attack '{self.attack}': use attack 'free'")
        if self.noise_ratio is not None and self.attack != "n_fgsm":
            raise ValueError(f"noise_ratio has no effect with attack '{self.attack}': use attack 'n_fgsm'")
        if self.mask_mode == "grid" and self.mask_ratio != 0.5:
            raise ValueError(f"a grid hides half of the pixels: set mask_ratio to 0.5, found {self.mask_ratio}")
        if self.mask_seed and self.mask_mode != "fixed":
            raise ValueError(f"mask_seed has no effect with mask_mode '{self.mask_mode}': use mask_mode 'fixed'")
        return self

    @model_validator(mode="after")
    def _refuse_settings_of_what_is_off(self) -> Self:
        idle: dict[str, tuple[str, ...]] = {
            "mask_ratio 0": () if self.mask_ratio else ("mask_mode", "mask_px", "mask_value", "perturb_masked"),
            "first_layer_penalty 0": () if self.first_layer_penalty else ("first_layer_norm",),
            "evaluation_steps 0": () if self.evaluation_steps else ("evaluation_restarts",),
            "attack 'free'": ("ties",) if self.attack == "free" and not self.grad_align else (),
        }
        for cause, names in idle.items():
            for name in names:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} has no effect with {cause}: leave it out")
        return self

    @property
    def passes(self) -> int:
        """As many as ``free`` repeats each batch; else one."""
        return (self.replays or _REPLAYS) if self.attack == "free" else 1

    @property
    def step(self) -> float:
        """The length of a training step, in units of pixels."""
        ratio = _STEP_RATIOS[self.attack] if self.step_ratio is None else self.step_ratio
        return ratio * self.epsilon

    @property
    def noise(self) -> float:
        """The radius of the random start, in units of pixels; 0 where training starts from the image."""
        if self.attack == "n_fgsm":
            return (2.0 if self.noise_ratio is None else self.noise_ratio) * self.epsilon
        return self.epsilon if self.attack == "fgsm_rs" else 0.0
