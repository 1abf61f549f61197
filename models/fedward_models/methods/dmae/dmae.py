"""Distilling a masked autoencoder: a small student paints hidden patches and imitates a large teacher's tokens.

                      +-> teacher, blocks 0 .. 3/4 depth -------------------------> tokens --+
    images -> mask ---+                                                                      +-- alignment
                      +-> student, blocks 0 .. 3/4 depth --+--> projection ------> tokens --+
                                                           +--> other blocks --> decoder ------- pixels

Paper: Y. Bai, Z. Wang, J. Xiao, C. Wei, H. Wang, A. Yuille, Y. Zhou, C. Xie, "Masked Autoencoders Enable Efficient
Knowledge Distillers" (DMAE), CVPR 2023, https://arxiv.org/abs/2208.12256.

Faithful to the released code (UCSC-VLAA/DMAE, commit a0f4959, models_mae_distill.py, engine_distill.py): teacher and
student see the same visible patches; one pair of residual streams at three quarters of both depths, class token
included, without a norm of their own; a linear map to the teacher's width; tokens of length 1 compared by their mean
absolute difference; both losses with weight 1.
Differs: the teacher stops at its last aligned block; a teacher that does not fit is refused, where the released code
loads what it finds; the two-layer projection works; raw features without a projection are no option.

Letters: B batch, C channel, H height, W width, N patches, K visible patches, E the student's width, D the teacher's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor, nn

from fedward_core.arrays import digest
from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.partition import Role, Rule
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.batch import Batch
from fedward_models.data.batches.views import with_view
from fedward_models.inheritance import Inheritance, take_over
from fedward_models.layers.masking import Mask, some_visible
from fedward_models.layers.patch_decoder import PatchDecoder
from fedward_models.layers.patches import patchify
from fedward_models.layers.taps import tapped
from fedward_models.layers.transformer import layer_norm
from fedward_models.losses.feature_alignment import feature_alignment
from fedward_models.losses.patch_reconstruction import check_normed, normed_patches, patch_reconstruction
from fedward_models.method import Method
from fedward_models.methods.dmae.config import DMAEConfig, TeacherConfig
from fedward_models.methods.dmae.teacher import Teacher
from fedward_models.step import Clock, StepOutput
from fedward_models.weights import arrays_of

# What a masked autoencoder's stage has trained, and this one trains too.
_AUTOENCODER = ("backbone.", "norm.", "decoder.")


@dataclass(frozen=True, kw_only=True)
class StudentPass:
    """What the student makes of the visible patches.

    Attributes:
        painted: (B, N, V) predictions of all patches.
        projected: The tapped tokens at the teacher's width, one (B, 1+K, D) for each pair.
    """

    painted: Tensor
    projected: list[Tensor]


class DMAE(Method):
    """A student masked autoencoder with its frozen teacher.

    Attributes:
        config: Its settings.
        num_visible: K.
        taps: Pairs of aligned blocks: of the student, of the teacher.
        teacher: The frozen teacher.

    Raises:
        SpecError: The backbone is no vision transformer, the ratio hides no patch or all, patches of one value are to
            be normed, or a tap is no block.
        CheckpointError: The teacher's weights are missing or do not fit.
    """

    backbone: ViT

    def __init__(self, config: DMAEConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        if not isinstance(backbone, ViT):
            raise SpecError(
                "dmae hides patches, which only a vision transformer can leave out: choose the backbone 'vit'"
            )
        backbone.become_encoder()
        self.config, self.backbone = config, backbone
        num_values = backbone.config.patch_px**2 * contract.channels
        if config.norm_pixels:
            check_normed(num_values)
        self.num_visible = some_visible(
            backbone.num_patches, mask_ratio=config.mask_ratio, nearest=config.visible_count == "round"
        )
        self.taps = _checked_taps(config, depth=backbone.config.depth)
        self.norm = layer_norm(backbone.num_features)
        self.decoder = PatchDecoder(
            encoder_width=backbone.num_features,
            width=config.decoder_width,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
            side=backbone.side,
            num_values=num_values,
        )
        self.projections = nn.ModuleList(
            _projection(config, width=backbone.num_features) for _ in range(len(self.taps))
        )
        self.teacher = Teacher(
            config.teacher, taps=tuple(pair[1] for pair in self.taps), student=backbone, channels=contract.channels
        )

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw a view of each image, if the settings say so, and then what is hidden of it."""
        return self.hide(with_view(batch, self.config.view, rng), rng)

    def hide(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw ``noise``, (B, N) uniform numbers: each image hides the patches with the greatest."""
        noise = torch.rand(len(batch), self.backbone.num_patches, generator=rng)
        return replace(batch, drawn={**batch.drawn, "noise": noise.to(batch.images.device)})

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """Pixels of hidden patches and alignment of visible ones; both are also reported."""
        pixels, alignment = (losses.mean() for losses in self._losses(batch))
        figures = {"pixel_loss": pixels.detach(), "alignment_loss": alignment.detach()}
        return StepOutput(loss=pixels + self.config.alignment_weight * alignment, figures=figures)

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The whole loss of each image, (B,)."""
        pixels, alignment = self._losses(batch)
        return pixels + self.config.alignment_weight * alignment

    def predict(self, images: Tensor) -> Tensor:
        """The whole loss of each image, (B,), under masks that are the same at every call."""
        return self.evaluation_loss(self.hide(Batch(images=images), torch.Generator().manual_seed(0)))

    def mask(self, batch: Batch) -> Mask:
        """The mask that a prepared batch drew, for teacher and student."""
        return Mask.of(batch.drawn["noise"], num_visible=self.num_visible)

    def student_pass(self, images: Tensor, mask: Mask) -> StudentPass:
        """Run the student once, for pixels and for alignment.

        Args:
            images: (B, C, H, W), float, standardised.
            mask: Which patches are visible.
        """
        indices = [pair[0] for pair in self.taps]
        with tapped(self.backbone.blocks, indices) as outputs:
            tokens = self.norm(self.backbone.encode(mask.keep(self.backbone.embed(images))))
        projected = [project(outputs[index]) for project, index in zip(self.projections, indices, strict=True)]
        return StudentPass(painted=self.decoder(tokens, mask), projected=projected)

    def target(self, images: Tensor) -> Tensor:
        """What predictions are compared with: (B, N, V) pixels, or pixels without their patch's mean and deviation."""
        patches = patchify(images, patch_px=self.backbone.config.patch_px)
        return normed_patches(patches) if self.config.norm_pixels else patches

    def rules(self) -> tuple[Rule, ...]:
        """Student, decoder and projections travel; teacher and fixed positions are sent down once and never back."""
        constant = Rule(pattern=r"teacher\..*|backbone\.pos_embed", role=Role.PRIVATE)
        return (constant, Rule(pattern=r".*", role=Role.SHARED))

    @property
    def notes(self) -> tuple[str, ...]:
        """Which teacher it is, by digest."""
        if weights := self.config.teacher.weights:
            return (weights.note("teacher"),)
        return (f"teacher: the previous stage's network, digest {digest(arrays_of(self.teacher.network))}",)

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Make the stage before the teacher; where a file holds the teacher, go on training that stage's network.

        A previous stage of ``dmae`` is taken over whole.

        Raises:
            SpecError: The previous stage trains no vision transformer, or another one than the teacher is said to be.
            CheckpointError: An entry is missing or has another shape.
        """
        if isinstance(source, DMAE):
            if self.config.needs_previous:
                _check_form(self.config.teacher, source.config.teacher)
            return Inheritance.of(self, state, taken=take_over(self, state, self.state_dict()))
        if not isinstance(source.backbone, ViT):
            raise SpecError("dmae can only go on from a stage with the backbone 'vit': put a stage of mae first")
        if self.config.needs_previous:
            _check_form(self.config.teacher, source.backbone.config)
            cloned = tuple(f"teacher.{name}" for name in self.teacher.adopt(state))
            return Inheritance.of(self, state, cloned=cloned)
        names = (name for name in self.state_dict() if name.startswith(_AUTOENCODER) and _root(name) in _roots(state))
        return Inheritance.of(self, state, taken=take_over(self, state, names))

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pixel loss and alignment, summed over pairs, of each image: (B,) and (B,)."""
        mask = self.mask(batch)
        student, wanted = self.student_pass(batch.images, mask), self.teacher(batch.images, mask)
        pixels = patch_reconstruction(student.painted, self.target(batch.images), mask.hidden)
        distances = [
            feature_alignment(ours, theirs, distance=self.config.alignment)
            for ours, theirs in zip(student.projected, wanted, strict=True)
        ]
        return pixels, torch.stack(distances).sum(dim=0)


def three_quarters(depth: int) -> int:
    """The released choice of a block to align: ceil(3/4 depth) - 1, counted from 0."""
    return ceil(3 * depth / 4) - 1


def _projection(config: DMAEConfig, *, width: int) -> nn.Module:
    """From the student's width to the teacher's, with the framework's own initialisation as in the released code."""
    if config.projection == "linear":
        return nn.Linear(width, config.teacher.width)
    first, second = nn.Linear(width, config.teacher.width), nn.Linear(config.teacher.width, config.teacher.width)
    return nn.Sequential(first, nn.GELU(), second)


def _checked_taps(config: DMAEConfig, *, depth: int) -> tuple[tuple[int, int], ...]:
    taps = config.taps or ((three_quarters(depth), three_quarters(config.teacher.depth)),)
    if not all(0 <= pair[0] < depth for pair in taps):
        raise SpecError(
            f"taps name blocks {[pair[0] for pair in taps]} of a student with {depth} blocks, counted from 0"
        )
    return taps


def _check_form(teacher: TeacherConfig, previous: ViTConfig | TeacherConfig) -> None:
    """Shapes tell neither the heads nor, as upper blocks are left out, the depth."""
    for name in ("depth", "heads"):
        expected, found = getattr(teacher, name), getattr(previous, name)
        if expected != found:
            raise SpecError(
                f"teacher.{name} is {expected}, and the network of the previous stage has {found}: set teacher.{name} "
                f"to {found}"
            )


def _roots(state: Mapping[str, Tensor]) -> set[str]:
    return {_root(name) for name in state}


def _root(name: str) -> str:
    return name.partition(".")[0]
