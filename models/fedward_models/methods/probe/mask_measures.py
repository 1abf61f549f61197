"""What evaluation reports of predicted masks, image by image.

Letters: B batch, K classes of which the first is the background, H height, W width.
"""

import torch
from torch import Tensor

from fedward_models.methods.probe.boxes import box_precision, boxes_of


def dice_of_every_image(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Dice as MGCA counts it: nothing beside nothing is 1, anything beside nothing 0.

    The figure ``dice`` leaves such images out instead.

    Args:
        probabilities: (B, K, H, W).
        labels: (B, H, W) class numbers.

    Returns:
        (B,), the mean over all classes but the first.
    """
    predicted = probabilities.argmax(dim=1)
    dice = []
    for number in range(1, probabilities.shape[1]):
        ours, theirs = predicted == number, labels == number
        overlap, sizes = (ours & theirs).sum(dim=(1, 2)), ours.sum(dim=(1, 2)) + theirs.sum(dim=(1, 2))
        dice.append(torch.where(sizes > 0, 2 * overlap.double() / sizes.clamp(min=1), 1.0))
    return torch.stack(dice).mean(dim=0)


def box_precisions(probabilities: Tensor, labels: Tensor) -> Tensor:
    """How well boxes around all that is no background agree, image by image.

    Args:
        probabilities: (B, K, H, W).
        labels: (B, H, W) class numbers.

    Returns:
        (B,), from 0 to 1.
    """
    predicted, truth = (classes.cpu().numpy() > 0 for classes in (probabilities.argmax(dim=1), labels))
    sureness = 1 - probabilities[:, 0].cpu().numpy()
    rows = zip(predicted, sureness, truth, strict=True)
    return torch.tensor([box_precision(boxes_of(ours, sure), boxes_of(theirs)) for ours, sure, theirs in rows])
