"""Cutting images into patches, and back.

Letters: B batch, C channel, H height, W width, P patch size in pixels, N patches, V values of a patch (P*P*C).
"""

from torch import Tensor, nn

from fedward_core.errors import SpecError


def patchify(images: Tensor, *, patch_px: int) -> Tensor:
    """Cut images into patches, row by row.

    As in: the values of a patch are ordered row, column, channel, with the channel fastest (SSL-FL, MAE).

    Args:
        images: (B, C, H, W); H and W are multiples of ``patch_px``.
        patch_px: P.

    Returns:
        (B, N, V).
    """
    b, c, h, w = images.shape
    rows, columns = h // patch_px, w // patch_px
    pieces = images.reshape(b, c, rows, patch_px, columns, patch_px)
    return pieces.permute(0, 2, 4, 3, 5, 1).reshape(b, rows * columns, patch_px**2 * c)


def unpatchify(patches: Tensor, *, patch_px: int, image_px: int) -> Tensor:
    """The inverse of :func:`patchify` for square images.

    Args:
        patches: (B, N, V).
        patch_px: P.
        image_px: H and W.

    Returns:
        (B, C, H, W).
    """
    side = image_px // patch_px
    pieces = patches.reshape(patches.shape[0], side, side, patch_px, patch_px, -1)
    return pieces.permute(0, 5, 1, 3, 2, 4).reshape(patches.shape[0], -1, image_px, image_px)


class PatchEmbedding(nn.Module):
    """One linear map of every patch.

    Attributes:
        side: Patches along each side of the image.
        num_patches: N.

    Raises:
        SpecError: The patch does not divide the image.
    """

    def __init__(self, *, image_px: int, patch_px: int, channels: int, width: int) -> None:
        super().__init__()
        if image_px % patch_px:
            raise SpecError(
                f"images of {image_px} pixels do not divide into patches of {patch_px}: choose a patch_px that divides "
                "dataset.image_px"
            )
        self.side = image_px // patch_px
        self.num_patches = self.side**2
        self.proj = nn.Conv2d(channels, width, kernel_size=patch_px, stride=patch_px)

    def forward(self, images: Tensor) -> Tensor:
        """Embed.

        Args:
            images: (B, C, H, W), float, standardised.

        Returns:
            (B, N, E), patches row by row.
        """
        tokens: Tensor = self.proj(images)
        return tokens.flatten(2).transpose(1, 2)
