"""From pre-training with BEiT to fine-tuning: what is taken, cloned, dropped and new (SSL-FL, Sec. 2.2 and 9)."""

import pytest
import torch
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError
from fedward_core.spec import Local, Schedule
from fedward_models.backbones.beit_vit.config import BEiTViTConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.methods.beit.beit import BEiT
from fedward_models.methods.beit.config import BEiTConfig
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock
from fedward_models.tokenizers.config import PatchCodebookConfig
from fedward_models.training.phase import Phase
from fedward_models.training.trainer import Trainer

COLOUR = Contract(classes=("normal", "pneumonia"), channels=3)
NETWORK = BEiTViTConfig(width=24, depth=3, heads=3, patch_px=8, drop_path=0.2)
SHARED = "backbone.shared_positions.relative_position_bias_table"
TABLES = tuple(f"backbone.blocks.{index}.attn.relative_position_bias_table" for index in range(3))


def pre_trained() -> BEiT:
    method = BEiTConfig(tokenizer=PatchCodebookConfig(vocabulary=16)).build(
        backbone=NETWORK.build(image_px=32, channels=3), contract=COLOUR
    )
    assert isinstance(method, BEiT)
    for parameter in method.parameters():
        parameter.data += torch.randn_like(parameter)
    return method


def classifier() -> Supervised:
    method = SupervisedConfig().build(backbone=NETWORK.build(image_px=32, channels=3), contract=COLOUR)
    assert isinstance(method, Supervised)
    return method


def test_only_the_head_and_the_norm_before_it_are_new() -> None:
    source, method = pre_trained(), classifier()
    inheritance = method.inherit(source.state_dict(), source)
    assert set(inheritance.new) == {
        "head.weight",
        "head.bias",
        "backbone.fc_norm.weight",
        "backbone.fc_norm.bias",
    }
    assert inheritance.cloned == TABLES
    assert set(inheritance.taken) | set(inheritance.cloned) | set(inheritance.new) == set(method.state_dict())
    assert set(inheritance.dropped) == {
        "mask_token",
        "norm.weight",
        "norm.bias",
        "token_head.weight",
        "token_head.bias",
    }
    assert all(torch.equal(method.state_dict()[name], source.state_dict()[name]) for name in inheritance.taken)


def test_every_block_has_an_equal_table_and_training_one_leaves_the_others() -> None:
    source, method = pre_trained(), classifier()
    method.inherit(source.state_dict(), source)
    table = source.state_dict()[SHARED]
    assert all(torch.equal(method.state_dict()[name], table) for name in TABLES)
    with torch.no_grad():
        method.get_parameter(TABLES[1]).add_(1)
    assert torch.equal(method.state_dict()[TABLES[0]], table)
    assert torch.equal(method.state_dict()[TABLES[2]], table)
    assert torch.equal(source.state_dict()[SHARED], table)


def test_tables_go_ways_of_their_own_in_fine_tuning() -> None:
    source, method = pre_trained(), classifier()
    method.inherit(source.state_dict(), source)
    torch.nn.init.normal_(method.head.weight)
    optimizer = torch.optim.AdamW(method.parameters(), lr=0.01)
    labels = torch.tensor([0, 1, 0])
    method.training_step(Batch(images=torch.randn(3, 3, 32, 32), labels=labels), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    first, second, third = (method.state_dict()[name] for name in TABLES)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


@pytest.mark.parametrize(
    ("lost", "expected"), [(SHARED, TABLES[0]), ("backbone.blocks.1.gamma_1", "backbone.blocks.1.gamma_1")]
)
def test_any_missing_entry_is_an_error(lost: str, expected: str) -> None:
    source = pre_trained()
    state = {name: tensor for name, tensor in source.state_dict().items() if name != lost}
    with pytest.raises(CheckpointError, match=f"expected '{expected}' .* found nothing"):
        classifier().inherit(state, source)


def test_another_architecture_is_an_error() -> None:
    source = pre_trained()
    network = ViTConfig(width=24, depth=3, heads=3, patch_px=8).build(image_px=32, channels=3)
    method = SupervisedConfig().build(backbone=network, contract=COLOUR)
    with pytest.raises(CheckpointError, match=r"expected 'backbone.pos_embed' .* found nothing"):
        method.inherit(source.state_dict(), source)


def test_a_second_supervised_stage_takes_all_tables_over() -> None:
    source, method = classifier(), classifier()
    inheritance = method.inherit(source.state_dict(), source)
    assert (inheritance.cloned, inheritance.new, inheritance.dropped) == ((), (), ())


def test_biases_and_norms_move_in_pre_training_with_the_first_step_at_a_rate() -> None:
    """The published loop left them at a rate of nothing (SSL-FL, Sec. 8, B1, and Sec. 9, check 13)."""
    method = pre_trained().eval()  # no block is skipped
    phase = Phase(local=Local(schedule=Schedule(shape="cosine_table", warmup_rounds=1)))
    trainer = Trainer(method, phase, phase.parameters(method), torch.device("cpu"))
    before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
    batch, clocks = Batch(images=torch.randn(4, 3, 32, 32)), [Clock(rounds=2, step=step, steps=3) for step in (0, 1)]
    trainer.step(batch, clocks[0], seed=0)
    assert all(same(method, name, before[name]) for name in before)
    trainer.step(batch, clocks[1], seed=1)
    spared = [name for name in before if before[name].ndim == 1 or name.endswith("bias")]
    assert {"norm.weight", "backbone.blocks.0.gamma_1", "backbone.blocks.0.attn.q_bias"} <= set(spared)
    assert not [name for name in spared if same(method, name, before[name])]


def same(method: BEiT, name: str, before: Tensor) -> bool:
    return torch.equal(method.get_parameter(name), before)
