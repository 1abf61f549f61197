"""Where masks are: boxes around their connected parts, and how well predicted ones agree with true ones.

Where only boxes are drawn, as in the pneumonia challenge of the RSNA (2018), they can be filled as masks; connected
parts of a mask then give boxes back, of which those that touch become one.

Differs: MGCA trains a detector of boxes (YOLOv3's head), and leaves out images without predictions or without boxes.
Here the boxes are those of a segmentation, and every image counts, as in that challenge's own measure.

Letters: H height, W width.
"""

import numpy as np
import torch
from scipy import ndimage
from torchvision.ops import box_iou

from fedward_core.arrays import Array

OVERLAPS = tuple(np.arange(0.4, 0.76, 0.05).tolist())
"""Thresholds of the overlap from which a box is found: 0.4 to 0.75 in steps of 0.05 (RSNA challenge, and MGCA)."""


def boxes_of(mask: Array, confidence: Array | None = None) -> Array:
    """Boxes around the connected parts of a mask, corners included, the surest first.

    Args:
        mask: (H, W), bool.
        confidence: (H, W), how sure each pixel is; the mean within a part orders them.

    Returns:
        (n, 4) float: left, top, right, bottom; right and bottom lie behind the last pixel.
    """
    parts, count = ndimage.label(mask)
    if not count:
        return np.zeros((0, 4))
    boxes = np.array([[c.start, r.start, c.stop, r.stop] for r, c in ndimage.find_objects(parts)], dtype=np.float64)
    if confidence is None:
        return boxes
    sureness = np.asarray(ndimage.mean(confidence, parts, np.arange(1, count + 1)))
    return boxes[np.argsort(-sureness, kind="stable")]


def box_precision(predicted: Array, true: Array) -> float:
    """Found boxes over found, missed and wrong ones, the mean over :data:`OVERLAPS`.

    Args:
        predicted: (n, 4), the surest first.
        true: (m, 4).

    Returns:
        From 0 to 1; 1 where there are neither.
    """
    if not len(predicted) and not len(true):
        return 1.0
    overlaps = box_iou(torch.from_numpy(predicted), torch.from_numpy(true)).numpy()
    found = [_found(overlaps, threshold) for threshold in OVERLAPS]
    return float(np.mean([count / (len(predicted) + len(true) - count) for count in found]))


def _found(overlaps: Array, threshold: float) -> int:
    """How many predictions, one after the other, reach a true box that none before has taken."""
    free = np.ones(overlaps.shape[1], dtype=bool)
    for row in overlaps:
        open_ = np.where(free, row, -1.0)
        if free.any() and open_.max() > threshold:
            free[open_.argmax()] = False
    return int((~free).sum())
