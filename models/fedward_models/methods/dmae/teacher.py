"""The teacher of DMAE: the lower part of a vision transformer, run only as far as it is aligned.

    images -> patches -> visible patches -> block 0 .. block <last tap>        what lies above is never built

Differs: the released code runs the whole teacher and its decoder, and uses neither; the results are the same.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedward_core.arrays import Array
from fedward_core.errors import CheckpointError, SpecError
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.frozen import read_frozen
from fedward_models.layers.frozen_module import FrozenModule, network_of
from fedward_models.layers.masking import Mask
from fedward_models.layers.taps import tapped
from fedward_models.methods.dmae.config import TeacherConfig
from fedward_models.methods.dmae.teacher_weights import fitting, is_whole, mae_names
from fedward_models.towers.image_file import check_heads


class Teacher(nn.Module):
    """A truncated, frozen vision transformer.

    Weights from a file stay outside the state. Those of the previous stage are part of it, so that sites receive them
    once; :meth:`adopt` fills them in.

    Args:
        config: Its form.
        taps: The blocks whose outputs are aligned.
        student: Gives the patches.
        channels: Of the study's images.

    Raises:
        SpecError: A tap is no block of the teacher.
        CheckpointError: The file is missing, is another, or holds another network.
    """

    def __init__(self, config: TeacherConfig, *, taps: tuple[int, ...], student: ViT, channels: int) -> None:
        super().__init__()
        if not all(0 <= tap < config.depth for tap in taps):
            raise SpecError(f"taps name blocks {list(taps)} of a teacher with {config.depth} blocks, counted from 0")
        self.taps = taps
        network = _truncated(config, num_blocks=max(taps) + 1, student=student, channels=channels)
        if config.weights:
            stored = read_frozen(config.weights)
            arrays = fitting(stored, channels=channels, side=student.side)
            check_heads(network, stored, name=config.weights.name)
            _check_depth(arrays, whole=is_whole(stored), depth=config.depth, name=config.weights.name)
            _load(network, arrays, name=config.weights.name)
            self.held: nn.Module = FrozenModule(network)
        else:
            self.held = network.requires_grad_(False)

    @property
    def network(self) -> ViT:
        """The truncated network."""
        network = network_of(self.held)
        assert isinstance(network, ViT)
        return network

    @torch.no_grad()
    def forward(self, images: Tensor, mask: Mask) -> list[Tensor]:
        """The tapped tokens of the visible patches, class token first: one (B, 1+K, D) for each tap, float32.

        Args:
            images: (B, C, H, W), float, standardised.
            mask: Which patches are visible; the student sees the same.
        """
        network = self.network
        with tapped(network.blocks, self.taps) as outputs:
            network.encode(mask.keep(network.embed(images)))
        return [outputs[tap].float() for tap in self.taps]

    def adopt(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Take the weights from the previous stage's backbone.

        Returns:
            The names that were filled in, relative to this module.

        Raises:
            CheckpointError: An entry is missing or has another shape.
        """
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
        _load(self.network, mae_names(arrays), name="the previous stage")
        return tuple(self.state_dict())


def _truncated(config: TeacherConfig, *, num_blocks: int, student: ViT, channels: int) -> ViT:
    form = ViTConfig(
        width=config.width,
        depth=num_blocks,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        patch_px=student.config.patch_px,
    )
    network = form.build(image_px=student.image_px, channels=channels)
    assert isinstance(network, ViT)
    network.become_encoder()
    return network


def _check_depth(arrays: Mapping[str, Array], *, whole: bool, depth: int, name: str) -> None:
    """Three quarters of another depth would be another block, whose shapes fit as well."""
    named = (re.match(r"blocks\.(\d+)\.", entry) for entry in arrays)
    blocks = [int(block[1]) for block in named if block]
    found = 1 + max(blocks, default=-1)
    if found > depth or (whole and found < depth):
        raise CheckpointError(
            f"the weights of '{name}' have {found} blocks, {'more' if found > depth else 'fewer'} than teacher.depth, "
            f"which is {depth}: set it to the depth of the whole network"
        )


def _load(network: ViT, arrays: Mapping[str, Array], *, name: str) -> None:
    """Copy every entry of the network; what is left over, e.g. a decoder or upper blocks, is not needed."""
    for entry, tensor in network.state_dict().items():
        found = arrays[entry].shape if entry in arrays else None
        if found != tuple(tensor.shape):
            raise CheckpointError(
                f"the weights of '{name}' do not fit the teacher: expected '{entry}' of shape {tuple(tensor.shape)}, "
                f"found {found or 'nothing'}. Set teacher.width, depth and heads, patch_px and image_px to theirs, or "
                "name the weights of a masked autoencoder of this form"
            )
        with torch.no_grad():
            tensor.copy_(torch.tensor(arrays[entry]))
