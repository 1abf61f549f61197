"""Whose weights a teacher takes: names of three libraries, other grids, and what stopping early leaves out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch.utils.flop_counter import FlopCounterMode

from fedward_core.arrays import Array
from fedward_core.errors import CheckpointError
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.layers.masking import Mask, num_visible
from fedward_models.layers.positions import sine_positions
from fedward_models.methods.dmae.config import TeacherConfig
from fedward_models.methods.dmae.teacher import Teacher
from fedward_models.methods.dmae.teacher_weights import fitting, mae_names


def encoder(*, image_px: int = 32, width: int = 24) -> ViT:
    torch.manual_seed(5)
    network = ViTConfig(width=width, depth=2, heads=3, patch_px=8).build(image_px=image_px, channels=3)
    assert isinstance(network, ViT)
    network.become_encoder()
    return network


def arrays_of(network: ViT) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def as_transformers_names_them(arrays: dict[str, Array]) -> dict[str, Array]:
    """Written out, so that a slip in the expressions shows."""
    theirs: dict[str, Array] = {"vit.layernorm.weight": np.ones(24), "decoder.mask_token": np.ones((1, 1, 24))}
    plain = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    }
    within = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    for name, array in arrays.items():
        if name in plain:
            theirs[f"vit.{plain[name]}"] = array
            continue
        _, block, inner = name.split(".", 2)
        module, _, part = inner.rpartition(".")
        if module == "attn.qkv":
            for which, piece in zip(("query", "key", "value"), np.split(array, 3), strict=True):
                theirs[f"vit.encoder.layer.{block}.attention.attention.{which}.{part}"] = piece
        else:
            theirs[f"vit.encoder.layer.{block}.{within[module]}.{part}"] = array
    return theirs


@pytest.mark.parametrize("form", ["own", "published", "transformers", "encoder of transformers"])
def test_every_form_of_names_gives_the_same_entries(form: str) -> None:
    ours = arrays_of(encoder())
    stored = {
        "own": {f"backbone.{name}": array for name, array in ours.items()} | {"decoder.norm.weight": np.ones(24)},
        "published": ours,
        "transformers": as_transformers_names_them(ours),
        "encoder of transformers": {
            name.removeprefix("vit."): array for name, array in as_transformers_names_them(ours).items()
        },
    }[form]
    found = mae_names(stored)
    assert set(found) == set(ours)
    assert all(np.array_equal(array, ours[name]) for name, array in found.items())


def test_a_map_of_which_a_part_is_missing_is_not_made_up() -> None:
    stored = as_transformers_names_them(arrays_of(encoder()))
    del stored["vit.encoder.layer.1.attention.attention.key.bias"]
    found = mae_names(stored)
    assert "blocks.1.attn.qkv.bias" not in found
    assert "blocks.1.attn.qkv.weight" in found


@pytest.mark.slow  # importing transformers takes seconds
def test_a_file_of_transformers_gives_the_tokens_of_its_own_encoder(tmp_path: Path) -> None:
    from transformers import ViTMAEConfig, ViTMAEModel  # noqa: PLC0415

    config = ViTMAEConfig(
        hidden_size=24, num_attention_heads=3, num_hidden_layers=2, intermediate_size=96, image_size=32, patch_size=8,
        mask_ratio=0.5, layer_norm_eps=1e-6,
    )  # fmt: skip
    theirs = ViTMAEModel(config).train(mode=False)
    theirs.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    ours = encoder()
    entries = fitting(stored, channels=3, side=4)
    ours.load_state_dict({name: torch.tensor(entries[name]) for name in ours.state_dict()})
    noise, images = torch.rand(2, 16), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(images, noise=noise).last_hidden_state
        tokens = ours.encode(Mask.of(noise, num_visible=8).keep(ours.embed(images)))
        torch.testing.assert_close(theirs.layernorm(tokens), expected, atol=1e-5, rtol=1e-5)


def test_positions_of_another_grid_are_stretched_and_others_left_alone() -> None:
    stored = arrays_of(encoder(image_px=64))
    assert stored["pos_embed"].shape == (1, 65, 24)
    small = fitting(stored, channels=3, side=4)
    assert small["pos_embed"].shape == (1, 17, 24)
    assert np.array_equal(fitting(stored, channels=3, side=8)["pos_embed"], stored["pos_embed"])
    assert all(np.array_equal(small[name], array) for name, array in stored.items() if name != "pos_embed")
    # The corner patch of the small grid lies between the first four of the large one.
    large = sine_positions(width=24, side=8)[0, 1:].view(8, 8, 24)
    corner = torch.tensor(small["pos_embed"])[0, 1]
    assert float((corner - large[:2, :2].mean(dim=(0, 1))).abs().max()) < 0.2


def test_a_table_that_is_no_square_grid_is_left_to_be_refused() -> None:
    stored = {**arrays_of(encoder()), "pos_embed": np.zeros((1, 19, 24), np.float32)}
    assert fitting(stored, channels=3, side=4)["pos_embed"].shape == (1, 19, 24)


@pytest.mark.parametrize(
    ("ratio", "visible", "giga"), [(0.75, 49, (15.22, 11.42)), (0.95, 9, (3.02, 2.27)), (0.98, 3, (1.21, 0.91))]
)
def test_stopping_early_leaves_out_a_quarter_of_the_blocks_work(
    ratio: float, visible: int, giga: tuple[float, float]
) -> None:
    """Check 5, in multiplications of the published ViT-L, whole and stopped, by the formula and as they are counted."""
    assert num_visible(196, mask_ratio=ratio) == visible
    tokens, counts = visible + 1, []
    for depth in (24, 18):
        formula = depth * (12 * 1024**2 * tokens + 2 * tokens**2 * 1024)
        counts.append(multiplications(depth, tokens))
        assert counts[-1] == formula
    assert tuple(round(count / 1e9, 2) for count in counts) == giga
    assert counts[1] / counts[0] == 0.75


def multiplications(depth: int, tokens: int) -> int:
    """Of the blocks of a ViT-L on so many tokens, class token included; nothing is computed."""
    with torch.device("meta"):
        network = ViTConfig(width=1024, depth=depth, heads=16, patch_px=16).build(image_px=224, channels=3)
        with FlopCounterMode(display=False) as counter:
            network.encode(torch.empty(1, tokens - 1, 1024))
    return int(counter.get_total_flops()) // 2


def test_a_teacher_of_another_size_is_still_refused() -> None:
    student = encoder()
    source = {name: torch.tensor(array) for name, array in arrays_of(encoder(width=48)).items()}
    teacher = Teacher(TeacherConfig(width=24, depth=2, heads=3), taps=(1,), student=student, channels=3)
    with pytest.raises(CheckpointError, match="expected 'cls_token'"):
        teacher.adopt(source)
