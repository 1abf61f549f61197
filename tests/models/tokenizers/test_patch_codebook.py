"""The substitute tokenizer: the same everywhere, of generated images, and nearest means nearest."""

import numpy as np
import pytest
import torch

from fedward_core.errors import CheckpointError
from fedward_models.batch import Batch
from fedward_models.tokenizers.config import PatchCodebookConfig
from fedward_models.tokenizers.generated_images import generate_images
from fedward_models.tokenizers.patch_codebook import PatchCodebook, codebook_digest, train_codebook

# Exact arithmetic on every machine: another digest means another tokenizer, and needs a line in the changelog.
GREY_OF_256 = "0134a0fc2decc0f1e935defcc831019ef0a03d3c758250af1b0e6d079557bd16"


def build(vocabulary: int = 16, side: int = 4, channels: int = 3, sha256: str | None = None) -> PatchCodebook:
    config = PatchCodebookConfig(vocabulary=vocabulary, sha256=sha256)
    tokenizer = config.build(side=side, channels=channels)
    assert isinstance(tokenizer, PatchCodebook)
    return tokenizer


def test_training_is_exact_and_repeatable() -> None:
    again = train_codebook.__wrapped__(256, 1)
    assert (again == train_codebook(256, 1)).all()
    assert codebook_digest(again) == GREY_OF_256


def test_entries_are_distinct_levels_and_fewer_of_them_are_farther_from_cells() -> None:
    few, many = train_codebook(8, 1), train_codebook(64, 1)
    assert len(np.unique(many, axis=0)) == 64
    assert 0 <= many.min() < many.max() <= 255
    images = generate_images(4, px=32, channels=1, rng=np.random.default_rng(1))
    cells = images.reshape(4, 8, 4, 8, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 16)

    def mean_distance(entries: np.ndarray) -> float:
        return float(((cells[:, None] - entries) ** 2).sum(axis=2).min(axis=1).mean())

    assert mean_distance(many) < 0.8 * mean_distance(few)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_token_is_the_nearest_entry(channels: int) -> None:
    tokenizer = build(channels=channels)
    images = torch.randn(2, channels, 32, 32)
    tokens = tokenizer(Batch(images=images))
    assert tokens.shape == (2, 16)
    levels = (images * 51 + 128).clamp(0, 255)
    entries = torch.from_numpy(train_codebook(16, channels)).float()
    for image, patch in ((0, 0), (0, 7), (1, 15)):
        row, column = divmod(patch, 4)
        block = levels[image, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        cell = block.reshape(channels, 4, 2, 4, 2).mean(dim=(2, 4)).permute(1, 2, 0).flatten()
        assert int(tokens[image, patch]) == int((entries - cell).square().sum(dim=1).argmin())


def test_generated_images_are_standardised_and_fill_the_range() -> None:
    images = generate_images(8, px=64, channels=3, rng=np.random.default_rng(0))
    assert images.dtype == np.int64
    assert images.mean() == pytest.approx(128, abs=2)
    assert images.std() == pytest.approx(51, abs=4)


def test_it_has_no_parameters_and_no_entry_in_a_state() -> None:
    tokenizer = build()
    assert not list(tokenizer.parameters())
    assert not tokenizer.state_dict()


def test_its_note_says_that_it_is_a_substitute_and_names_its_digest() -> None:
    tokenizer = build()
    assert "a substitute for the published one" in tokenizer.note
    assert tokenizer.digest in tokenizer.note


def test_the_digest_that_a_spec_names_is_checked() -> None:
    digest = build().digest
    assert build(sha256=digest).digest == digest
    with pytest.raises(CheckpointError, match=f"expected sha256 {'0' * 64}, found {digest}"):
        build(sha256="0" * 64)
