"""Fed-MAE pre-training computes what the published code computes.

Origin: rui-yan/SSL-FL, commit 69c3388d5c9d081451f4aacd5455ba3c2da2b55b, code/fed_mae/models_mae.py, class
MaskedAutoencoderViT, unmodified, on timm 0.3.2 and torch 2.15.0, CPU, float32. Network: image 32, patch 8, width 48, 2
blocks of 4 heads; decoder width 32, 1 block of 4 heads; mask ratio 0.6; seed 101, trainable parameters moved by
Gaussian noise. Beside this file: weights, images, masking noise, results and gradients.
Tolerance: 1e-5 absolute for values, 2e-6 for gradients; masks and indices exact.
"""

from functools import partial
from pathlib import Path

import pytest
import torch
from published import arrays_under, assert_near, renamed
from safetensors.torch import load_file

from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.layers.masking import num_visible
from fedward_models.layers.patches import patchify
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE
from fedward_models.step import Clock

REFERENCE = load_file(Path(__file__).with_name("ssl_fl_mae_pretrain.safetensors"))
# Where each part of the published network is in ours, by the start of its name.
PARTS = {
    "decoder_pos_embed": "decoder.positions",
    "decoder_": "decoder.",
    "mask_token": "decoder.mask_token",
    "norm.": "norm.",
    "": "backbone.",
}


our_name = partial(renamed, PARTS)
values = partial(arrays_under, REFERENCE)


def build(*, norm_pixels: bool = True) -> MAE:
    backbone = ViTConfig(width=48, depth=2, heads=4, patch_px=8).build(image_px=32, channels=3)
    config = MAEConfig(norm_pixels=norm_pixels, decoder_width=32, decoder_depth=1, decoder_heads=4)
    method = config.build(backbone=backbone, contract=Contract(classes=("a", "b"), channels=3))
    assert isinstance(method, MAE)
    state = {our_name(name): tensor for name, tensor in values("state/").items()}
    # The tables are computed, not loaded; a test below compares them.
    del state["decoder.positions"], state["backbone.pos_embed"]
    assert set(state) == set(method.state_dict()) - {"backbone.pos_embed"}
    method.load_state_dict(state, strict=False)
    return method


def batch() -> Batch:
    return Batch(images=REFERENCE["in/images"], drawn={"noise": REFERENCE["in/noise"]})


def test_tables_of_positions_are_equal() -> None:
    method = build()
    assert_near(method.backbone.pos_embed, REFERENCE["state/pos_embed"], 1e-7)
    assert_near(method.decoder.get_buffer("positions"), REFERENCE["state/decoder_pos_embed"], 1e-7)


def test_masks_are_equal() -> None:
    mask = build().mask(batch())
    assert torch.equal(mask.hidden.float(), REFERENCE["out/mask"])
    assert torch.equal(mask.restore, REFERENCE["out/ids_restore"])


def test_tokens_and_predictions_are_equal() -> None:
    method, images = build(), REFERENCE["in/images"]
    mask = method.mask(batch())
    assert torch.equal(patchify(images, patch_px=8), REFERENCE["out/patches"])
    assert_near(method.encode(images, mask), REFERENCE["out/latent"])
    assert_near(method.paint(images, mask), REFERENCE["out/pred"])


@pytest.mark.parametrize("target", ["raw", "norm"])
def test_losses_and_gradients_are_equal(target: str) -> None:
    method = build(norm_pixels=target == "norm")
    loss = method.training_step(batch(), Clock()).loss
    assert_near(loss, REFERENCE[f"out/loss_{target}"])
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = values(f"grad/{target}/")
    assert len(gradients) == 5
    for name, expected in gradients.items():
        found = method.get_parameter(our_name(name)).grad
        assert found is not None
        assert_near(found, expected, 2e-6)


def test_counts_of_visible_patches_differ_only_where_the_published_code_rounds_down_a_whole_number() -> None:
    """Differs: we count in exact arithmetic. 100 patches at 0.9 keep 10 here, and 9 there."""
    lengths, ratios = REFERENCE["in/keep_lengths"].tolist(), REFERENCE["in/keep_ratios"].tolist()
    counts, differing = REFERENCE["out/keep_count"].tolist(), []
    for length, row in zip(lengths, counts, strict=True):
        for ratio, published in zip(ratios, row, strict=True):
            ours = num_visible(length, mask_ratio=ratio)
            if ours != published:
                differing.append((length, ratio))
                assert ours == published + 1
                assert length * (1 - ratio) == pytest.approx(ours)
    assert (100, 0.9) in differing
    assert not [length for length, _ in differing if length == 196]
