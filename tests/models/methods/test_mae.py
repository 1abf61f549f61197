"""Masked autoencoding: counts, masks, what has a gradient, pictures, and what a stage takes over."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, SpecError
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.layers.patches import patchify
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.step import Clock

COLOUR = Contract(classes=("normal", "pneumonia"), channels=3)


def build(**settings: Any) -> MAE:
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=3)
    config = MAEConfig(**{"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, **settings})
    method = config.build(backbone=backbone, contract=COLOUR)
    assert isinstance(method, MAE)
    return method


def published(*, mask_ratio: float = 0.6, depth: int = 12, decoder_depth: int = 8) -> MAE:
    """The network of SSL-FL, without memory for its weights."""
    with torch.device("meta"):
        backbone = ViTConfig(width=768, depth=depth, heads=12, patch_px=16).build(image_px=224, channels=3)
        config = MAEConfig(mask_ratio=mask_ratio, decoder_width=512, decoder_depth=decoder_depth, decoder_heads=16)
        method = config.build(backbone=backbone, contract=COLOUR)
    assert isinstance(method, MAE)
    return method


def drawn(method: MAE, images: Tensor, seed: int = 0) -> Batch:
    return method.prepare(Batch(images=images), torch.Generator().manual_seed(seed))


def test_the_published_network_has_the_published_number_of_parameters() -> None:
    """SSL-FL, Sec. 2.3: trainable and with the fixed tables of positions."""
    method = published()
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    tables = method.backbone.pos_embed.numel() + sum(buffer.numel() for buffer in method.decoder.buffers())
    decoder = sum(p.numel() for p in method.decoder.parameters())
    assert (trained, trained + tables) == (111_655_680, 111_907_840)
    assert (trained - decoder, decoder) == (85_647_360, 26_008_320)


def test_learned_tokens_start_from_a_normal_of_deviation_two_hundredths() -> None:
    """SSL-FL, Sec. 2.1: the class token and the mask token."""
    backbone = ViTConfig(width=768, depth=1, heads=12, mlp_ratio=0.1, patch_px=16).build(image_px=32, channels=3)
    method = MAEConfig(decoder_width=768, decoder_depth=1).build(backbone=backbone, contract=COLOUR)
    for name in ("backbone.cls_token", "decoder.mask_token"):
        token = method.get_parameter(name).detach()
        assert float(token.std()) == pytest.approx(0.02, rel=0.15)
        assert float(token.mean()) == pytest.approx(0, abs=0.004)
        assert float(token.abs().max()) > 0.04  # not cut, as Fed-BEiT's are


@pytest.mark.parametrize(
    ("mask_ratio", "visible"), [(0.3, 137), (0.4, 117), (0.5, 98), (0.6, 78), (0.7, 58), (0.75, 49)]
)
def test_the_published_network_has_the_published_shapes(mask_ratio: float, visible: int) -> None:
    """SSL-FL, Sec. 2.4: the encoder sees the visible patches and a class token, the decoder paints all patches."""
    method = published(mask_ratio=mask_ratio, depth=1, decoder_depth=1)
    seen: list[tuple[int, ...]] = []
    method.decoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.device("meta"):
        images = torch.empty(2, 3, 224, 224)
        mask = method.mask(Batch(images=images, drawn={"noise": torch.empty(2, 196)}))
        assert method.encode(images, mask).shape == (2, 1 + visible, 768)
        assert method.paint(images, mask).shape == (2, 196, 768)
    assert seen == [(2, 197, 512)]


def test_images_of_a_batch_have_masks_of_their_own_that_a_seed_repeats() -> None:
    method, images = build(), torch.zeros(4, 3, 32, 32)
    hidden = [method.mask(drawn(method, images, seed)).hidden for seed in (1, 1, 2)]
    assert torch.equal(hidden[0], hidden[1])
    assert not torch.equal(hidden[0], hidden[2])
    assert len(torch.unique(hidden[0], dim=0)) == 4
    assert hidden[0].sum(dim=1).tolist() == [10] * 4  # 16 - floor(16 * 0.4)


def test_hidden_pixels_do_not_reach_the_prediction() -> None:
    method, images = build(), torch.randn(2, 3, 32, 32)
    mask = method.mask(drawn(method, images))
    masked = method.reconstruct(images, torch.Generator().manual_seed(0)).masked
    assert torch.equal(method.paint(masked, mask), method.paint(images, mask))


def test_positions_have_no_gradient_and_all_else_has() -> None:
    method, images = build(), torch.randn(2, 3, 32, 32)
    method.training_step(drawn(method, images), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    without = [name for name, parameter in method.named_parameters() if parameter.grad is None]
    assert without == ["backbone.pos_embed"]


@pytest.mark.parametrize("norm_pixels", [True, False])
def test_targets_are_pixels_or_normed_pixels(norm_pixels: bool) -> None:
    images = torch.randn(2, 3, 32, 32) * 3 + 1
    target = build(norm_pixels=norm_pixels).target(images)
    patches = patchify(images, patch_px=8)
    variance = patches.var(dim=-1, keepdim=True)
    expected = (patches - patches.mean(dim=-1, keepdim=True)) / (variance + 1e-6).sqrt() if norm_pixels else patches
    torch.testing.assert_close(target, expected)


def test_the_loss_of_a_batch_is_the_mean_of_its_images() -> None:
    method, images = build(), torch.randn(3, 3, 32, 32)
    batch = drawn(method, images)
    losses = method.evaluation_loss(batch)
    assert losses.shape == (3,)
    assert torch.equal(method.training_step(batch, Clock()).loss, losses.mean())


def test_views_are_drawn_for_training_and_not_for_evaluation() -> None:
    method, images = build(view={}), torch.rand(3, 3, 32, 32)
    assert not torch.equal(drawn(method, images).images, images)
    assert torch.equal(drawn(method, images).images, drawn(method, images).images)
    plain = build()
    plain.load_state_dict(method.state_dict())
    assert torch.equal(drawn(plain, images).images, images)
    assert torch.equal(method.predict(images), plain.predict(images))


def test_evaluated_losses_are_the_same_at_every_call() -> None:
    method, images = build(), torch.randn(3, 3, 32, 32)
    assert torch.equal(method.predict(images), method.predict(images))


def test_patches_of_one_grey_pixel_cannot_be_normed() -> None:
    """One value has no deviation: the loss would be no number."""
    form, grey = ViTConfig(width=8, depth=1, heads=2, patch_px=1), Contract(classes=("a", "b"), channels=1)
    small = {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}
    with pytest.raises(SpecError, match="patches of one grey pixel have one value"):
        MAEConfig(**small).build(backbone=form.build(image_px=4, channels=1), contract=grey)
    plain = MAEConfig(**small, norm_pixels=False).build(backbone=form.build(image_px=4, channels=1), contract=grey)
    assert plain.predict(torch.randn(2, 1, 4, 4)).isfinite().all()
    colour = MAEConfig(**small).build(backbone=form.build(image_px=4, channels=3), contract=COLOUR)
    assert colour.predict(torch.randn(2, 3, 4, 4)).isfinite().all()


@pytest.mark.parametrize("norm_pixels", [True, False])
def test_a_perfect_painter_gives_the_images_back(norm_pixels: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions of normed patches return to the images' own range."""
    method, images = build(norm_pixels=norm_pixels), torch.randn(2, 3, 32, 32) * 2 + 5
    monkeypatch.setattr(method, "paint", lambda images, mask: method.target(images))
    pictures = method.reconstruct(images, torch.Generator().manual_seed(3))
    torch.testing.assert_close(pictures.painted, images)
    assert torch.equal(pictures.original, images)


def test_pictures_differ_from_the_images_in_hidden_patches_only() -> None:
    method, images = build(), torch.randn(2, 3, 32, 32)
    hidden = method.mask(drawn(method, images, 3)).hidden
    pictures = method.reconstruct(images, torch.Generator().manual_seed(3))
    true, masked, painted = (patchify(x, patch_px=8) for x in (pictures.original, pictures.masked, pictures.painted))
    assert torch.equal(masked[~hidden], true[~hidden])
    assert torch.equal(painted[~hidden], true[~hidden])
    assert masked[hidden].count_nonzero() == 0
    assert not (painted[hidden] == true[hidden]).any()


def test_a_second_mae_stage_takes_everything_over() -> None:
    source, method = build(), build()
    inheritance = method.inherit(source.state_dict(), source)
    assert set(inheritance.taken) == set(method.state_dict())
    assert (inheritance.new, inheritance.dropped) == ((), ())
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in method.state_dict().items())


def test_an_incomplete_or_foreign_checkpoint_is_refused_untouched() -> None:
    source, method = build(), build()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    state = source.state_dict()
    del state["decoder.mask_token"]
    with pytest.raises(CheckpointError, match=r"expected 'decoder.mask_token' of shape .* found nothing"):
        method.inherit(state, source)
    wide = build(decoder_width=32)
    with pytest.raises(CheckpointError, match=r"shape \(1, 1, 16\), found \(1, 1, 32\)"):
        method.inherit(wide.state_dict(), wide)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_mae_goes_on_from_mae_only() -> None:
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=3)
    source = SupervisedConfig().build(backbone=backbone, contract=COLOUR)
    with pytest.raises(SpecError, match="mae can only go on from a stage of mae, found Supervised"):
        build().inherit(source.state_dict(), source)


def test_a_network_without_tokens_is_refused() -> None:
    with pytest.raises(SpecError, match="choose the backbone 'vit'"):
        MAEConfig().build(backbone=SmallCNNConfig().build(image_px=32, channels=3), contract=COLOUR)


@pytest.mark.parametrize(("mask_ratio", "hidden"), [(0.99, 16), (1e-9, 1)])
def test_a_mask_that_leaves_nothing_visible_is_refused(mask_ratio: float, hidden: int) -> None:
    if hidden == 16:
        with pytest.raises(SpecError, match="hides 16 of 16 patches"):
            build(mask_ratio=mask_ratio)
    else:
        assert build(mask_ratio=mask_ratio).num_visible == 16 - hidden


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder_width": 20, "decoder_heads": 3}, "decoder_width 20 does not divide into 3 heads"),
        ({"decoder_width": 18, "decoder_heads": 3}, "decoder_width 18 is no multiple of 4"),
        ({"mask_ratio": 1.0}, "less than 1"),
    ],
)
def test_settings_that_fit_no_decoder_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MAEConfig(**settings)


def test_masked_pre_training_reads_no_labels() -> None:
    """Labels of any kind change nothing (SSL-FL, Sec. 9, check 14)."""
    method, images = build(), torch.randn(2, 3, 32, 32)
    losses = [
        method.training_step(
            method.prepare(Batch(images=images, labels=labels), torch.Generator().manual_seed(0)), Clock()
        ).loss
        for labels in (None, torch.tensor([0, 1]), torch.tensor([9, -4]))
    ]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])
    assert not MAEConfig.needs_labels
