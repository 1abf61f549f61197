"""Cutting volumes into cubes, and back.

Letters: B batch, C channel, D depth, H height, W width, N cubes, P side of a cube in voxels, V values of a cube.
"""

from torch import Tensor


def cut_cubes(volumes: Tensor, *, side_px: int) -> Tensor:
    """Cut volumes into cubes without overlap, the first axis slowest (MINiT, released code).

    Args:
        volumes: (B, C, D, H, W); D, H and W are multiples of ``side_px``.
        side_px: P.

    Returns:
        (B, N, C, P, P, P).
    """
    b, c, *sizes = volumes.shape
    d, h, w = (size // side_px for size in sizes)
    pieces = volumes.reshape(b, c, d, side_px, h, side_px, w, side_px)
    return pieces.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, d * h * w, c, side_px, side_px, side_px)


def join_cubes(cubes: Tensor) -> Tensor:
    """The inverse of :func:`cut_cubes` for volumes that are cubes themselves.

    Args:
        cubes: (B, N, C, P, P, P); N is a cube of a whole number.

    Returns:
        (B, C, D, H, W) with D = H = W.
    """
    b, n, c, side_px = cubes.shape[:4]
    along = round(n ** (1 / 3))
    pieces = cubes.reshape(b, along, along, along, c, side_px, side_px, side_px)
    return pieces.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(b, c, *(3 * (along * side_px,)))


def flat_patches(volumes: Tensor, *, patch_px: int) -> Tensor:
    """The patches of volumes as vectors, the channel fastest: (B, C, D, H, W) to (B, N, V)."""
    return cut_cubes(volumes, side_px=patch_px).movedim(2, -1).flatten(2)
