"""A finished model as a network of its own: standardised images in, probabilities out, and nothing of Fedward around.

Letters: B batch, C channel, H height, W width, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fedward_core.arrays import Array
from fedward_core.errors import CheckpointError, SpecError
from fedward_models.inference.finished_model import FinishedModel
from fedward_models.method import Method

INPUT, OUTPUT = "images", "probabilities"
TOLERANCE = 1e-5  # probabilities; what another runtime may differ by
LARGEST_BATCH = 4096  # a graph has to name a largest batch


class Network(nn.Module):
    """What a method predicts.

    Args:
        method: The method, in evaluation mode.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W), float, standardised, to (B, K) probabilities, or (B, K, H, W) for segmentation."""
        return self.method.predict(images)


def traced(model: FinishedModel) -> ExportedProgram:
    """The graph of a model, for any number of images.

    Raises:
        SpecError: It names no classes, it reads no standardised images, or it is no graph: it decides by the values of
            images, or fixes their number.
    """
    model.check_classes()
    if model.method.standardises:
        raise SpecError(
            f"'{model.stage.method.name}' standardises pixels itself, which a graph of standardised images would hide: "
            "take it home as safetensors"
        )
    example = (examples(model, 3),)
    try:
        with torch.no_grad(), _plain_attention(model.method):
            # At 1 the number of images would be taken for a constant.
            return torch.export.export(
                Network(model.method).eval(), example, dynamic_shapes=({0: Dim("batch", min=1, max=LARGEST_BATCH)},)
            )
    except Exception as error:  # the network of a library or of a package, run on stand-ins, may stumble in any way
        backbone = model.spec.backbone_of(model.index)
        raise SpecError(
            f"'{model.stage.method.name}' with backbone '{backbone.name if backbone else 'none'}' cannot be written "
            "as a graph for any number of images: take it home as safetensors"
        ) from error


@contextmanager
def _plain_attention(method: Method) -> Iterator[None]:
    """Have timm's attention computed step by step.

    The fused kernel gives its result in a layout of its own, which is not that of the steps that stand for it in ONNX.
    """
    fused = [module for module in method.modules() if getattr(module, "fused_attn", False)]
    for module in fused:
        vars(module)["fused_attn"] = False
    try:
        yield
    finally:
        for module in fused:
            vars(module)["fused_attn"] = True


def examples(model: FinishedModel, count: int) -> Tensor:
    """Standardised images to try a model with, the same at every call: (count, C, H, W)."""
    return torch.randn(count, *model.input_shape, generator=torch.Generator().manual_seed(0))


def check_equal(ours: Tensor, theirs: Array, *, where: str) -> float:
    """Compare what two runtimes make of the same images.

    Args:
        ours: What the model predicts.
        theirs: What the exported one predicts.
        where: The other runtime, for the message.

    Returns:
        The largest difference.

    Raises:
        CheckpointError: They differ by more than :data:`TOLERANCE`.
    """
    difference = float(np.abs(ours.detach().numpy() - theirs).max())
    if not difference <= TOLERANCE:  # NaN is no agreement either
        raise CheckpointError(
            f"the exported model differs by {difference:.1e} from the trained one in {where}, expected at most "
            f"{TOLERANCE:.0e}: nothing was exported"
        )
    return difference
