"""Masked autoencoding: most patches are hidden, and the network paints them from the rest.

Papers: K. He, X. Chen, S. Xie, Y. Li, P. Dollar, R. Girshick, "Masked Autoencoders Are Scalable Vision Learners", CVPR
2022, https://arxiv.org/abs/2111.06377; federated as in R. Yan, L. Qu, Q. Wei et al., "Label-Efficient Self-Supervised
Federated Learning for Tackling Data Heterogeneity in Medical Imaging" (SSL-FL), IEEE TMI 2023,
https://arxiv.org/abs/2205.08576.

Faithful to SSL-FL (rui-yan/SSL-FL, commit 69c3388, code/fed_mae/models_mae.py): fixed sine positions are added before
masking, the encoder sees visible patches and a class token, the loss reads hidden patches only, and the decoder is
averaged too.
Differs: visible patches are counted in exact arithmetic, and the decoder's constant table of positions does not travel.

Letters: B batch, C channel, H height, W width, N patches, K visible patches, E embedding, V values of a patch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.vit.vit import ViT
from fedward_models.batch import Batch
from fedward_models.data.batches.views import with_view
from fedward_models.inheritance import Inheritance, take_over
from fedward_models.layers.masking import Mask, some_visible
from fedward_models.layers.patch_decoder import PatchDecoder
from fedward_models.layers.patches import patchify, unpatchify
from fedward_models.layers.transformer import layer_norm
from fedward_models.losses.patch_reconstruction import (
    check_normed,
    normed_patches,
    patch_reconstruction,
    patch_statistics,
)
from fedward_models.method import Method
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.step import Clock, StepOutput


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Pictures of what the network paints, each (B, C, H, W) and standardised as the images were.

    Attributes:
        masked: The images with zeros in place of hidden patches.
        painted: The images with predictions in place of hidden patches.
        original: The images.
    """

    masked: Tensor
    painted: Tensor
    original: Tensor


class MAE(Method):
    """A masked autoencoder.

    Attributes:
        config: Its settings.
        num_visible: K.

    Raises:
        SpecError: The backbone is no vision transformer, the ratio hides no patch or all, or patches of one value are
            to be normed.
    """

    backbone: ViT

    def __init__(self, config: MAEConfig, *, backbone: Backbone, contract: Contract) -> None:
        super().__init__()
        if not isinstance(backbone, ViT):
            raise SpecError(
                "mae hides patches, which only a vision transformer can leave out: choose the backbone 'vit'"
            )
        backbone.become_encoder()
        self.config, self.backbone = config, backbone
        num_values = backbone.config.patch_px**2 * contract.channels
        if config.norm_pixels:
            check_normed(num_values)
        self.num_visible = some_visible(backbone.num_patches, mask_ratio=config.mask_ratio)
        self.norm = layer_norm(backbone.num_features)
        self.decoder = PatchDecoder(
            encoder_width=backbone.num_features,
            width=config.decoder_width,
            depth=config.decoder_depth,
            heads=config.decoder_heads,
            side=backbone.side,
            num_values=num_values,
        )

    def prepare(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw a view of each image, if the settings say so, and then what is hidden of it."""
        return self.hide(with_view(batch, self.config.view, rng), rng)

    def hide(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Draw ``noise``, (B, N) uniform numbers: each image hides the patches with the greatest."""
        noise = torch.rand(len(batch), self.backbone.num_patches, generator=rng)
        return replace(batch, drawn={**batch.drawn, "noise": noise.to(batch.images.device)})

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:  # noqa: ARG002 - the signature of the family
        """The mean squared error of hidden patches (SSL-FL, Sec. 3)."""
        return StepOutput(loss=self.evaluation_loss(batch).mean())

    def evaluation_loss(self, batch: Batch) -> Tensor:
        """The mean squared error of each image's hidden patches, (B,)."""
        mask = self.mask(batch)
        return patch_reconstruction(self.paint(batch.images, mask), self.target(batch.images), mask.hidden)

    def predict(self, images: Tensor) -> Tensor:
        """The reconstruction loss of each image, (B,), under masks that are the same at every call."""
        batch = self.hide(Batch(images=images), torch.Generator().manual_seed(0))
        return self.evaluation_loss(batch)

    def reconstruct(self, images: Tensor, rng: torch.Generator) -> Reconstruction:
        """Hide patches and paint them, for pictures.

        Predictions of normed patches get the mean and deviation of the true patch back, as nothing else knows them.

        Args:
            images: (B, C, H, W), float, standardised.
            rng: A CPU generator for the masks.
        """
        mask = self.mask(self.hide(Batch(images=images), rng))
        true, painted = self._patches(images), self.paint(images, mask)
        if self.config.norm_pixels:
            mean, deviation = patch_statistics(true)
            painted = painted * deviation + mean
        hidden = mask.hidden.unsqueeze(-1)
        return Reconstruction(
            masked=self._images(true.masked_fill(hidden, 0)),
            painted=self._images(painted.where(hidden, true)),
            original=images,
        )

    def mask(self, batch: Batch) -> Mask:
        """The mask that a prepared batch drew."""
        return Mask.of(batch.drawn["noise"], num_visible=self.num_visible)

    def encode(self, images: Tensor, mask: Mask) -> Tensor:
        """Normed tokens of the visible patches, class token first: (B, 1+K, E)."""
        tokens: Tensor = self.norm(self.backbone.encode(mask.keep(self.backbone.embed(images))))
        return tokens

    def paint(self, images: Tensor, mask: Mask) -> Tensor:
        """Predictions for all patches from the visible ones: (B, N, V)."""
        patches: Tensor = self.decoder(self.encode(images, mask), mask)
        return patches

    def target(self, images: Tensor) -> Tensor:
        """What predictions are compared with: (B, N, V) pixels, or pixels without their patch's mean and deviation."""
        patches = self._patches(images)
        return normed_patches(patches) if self.config.norm_pixels else patches

    def inherit(self, state: Mapping[str, Tensor], source: Method) -> Inheritance:
        """Take everything over from another MAE stage.

        Raises:
            SpecError: The previous stage is no MAE stage.
            CheckpointError: An entry is missing or has another shape.
        """
        if not isinstance(source, MAE):
            raise SpecError(
                f"mae can only go on from a stage of mae, found {type(source).__name__}: use start_from: scratch, or "
                "put the mae stage first"
            )
        taken = take_over(self, state, self.state_dict())
        return Inheritance.of(self, state, taken=taken)

    def _patches(self, images: Tensor) -> Tensor:
        return patchify(images, patch_px=self.backbone.config.patch_px)

    def _images(self, patches: Tensor) -> Tensor:
        return unpatchify(patches, patch_px=self.backbone.config.patch_px, image_px=self.backbone.image_px)
