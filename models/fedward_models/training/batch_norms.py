"""A batch norm that has one value to form a mean and a variance of."""

from collections.abc import Iterator
from contextlib import contextmanager

from fedward_core.errors import DataError


@contextmanager
def told_of_single_values(num_images: int) -> Iterator[None]:
    """Tell what is to be done where a batch norm finds one value for each channel, which torch refuses.

    Args:
        num_images: Of the batch.

    Raises:
        DataError: It did, e.g. for one image whose last map has one place.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            f"a batch norm forms a mean and a variance over images and places, and found one value in a batch of "
            f"{num_images}: raise local.batch_size, leave out sites with one training image, or choose larger images"
        ) from error
