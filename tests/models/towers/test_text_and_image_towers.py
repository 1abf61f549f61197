"""Towers: their sizes, shapes and outputs beside those of the libraries, and weights that do not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from transformers import BertConfig, BertModel

from fedward_core.errors import CheckpointError
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.frozen import FrozenWeights, file_digest
from fedward_models.towers.bert import TextTower, text_network
from fedward_models.towers.config import TextTowerConfig
from fedward_models.towers.places import attention_map, read_places
from fedward_models.towers.vocabulary import VocabularyFile, built_in_vocabulary

TINY: dict[str, Any] = {"width": 8, "depth": 2, "heads": 2, "max_tokens": 10}
REPORTS = [("no", "pneumothorax"), ("small", "left", "pleural", "effusion", "is", "seen", "again")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    return tmp_path


def bert(*, depth: int = 3, width: int = 8) -> BertModel:
    settings = BertConfig(
        vocab_size=len(built_in_vocabulary()),
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=2,
        intermediate_size=4 * width,
    )
    network = BertModel(settings)
    network.eval()  # type: ignore[no-untyped-call]
    return network


def vocabulary_of(folder: Path) -> VocabularyFile:
    path = folder / "vocab.txt"
    path.write_text("\n".join(built_in_vocabulary()))
    return VocabularyFile(name="vocab", sha256=file_digest(path))


def weights_of(network: BertModel, folder: Path, prefix: str = "bert.") -> FrozenWeights:
    path = folder / "bert.safetensors"
    save_file({prefix + name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return FrozenWeights(name="bert", sha256=file_digest(path))


def test_a_text_tower_from_a_checkpoint_computes_what_its_first_layers_do(folder: Path) -> None:
    """With token types, which are added to positions."""
    source = bert()
    config = TextTowerConfig(**TINY, vocabulary=vocabulary_of(folder), weights=weights_of(source, folder))
    tower = TextTower(config).eval()
    pieces = tower.pieces(REPORTS)
    source.encoder.layer = source.encoder.layer[:2]
    with torch.no_grad():
        expected = source(input_ids=pieces.numbers, attention_mask=(pieces.word_of >= 0).long()).last_hidden_state
        found = tower(pieces.numbers, pieces.word_of)
    torch.testing.assert_close(found.report, expected[:, 0], atol=1e-5, rtol=0)
    first_word = expected[0] * (pieces.word_of[0] == 1)[:, None]
    torch.testing.assert_close(found.words[0, 0], first_word.sum(dim=0), atol=1e-5, rtol=0)


def test_a_checkpoint_with_the_older_names_of_norms_is_read(folder: Path) -> None:
    source, vocabulary = bert(depth=2), vocabulary_of(folder)
    for name, parameter in source.named_parameters():
        if "LayerNorm" in name:
            torch.nn.init.normal_(parameter)
    new = TextTower(TextTowerConfig(**TINY, vocabulary=vocabulary, weights=weights_of(source, folder)))
    older = {
        "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): tensor
        for name, tensor in source.state_dict().items()
    }
    save_file(older, path := folder / "older.safetensors")
    weights = FrozenWeights(name="older", sha256=file_digest(path))
    old = TextTower(TextTowerConfig(**TINY, vocabulary=vocabulary, weights=weights))
    assert all(torch.equal(tensor, new.state_dict()[name]) for name, tensor in old.state_dict().items())


def test_the_importance_of_words_is_the_attention_of_the_last_layer(folder: Path) -> None:
    """Of the first piece, the mean over heads, as the library gives it."""
    source = bert(depth=2)
    source.set_attn_implementation("eager")
    tower = TextTower(TextTowerConfig(**TINY, vocabulary=vocabulary_of(folder), weights=weights_of(source, folder)))
    pieces = tower.pieces(REPORTS)
    known = pieces.word_of >= 0
    with torch.no_grad():
        (*_, last) = source(pieces.numbers, attention_mask=known.long(), output_attentions=True).attentions
        found = tower.eval()(pieces.numbers, pieces.word_of).importance
    expected = torch.zeros(2, 10).scatter_add(1, pieces.word_of.clamp(min=0), last[:, :, 0].mean(dim=1) * known)
    torch.testing.assert_close(found, expected[:, 1:], atol=1e-6, rtol=0)


def test_dropout_makes_no_word_weigh_nothing() -> None:
    """The library gives its attention with entries dropped; with one layer nothing else is drawn before it."""
    tower = TextTower(TextTowerConfig(**TINY | {"depth": 1, "dropout": 0.9})).train()
    pieces = tower.pieces([("no", "left", "effusion")] * 40)
    with torch.no_grad():
        found = tower(pieces.numbers, pieces.word_of)
    assert bool((found.importance > 0).equal(~found.padding))


def test_words_know_their_places_unless_legacy() -> None:
    for legacy in (False, True):
        tower = TextTower(TextTowerConfig(**TINY, legacy_positions=legacy)).eval()
        there, back = tower.pieces([("no", "left", "effusion"), ("effusion", "left", "no")]).numbers.chunk(2)
        word_of = tower.pieces([("no", "left", "effusion")]).word_of
        difference = (tower(there, word_of).report - tower(back, word_of).report).abs().max()
        assert (float(difference.detach()) < 1e-5) is legacy


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    vocabulary = vocabulary_of(folder)
    for source, message in ((bert(width=12), "shape .*, 8.*, found .*, 12"), (bert(depth=1), "layer.1.*found nothing")):
        config = TextTowerConfig(**TINY, vocabulary=vocabulary, weights=weights_of(source, folder))
        with pytest.raises(CheckpointError, match=f"not of this text tower: expected .*{message}"):
            TextTower(config)


def test_another_digest_and_a_pickled_checkpoint_are_refused(folder: Path) -> None:
    vocabulary, weights = vocabulary_of(folder), weights_of(bert(), folder)
    wrong = weights.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="are not those that the spec names"):
        TextTower(TextTowerConfig(**TINY, vocabulary=vocabulary, weights=wrong))
    (folder / "bert.safetensors").unlink()
    torch.save({"weight": torch.zeros(2)}, folder / "bert.bin")
    with pytest.raises(CheckpointError, match="pickled checkpoint"):
        TextTower(TextTowerConfig(**TINY, vocabulary=vocabulary, weights=weights))


def test_weights_without_their_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="weights need the vocabulary"):
        TextTowerConfig(heads=4, weights=FrozenWeights(name="bert", sha256="0" * 64))


def test_weights_without_their_number_of_heads_are_refused() -> None:
    """4 would divide 768 too; a spec that is written down and read again names them."""
    named = {"name": "bert", "sha256": "0" * 64}
    values = {"width": 768, "weights": named, "vocabulary": named}
    with pytest.raises(ValueError, match="set 'heads' to theirs"):
        TextTowerConfig.model_validate(values)
    config = TextTowerConfig.model_validate({**values, "heads": 4})
    assert TextTowerConfig.model_validate_json(config.model_dump_json()) == config


def test_published_towers_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        text = text_network(TextTowerConfig(width=768, depth=6, heads=12), vocabulary_size=28_996)
        image = ViTConfig(width=768, depth=12, heads=12, patch_px=16).build(image_px=224, channels=3)
    counts = [sum(parameter.numel() for parameter in tower.parameters()) for tower in (text, image)]
    assert counts == [65_190_912, 85_798_656]


def test_the_image_tower_equals_the_vision_transformer_of_timm() -> None:
    reference = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0).eval()
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=3)
    backbone.load_state_dict({_our_name(name): tensor for name, tensor in reference.state_dict().items()})
    images = torch.randn(2, 3, 32, 32)
    found, expected = read_places(backbone.eval(), images), reference.forward_features(images)
    torch.testing.assert_close(found.image, expected[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.places, expected[:, 1:], atol=1e-5, rtol=0)


def _our_name(name: str) -> str:
    return f"fc_{name}" if name.startswith("norm.") else name


def test_shapes_and_rows_of_attention() -> None:
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=1)
    assert isinstance(backbone, ViT)
    found = read_places(backbone, torch.randn(2, 1, 32, 32))
    assert found.importance is not None
    assert (found.image.shape, found.places.shape, found.importance.shape) == ((2, 24), (2, 16, 24), (2, 16))
    rows = attention_map(backbone.blocks[1], torch.randn(2, 17, 24)).sum(dim=-1)
    torch.testing.assert_close(rows, torch.ones(2, 3, 17))


def test_other_networks_give_the_places_of_their_map() -> None:
    backbone = SmallCNNConfig(widths=(6, 8), hidden=(10,)).build(image_px=32, channels=1)
    found = read_places(backbone, torch.randn(2, 1, 32, 32))
    assert (found.image.shape, found.places.shape, found.importance) == ((2, 10), (2, 64, 10), None)
