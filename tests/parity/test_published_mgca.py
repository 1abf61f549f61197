"""MGCA computes what the published code computes.

Origin: HKU-MedAI/MGCA, commit 680fe4a6ee0c, mgca/models/mgca/mgca_module.py (losses, Sinkhorn), backbones/encoder.py
(heads, aggregation of tokens) and backbones/vits.py (image tower), torch 2.15.0, CPU, float32; towers of the loss cases
replaced by stored tensors, and heads by the identity. Beside this file: inputs, weights, results and gradients.
Tolerance: 1e-5 absolute, or relative to the largest entry.
"""

from pathlib import Path

import pytest
import torch
from published import assert_near_in_scale
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.losses.pair_contrast import retrieval
from fedward_models.losses.prototype_agreement import assignments
from fedward_models.losses.token_alignment import token_weights
from fedward_models.methods.mgca.alignment import Pairs
from fedward_models.methods.mgca.config import MGCAConfig
from fedward_models.methods.mgca.heads import Projection
from fedward_models.methods.mgca.mgca import MGCA
from fedward_models.step import Clock
from fedward_models.towers.config import TextTowerConfig
from fedward_models.towers.places import attention_map, read_places
from fedward_models.towers.words import join_pieces

REFERENCE = load_file(Path(__file__).with_name("mgca.safetensors"))
CASES = ("losses_vit", "losses_cnn", "losses_word_only")


def group(part: str, case: str) -> dict[str, Tensor]:
    start = f"{part}/{case}/"
    return {name.removeprefix(start): tensor for name, tensor in REFERENCE.items() if name.startswith(start)}


def method(case: str) -> MGCA:
    config = MGCAConfig(
        text=TextTowerConfig(width=8, depth=1, heads=1, max_tokens=12),
        hidden=4,
        width=16,
        prototypes=20,
        bidirectional=case != "losses_word_only",
        legacy_padding=True,
    )
    backbone = ViTConfig(width=8, depth=1, heads=1, patch_px=8).build(image_px=16, channels=1)
    built = MGCA(config, backbone=backbone, contract=Contract(classes=("a", "b")))
    built.prototypes.data = group("state", case)["prototype_layer.weight"].clone()
    built.before_step(Clock())
    return built


def tower_outputs(case: str) -> dict[str, Tensor]:
    names = ("img_emb", "report_emb", "patch_emb", "word_emb")
    return {name: group("in", case)[name].clone().requires_grad_() for name in names}


def pairs_of(case: str, outputs: dict[str, Tensor]) -> Pairs:
    stored, norm = group("in", case), functional.normalize
    places, convolutional = outputs["patch_emb"], case == "losses_cnn"
    uniform = places.new_full(places.shape[:2], 1 / places.shape[1])
    return Pairs(
        images=norm(outputs["img_emb"], dim=-1),
        reports=norm(outputs["report_emb"], dim=-1),
        places=norm(places, dim=-1),
        words=norm(outputs["word_emb"], dim=-1),
        place_weights=uniform if convolutional else token_weights(stored["attn_map"][:, :, 0, 1:].mean(dim=1)),
        word_weights=token_weights(stored["word_attn"]),
        padding=stored["pad"].bool(),
        norm_contexts=convolutional,
    )


@pytest.mark.parametrize("case", CASES)
def test_losses_gradients_prototypes_and_retrieval_are_equal(case: str) -> None:
    built, outputs, expected = method(case), tower_outputs(case), group("out", case)
    pairs = pairs_of(case, outputs)
    losses = built.losses(pairs)
    for theirs, ours in (("ita", "pair_loss"), ("cta", "token_loss"), ("proto", "prototype_loss")):
        assert_near_in_scale(losses[ours].mean(), expected[theirs])
        sources = {**outputs, "prototype_layer.weight": built.prototypes}
        for name, gradient in group("grad", case).items():
            if name.startswith(f"{theirs}/"):
                source = sources[name.removeprefix(f"{theirs}/")]
                (found,) = torch.autograd.grad(losses[ours].mean(), source, retain_graph=True, materialize_grads=True)
                assert_near_in_scale(found, gradient)
    assert_near_in_scale(sum(loss.mean() for loss in losses.values()), expected["total"])  # type: ignore[arg-type]
    assert_near_in_scale(built.prototypes.detach(), expected["prototype_rows"])
    for name, among in (("acc1", 1), ("acc5", 5)):
        assert_near_in_scale(100 * retrieval(pairs.images, pairs.reports, among=among).mean()[None], expected[name])


@pytest.mark.parametrize("case", ["sinkhorn", "sinkhorn_500"])
def test_balanced_assignments_are_equal(case: str) -> None:
    found = assignments(group("in", case)["scores"], epsilon=0.05, rounds=3)
    assert_near_in_scale(found, group("out", case)["q"])


@pytest.mark.parametrize("case", ["head_global", "head_local"])
def test_projections_are_equal(case: str) -> None:
    stored, expected = group("in", case), group("out", case)
    head = Projection(12, hidden=20, width=8).eval()
    state = {name.removeprefix("head."): tensor for name, tensor in group("state", case).items()}
    shapes = head.layers.state_dict()
    head.layers.load_state_dict({name: tensor.reshape(shapes[name].shape) for name, tensor in state.items()})
    flat, weights = stored["x"].flatten(0, -2), stored["r"].flatten(0, -2)
    found = head.layers(flat)
    assert_near_in_scale(found, expected["y"].flatten(0, -2))
    (found * weights).sum().backward()
    for name, gradient in group("grad", case).items():
        own = head.layers.get_parameter(name.removeprefix("head.")).grad
        assert own is not None
        assert_near_in_scale(own, gradient.reshape(own.shape))
    assert_near_in_scale(head.train().layers(flat), expected["y_train"].flatten(0, -2))
    assert_near_in_scale(head.layers[-1].get_buffer("running_var"), expected["running_var_after_train"])


def test_pieces_are_joined_as_published_if_legacy_says_so() -> None:
    stored, expected = group("in", "aggregate"), group("out", "aggregate")
    pads, starts = stored["ids"] == 0, ~torch.isin(stored["ids"], torch.tensor([5, 6, 9, 13]))
    word_of = (starts.cumsum(dim=1) - 1).masked_fill(pads, -1)
    attention = functional.pad(stored["attn"], (1, 0))
    words = join_pieces(stored["emb"], attention, word_of, legacy=True)
    assert_near_in_scale(words.words, expected["words_emb"][:, 1:])
    assert_near_in_scale(words.report, expected["words_emb"][:, 0])
    assert_near_in_scale(words.importance, expected["words_attn"][:, 1:])


def test_the_image_tower_its_attention_and_gradients_are_equal() -> None:
    images, expected = group("in", "vit")["x"], group("out", "vit")
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=8).build(image_px=32, channels=3)
    assert isinstance(backbone, ViT)
    state = {
        name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: tensor
        for name, tensor in group("state", "vit").items()
    }
    backbone.load_state_dict(state)
    found = read_places(backbone, images)
    tokens = torch.cat([found.image[:, None], found.places], dim=1)
    assert_near_in_scale(tokens, expected["tokens"])
    assert found.importance is not None
    assert_near_in_scale(found.importance, expected["attn_map"][:, :, 0, 1:].mean(dim=1))
    entering = backbone.blocks[0](
        torch.cat([backbone.cls_token.expand(2, -1, -1) + backbone.pos_embed[:, :1], backbone.embed(images)], dim=1)
    )
    assert_near_in_scale(attention_map(backbone.blocks[1], entering), expected["attn_map"])
    (tokens**3).mean().backward()  # type: ignore[no-untyped-call]
    for name, gradient in group("grad", "vit").items():
        own = backbone.get_parameter(name).grad
        assert own is not None
        assert_near_in_scale(own, gradient)
