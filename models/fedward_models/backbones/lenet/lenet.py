"""LeNet as LG-FedAvg runs it: the small CNN with its kernel, its padding and no norms."""

from fedward_models.backbones.lenet.config import LeNetConfig
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.small_cnn.small_cnn import SmallCNN


def lenet(config: LeNetConfig, *, image_px: int, channels: int) -> SmallCNN:
    """Build the network.

    Args:
        config: Widths.
        image_px: Height and width of the images, at least 16.
        channels: Channels of the images.

    Raises:
        SpecError: The images are too small.
    """
    settings = SmallCNNConfig(widths=config.widths, hidden=config.hidden, kernel_px=5, padding="valid", norm="none")
    return SmallCNN(settings, image_px=image_px, channels=channels)
