"""Weights of an image tower from a file: Fedward's own, CLIP's, or those of timm and torchvision."""

from collections.abc import Mapping

from fedward_core.arrays import Array
from fedward_core.errors import CheckpointError
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.clip_vit.clip_vit import CLIPViT
from fedward_models.backbones.transformer_config import TransformerConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.towers.clip_image import image_entries, is_clip
from fedward_models.towers.features import Features
from fedward_models.weights import load_arrays

_BACKBONE = "backbone."
_WIDEST_HEAD = 104  # ViT-bigG of open_clip; the default of three heads is wider at every published width but 192
_CLASSIFIERS = ("head.", "fc.")  # of timm's transformers, and of torchvision's and timm's residual networks


def load_backbone(backbone: Backbone, arrays: Mapping[str, Array], *, name: str) -> None:
    """Fill a backbone from a file: a published tower, a backbone, or a whole stage of Fedward with a backbone in it.

    Kernels of colour images are summed over their channels where the study's images are grey, which gives what three
    equal channels would.

    Args:
        backbone: What is filled.
        arrays: The file.
        name: Its name, for messages.

    Raises:
        CheckpointError: The file holds another network, or a published transformer and the backbone has too few heads.
    """
    check_heads(backbone, arrays, name=name)
    own = backbone.state_dict()
    entries = {key: _grey(array, own[key].shape) if key in own else array for key, array in _entries(backbone, arrays)}
    try:
        load_arrays(backbone, entries)
    except CheckpointError as error:
        raise CheckpointError(
            f"the frozen weights '{name}' do not fit the stage's backbone: {error}. Give the backbone the form of the "
            "network in the file, with dataset.image_px of its images, or name another file"
        ) from error


def features_of_classifier(backbone: Backbone, arrays: Mapping[str, Array]) -> Features:
    """What the classifier of a file was trained on.

    timm's transformers norm all tokens by ``norm`` where the classifier reads the class token, and the mean of the
    patch tokens by ``fc_norm`` where it reads that.
    """
    timm = isinstance(backbone, ViT) and not _is_of_fedward(arrays)
    return "class_token" if timm and "norm.weight" in arrays else "pooled"


def check_heads(backbone: Backbone, arrays: Mapping[str, Array], *, name: str) -> None:
    """Make sure that the heads of a published transformer were thought of.

    A file does not tell them, and another number that divides the width gives other features. Those of a stage of
    Fedward are as its spec set them.

    Args:
        backbone: What is filled.
        arrays: The file.
        name: Its name, for messages.

    Raises:
        CheckpointError: There are fewer than any published transformer of this width has.
    """
    config = getattr(backbone, "config", None)
    if _is_of_fedward(arrays) or not isinstance(config, TransformerConfig):
        return
    if (channels := config.width // config.heads) > _WIDEST_HEAD:
        raise CheckpointError(
            f"{config.heads} heads of {channels} channels are not those of '{name}', as no published "
            f"transformer has more than {_WIDEST_HEAD} to a head: set heads to the file's, mostly width / 64"
        )


def _is_of_fedward(arrays: Mapping[str, Array]) -> bool:
    return any(name.startswith(_BACKBONE) for name in arrays)


def _entries(backbone: Backbone, arrays: Mapping[str, Array]) -> list[tuple[str, Array]]:
    if isinstance(backbone, CLIPViT) and is_clip(arrays):
        return list(image_entries(arrays).items())
    if _is_of_fedward(arrays):
        return [(name.removeprefix(_BACKBONE), a) for name, a in arrays.items() if name.startswith(_BACKBONE)]
    return [(_our_name(backbone, name), a) for name, a in arrays.items() if not name.startswith(_CLASSIFIERS)]


def _our_name(backbone: Backbone, name: str) -> str:
    """Class and patch tokens are normed by ``norm`` in timm, which is ``fc_norm`` here."""
    return f"fc_{name}" if isinstance(backbone, ViT) and name.startswith("norm.") else name


def _grey(array: Array, shape: tuple[int, ...]) -> Array:
    grey = array.ndim == 4 and array.shape[1] == 3 and shape[1:2] == (1,)
    return array.sum(axis=1, keepdims=True) if grey else array
