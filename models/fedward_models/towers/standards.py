"""What published towers had their pixels standardised by, channel by channel.

Letters: B batch, C channel (3), H height, W width.
"""

from torch import Tensor

from fedward_core.errors import SpecError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.clip_vit.clip_vit import CHANNELS, CLIPViT

STANDARDS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation of the three channels: of CLIP (Radford et al., ICML 2021), and the usual ones of ImageNet."""


def standardised(pixels: Tensor, standard: str) -> Tensor:
    """Pixels as a published tower expects them.

    Args:
        pixels: (B, 3, H, W) or (B, 1, H, W), from 0 to 1; grey ones become three equal channels first.
        standard: A name in :data:`STANDARDS`.

    Returns:
        (B, 3, H, W).
    """
    mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in STANDARDS[standard])
    return (pixels - mean) / std


def standard_note(standard: str) -> str:
    """What a plan, and so the files of a run, tell of a standard that is not the site's."""
    return f"pixels are standardised by '{standard}'"


def standard_of(setting: str | None, backbone: Backbone, *, channels: int) -> str:
    """What a frozen network's pixels are standardised by: a name in :data:`STANDARDS`, or ``site``.

    Args:
        setting: What the spec says; None for ``clip`` with CLIP's tower, else ``site``.
        backbone: The network.
        channels: Of the study's images.

    Raises:
        SpecError: A standard of colours for a network of grey images.
    """
    clip = isinstance(backbone, CLIPViT)
    standard = setting or ("clip" if clip else "site")
    if standard != "site" and not clip and channels != CHANNELS:
        raise SpecError(f"normalisation '{standard}' is for colour images: set it to site, or leave it out")
    return standard
