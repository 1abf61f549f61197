"""The published tokenizer: its shape, the file that it is read from, and the pixels that it accepts."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_models.batch import Batch
from fedward_models.frozen import FrozenWeights, file_digest
from fedward_models.tokenizers.config import DALLEConfig
from fedward_models.tokenizers.dalle import DALLE
from fedward_models.tokenizers.dalle_encoder import DALLEEncoder


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FrozenWeights:
    """A file with the names of the published one, of a narrow encoder with 32 tokens."""
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    return stored(tmp_path, narrow().state_dict())


def narrow() -> DALLEEncoder:
    torch.manual_seed(0)
    encoder = DALLEEncoder(width=8, vocabulary=32)
    for name, parameter in encoder.named_parameters():
        parameter.data *= 0 if name.endswith("bias") else 3  # the image decides, not a constant
    return encoder


def stored(folder: Path, state: dict[str, Tensor]) -> FrozenWeights:
    path = folder / "encoder.safetensors"
    shortened = {name.replace(".weight", ".w").replace(".bias", ".b"): tensor for name, tensor in state.items()}
    save_file(shortened, path)
    return FrozenWeights(name="encoder", sha256=file_digest(path))


def build(weights: FrozenWeights, channels: int = 3) -> DALLE:
    tokenizer = DALLEConfig(weights=weights).build(side=4, channels=channels)
    assert isinstance(tokenizer, DALLE)
    return tokenizer


def encode_slowly(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The published topology, written out (SSL-FL, Sec. 2.2)."""

    def convolve(name: str, x: Tensor) -> Tensor:
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, state[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    x = convolve("blocks.input", pixels)
    for group in (1, 2, 3, 4):
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            branch = x
            for layer in (1, 2, 3, 4):
                branch = convolve(f"{name}.res_path.conv_{layer}", branch.clamp(min=0))
            x = (convolve(f"{name}.id_path", x) if f"{name}.id_path.weight" in state else x) + branch / 64
        if group < 4:
            x = functional.max_pool2d(x, 2)
    return convolve("blocks.output.conv", x.clamp(min=0))


def test_the_published_encoder_has_the_published_sizes() -> None:
    with torch.device("meta"):
        encoder = DALLEEncoder()
        assert encoder(torch.empty(2, 3, 112, 112)).shape == (2, 8192, 14, 14)
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    assert shapes["blocks.input.weight"] == (256, 3, 7, 7)
    assert shapes["blocks.group_4.block_1.id_path.weight"] == (2048, 1024, 1, 1)
    assert shapes["blocks.group_4.block_2.res_path.conv_4.weight"] == (2048, 512, 1, 1)
    assert sum(tensor.numel() for tensor in encoder.state_dict().values()) == 53_786_240


def test_the_encoder_computes_the_published_topology() -> None:
    encoder, pixels = narrow(), torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(encoder(pixels), encode_slowly(encoder.state_dict(), pixels))


def test_a_token_is_the_likeliest_of_the_shrunk_and_squeezed_pixels(weights: FrozenWeights) -> None:
    colours = (torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    tokenizer, pixels = build(weights), functional.interpolate(colours, size=(64, 64))
    batch = Batch(images=(pixels - 0.4) / 0.2, mean=0.4, std=0.2)
    small = functional.interpolate(pixels, size=(32, 32), mode="bicubic", antialias=True).clamp(0, 1)
    logits = encode_slowly(tokenizer.encoder.network.state_dict(), 0.8 * small + 0.1)
    tokens = tokenizer(batch)
    assert tokens.shape == (2, 16)
    assert (tokens == logits.argmax(dim=1).flatten(1)).float().mean() > 0.9  # rounding may turn a near tie
    assert len(tokens.unique()) > 1


def test_grey_images_are_shown_in_three_equal_channels(weights: FrozenWeights) -> None:
    grey = torch.rand(2, 1, 32, 32)
    colour = build(weights)(Batch(images=grey.expand(-1, 3, -1, -1)))
    assert torch.equal(build(weights, channels=1)(Batch(images=grey)), colour)


def test_it_has_no_parameters_no_state_and_takes_no_gradient(weights: FrozenWeights) -> None:
    tokenizer = build(weights)
    assert not list(tokenizer.parameters())
    assert not tokenizer.state_dict()
    assert not any(parameter.requires_grad for parameter in tokenizer.encoder.network.parameters())


def test_its_note_names_the_digest(weights: FrozenWeights) -> None:
    assert weights.sha256 in build(weights).note


def test_a_wrong_checksum_is_refused(weights: FrozenWeights) -> None:
    with pytest.raises(CheckpointError, match=f"expected sha256 {'0' * 64}, found {weights.sha256}"):
        build(FrozenWeights(name="encoder", sha256="0" * 64))


@pytest.mark.parametrize("change", ["lost", "foreign", "reshaped"])
def test_a_file_of_another_network_is_refused(weights: FrozenWeights, tmp_path: Path, change: str) -> None:
    state = narrow().state_dict()
    if change == "lost":
        del state["blocks.group_2.block_1.res_path.conv_1.weight"]
    elif change == "foreign":
        state = {"decoder.weight": torch.zeros(2, 2)}
    else:
        state["blocks.group_1.block_1.res_path.conv_1.weight"] = torch.zeros(3, 3, 3, 3)
    with pytest.raises(CheckpointError, match="holds another network"):
        build(stored(tmp_path, state))


@pytest.mark.parametrize("pixels", [torch.full((1, 3, 32, 32), 255.0), torch.full((1, 3, 32, 32), -1.0)])
def test_pixels_out_of_range_are_refused(weights: FrozenWeights, pixels: Tensor) -> None:
    with pytest.raises(DataError, match="expected pixels from 0 to 1"):
        build(weights)(Batch(images=pixels))


def test_other_than_grey_and_colour_images_are_refused(weights: FrozenWeights) -> None:
    with pytest.raises(SpecError, match="found 4 channels"):
        build(weights, channels=4)
