"""Masked prediction of visual tokens: counts, what reaches the prediction, what is frozen, what a stage takes over."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, SpecError
from fedward_models.backbones.beit_vit.config import BEiTViTConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.frozen import file_digest
from fedward_models.methods.beit.beit import BEiT
from fedward_models.methods.beit.config import BEiTConfig
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.step import Clock
from fedward_models.tokenizers import patch_codebook
from fedward_models.tokenizers.config import PatchCodebookConfig
from fedward_models.tokenizers.dalle_encoder import DALLEEncoder

COLOUR = Contract(classes=("normal", "pneumonia"), channels=3)
SMALL = PatchCodebookConfig(vocabulary=16)


def build(**settings: Any) -> BEiT:
    backbone = BEiTViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=3)
    method = BEiTConfig(**{"tokenizer": SMALL, "drop_path": 0, **settings}).build(backbone=backbone, contract=COLOUR)
    assert isinstance(method, BEiT)
    return method


def drawn(method: BEiT, images: Tensor, seed: int = 0) -> Batch:
    return method.prepare(Batch(images=images), torch.Generator().manual_seed(seed))


def test_the_published_network_has_the_published_number_of_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL-FL, Sec. 2.3: a head of 8192 tokens and one table of 732 x 12 for all blocks."""
    monkeypatch.setattr(patch_codebook, "train_codebook", lambda size, channels: np.zeros((size, 48), np.int64))
    with torch.device("meta"):
        backbone = BEiTViTConfig(width=768, depth=12, heads=12, patch_px=16).build(image_px=224, channels=3)
        config = BEiTConfig(tokenizer=PatchCodebookConfig(vocabulary=8192))
        method = config.build(backbone=backbone, contract=COLOUR)
        images = torch.empty(2, 3, 224, 224)
        assert method.encode(images, torch.empty(2, 196, dtype=torch.bool)).shape == (2, 197, 768)
    assert sum(parameter.numel() for parameter in method.parameters()) == 91_965_776
    tables = {n: tuple(p.shape) for n, p in method.named_parameters() if "relative_position" in n}
    assert tables == {"backbone.shared_positions.relative_position_bias_table": (732, 12)}
    assert method.budget == 80


def test_blocks_are_skipped_at_the_rate_of_the_method_and_not_of_the_backbone() -> None:
    """SSL-FL, Sec. 5.1 and 5.2: 0.1 in pre-training, 0.2 in fine-tuning."""
    backbone = BEiTViTConfig(width=24, depth=3, heads=3, patch_px=8, drop_path=0.2).build(image_px=32, channels=3)
    method = BEiTConfig(tokenizer=SMALL).build(backbone=backbone, contract=COLOUR)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in method.backbone.blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1])


def test_masks_are_ragged_and_each_hidden_patch_has_one_row_of_logits() -> None:
    backbone = BEiTViTConfig(width=24, depth=1, heads=3, patch_px=4).build(image_px=56, channels=3)
    method = BEiTConfig(tokenizer=SMALL).build(backbone=backbone, contract=COLOUR)
    batch = drawn(method, torch.zeros(16, 3, 56, 56))
    hidden = batch.drawn["hidden"]
    counts = hidden.sum(dim=1)
    assert len(torch.unique(counts)) > 1
    assert int(counts.max()) <= method.budget == 80
    assert method.hidden_logits(batch.images, hidden).shape == (int(counts.sum()), 16)
    assert len(torch.unique(hidden, dim=0)) == 16
    again = drawn(method, batch.images).drawn["hidden"]
    assert torch.equal(again, hidden)


def test_the_loss_of_a_batch_is_the_mean_of_all_its_hidden_patches() -> None:
    """Not the mean of the images' means: images hide different numbers of patches (SSL-FL, Sec. 3)."""
    method, images = build(), torch.randn(2, 3, 32, 32)
    hidden = torch.zeros(2, 16, dtype=torch.bool)
    hidden[0, :9], hidden[1, 4] = True, True
    batch = Batch(images=images, drawn={"hidden": hidden})
    of_images, loss = method.evaluation_loss(batch), method.training_step(batch, Clock()).loss
    torch.testing.assert_close(loss, (9 * of_images[0] + of_images[1]) / 10)


def test_a_batch_that_hides_nothing_has_a_loss_of_zero_and_not_of_nan() -> None:
    method, hidden = build(), torch.zeros(2, 16, dtype=torch.bool)
    batch = Batch(images=torch.randn(2, 3, 32, 32), drawn={"hidden": hidden})
    assert float(method.training_step(batch, Clock()).loss.detach()) == 0
    assert method.evaluation_loss(batch).tolist() == [0, 0]


def test_hidden_pixels_do_not_reach_the_prediction() -> None:
    method, images = build(), torch.randn(2, 3, 32, 32)
    hidden = drawn(method, images).drawn["hidden"]
    pixels = hidden.view(2, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    changed = torch.where(pixels, torch.randn_like(images), images)
    assert torch.equal(method.hidden_logits(changed, hidden), method.hidden_logits(images, hidden))
    elsewhere = torch.where(pixels, images, torch.randn_like(images))
    assert not torch.allclose(method.hidden_logits(elsewhere, hidden), method.hidden_logits(images, hidden))


def test_the_tokenizer_takes_no_gradient_and_stays_as_it_is() -> None:
    method, images = build(), torch.randn(4, 3, 32, 32)
    before = method.tokenizer.get_buffer("entries").clone()
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.01)
    for seed in range(3):
        optimizer.zero_grad()
        method.training_step(drawn(method, images, seed), Clock()).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert torch.equal(method.tokenizer.get_buffer("entries"), before)
    assert not before.requires_grad


def test_the_tokenizer_never_travels() -> None:
    """It is in no manifest, so in no plan, checkpoint or update."""
    names = manifest_of(build()).names()
    assert not [name for name in names if "tokenizer" in name]
    assert {"mask_token", "token_head.weight", "backbone.cls_token"} <= set(names)


def test_the_plan_is_told_which_tokenizer() -> None:
    (note,) = build().notes
    assert "substitute" in note
    assert "sha256" in note


def test_the_published_tokenizer_reads_pixels_and_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = DALLEEncoder(width=4, vocabulary=12).state_dict()
    path = tmp_path / "dalle.safetensors"
    save_file({n.replace(".weight", ".w").replace(".bias", ".b"): t for n, t in state.items()}, path)
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    named = {"name": "dalle", "weights": {"name": "dalle", "sha256": file_digest(path)}}
    method = build(tokenizer=named)
    assert method.token_head.out_features == 12
    assert named["weights"]["sha256"] in method.notes[0]  # type: ignore[index]
    pixels = torch.rand(2, 3, 32, 32)
    standardised = Batch(images=(pixels - 0.5) / 0.1, mean=0.5, std=0.1)
    batch = method.prepare(standardised, torch.Generator().manual_seed(0))
    assert torch.isfinite(method.training_step(batch, Clock()).loss)
    assert method.predict_batch(standardised).shape == (2,)
    with pytest.raises(CheckpointError, match="expected sha256"):
        build(tokenizer={"name": "dalle", "weights": {"name": "dalle", "sha256": "0" * 64}})


def test_the_mask_token_decays_and_the_class_token_does_not() -> None:
    assert build().no_weight_decay == {"backbone.cls_token"}


def test_evaluation_hides_the_same_patches_every_time_and_draws_no_view() -> None:
    method, images = build(view={}), torch.randn(2, 3, 32, 32)
    assert torch.equal(method.predict(images), method.predict(images))
    assert torch.equal(method.predict(images), build_as(method).predict(images))
    assert not torch.equal(drawn(method, images).images, images)


def build_as(method: BEiT) -> BEiT:
    twin = build()
    twin.load_state_dict(method.state_dict())
    return twin


def test_masked_pre_training_reads_no_labels() -> None:
    """Labels of any kind change nothing (SSL-FL, Sec. 9, check 14)."""
    method, images = build(), torch.randn(2, 3, 32, 32)
    losses = []
    for labels in (None, torch.tensor([0, 1]), torch.tensor([9, -4])):
        batch = method.prepare(Batch(images=images, labels=labels), torch.Generator().manual_seed(0))
        losses.append(method.training_step(batch, Clock()).loss)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])
    assert not BEiTConfig.needs_labels


def test_a_second_beit_stage_takes_everything_over() -> None:
    source, method = build(), build()
    inheritance = method.inherit(source.state_dict(), source)
    assert set(inheritance.taken) == set(method.state_dict())
    assert (inheritance.new, inheritance.cloned, inheritance.dropped) == ((), (), ())


def test_another_tokenizer_is_another_task() -> None:
    source = build(tokenizer=PatchCodebookConfig(vocabulary=32))
    with pytest.raises(SpecError, match="with the same tokenizer"):
        build().inherit(source.state_dict(), source)


def test_beit_does_not_go_on_from_mae() -> None:
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=3)
    source = MAEConfig(decoder_width=16, decoder_depth=1, decoder_heads=2).build(backbone=backbone, contract=COLOUR)
    with pytest.raises(SpecError, match="found MAE"):
        build().inherit(source.state_dict(), source)


def test_a_network_with_absolute_positions_is_refused() -> None:
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=3)
    with pytest.raises(SpecError, match="choose the backbone 'beit_vit'"):
        BEiTConfig().build(backbone=backbone, contract=COLOUR)


@pytest.mark.parametrize(("mask_ratio", "hidden"), [(0.01, 0), (0.99, 16)])
def test_a_mask_that_hides_nothing_or_all_is_refused(mask_ratio: float, hidden: int) -> None:
    with pytest.raises(SpecError, match=f"hides {hidden} of 16 patches"):
        build(mask_ratio=mask_ratio)
