"""Rates, decays and steps of Fed-MAE and Fed-BEiT against those of SSL-FL.

Origin: github.com/rui-yan/SSL-FL at 69c3388d5c9d081451f4aacd5455ba3c2da2b55b, code/util/FedAvg_utils.py,
code/util/lr_decay.py, code/util/lr_sched.py and code/util/optim_factory.py, on a ViT with three blocks of width 16 and
a client of five steps a round, 20 rounds; random weights and random gradients. Run with timm 0.3.2 and torch 2.15 on
CPU. Tolerance: 1e-9 relative for scales, decays and rates; 1e-6 absolute for parameters after three steps.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.spec import Local, Schedule
from fedward_models.backbones.beit_vit.config import BEiTViTConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.methods.beit.config import BEiTConfig
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock, StepOutput
from fedward_models.training.config import AdamWConfig
from fedward_models.training.optimizer import build_optimizer
from fedward_models.training.phase import Phase
from fedward_models.training.schedule import learning_rate
from fedward_models.training.trainer import Trainer

with safe_open(Path(__file__).with_name("ssl_fl_optim.safetensors"), framework="pt") as file:
    STORED = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    NAMES = {setting: json.loads(names) for setting, names in file.metadata().items()}

CONTRACT = Contract(classes=("a", "b", "c"), channels=3)
ROUNDS, STEPS = 20, 5
LOCAL = {
    "mae_pretrain": Local(
        optimizer=AdamWConfig(lr=0.01, betas=(0.9, 0.95)), schedule=Schedule(shape="cosine", warmup_rounds=4)
    ),
    "mae_finetune": Local(
        optimizer=AdamWConfig(lr=0.01),
        schedule=Schedule(shape="cosine", warmup_rounds=2, final_lr=1e-6),
        layer_decay=0.65,
    ),
    "beit_pretrain": Local(
        optimizer=AdamWConfig(lr=0.002), schedule=Schedule(shape="cosine_table", warmup_rounds=3, final_lr=1e-5)
    ),
    "beit_finetune": Local(
        optimizer=AdamWConfig(lr=0.008),
        schedule=Schedule(shape="cosine_table", warmup_rounds=2, final_lr=1e-6),
        layer_decay=0.65,
    ),
}


class GivenGradients(Supervised):
    """A classifier whose loss has the gradients that a batch brings, whatever its weights."""

    def training_step(self, batch: Batch, clock: Clock) -> StepOutput:
        parts = [(batch.drawn[name] * parameter).sum() for name, parameter in self.named_parameters()]
        return StepOutput(loss=torch.stack(parts).sum())


@pytest.mark.parametrize("setting", LOCAL)
def test_scales_and_decays_of_every_parameter_are_those_of_ssl_fl(setting: str) -> None:
    method = build(setting)
    parameters = dict(method.named_parameters())
    groups = build_optimizer(method, Phase(local=LOCAL[setting]).parameters(method), LOCAL[setting]).param_groups
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(group_of) == len(NAMES[setting])
    ours = [group_of[id(parameters[our_name(name, setting)])] for name in NAMES[setting]]
    for key in ("lr_scale", "weight_decay"):
        expected = STORED[f"out/{setting}/{key}"].numpy()
        np.testing.assert_allclose([group[key] for group in ours], expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("setting", LOCAL)
def test_rates_are_those_of_ssl_fl(setting: str) -> None:
    local = LOCAL[setting]
    assert isinstance(local.optimizer, AdamWConfig)
    points = STORED[f"in/{setting}/points"].tolist()
    rates = [learning_rate(local.schedule, peak=local.optimizer.lr, clock=clock_at(*point)) for point in points]
    np.testing.assert_allclose(rates, STORED[f"out/{setting}/lr"].numpy(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("setting", ["mae_finetune", "beit_finetune"])
def test_three_steps_lead_where_those_of_ssl_fl_lead(setting: str) -> None:
    method = build(setting)
    method.load_state_dict(below(f"state/{setting}/", setting))
    phase = Phase(local=LOCAL[setting])
    trainer = Trainer(method, phase, phase.parameters(method), torch.device("cpu"))
    for index, point in enumerate(STORED[f"in/{setting}/step_points"].tolist()):
        gradients = below(f"in/{setting}/grad{index}/", setting)
        trainer.step(Batch(images=torch.zeros(1), drawn=gradients), clock_at(*point), seed=0)
    for name, expected in below(f"out/{setting}/after/", setting).items():
        torch.testing.assert_close(method.state_dict()[name], expected, rtol=0, atol=1e-6)


def build(setting: str) -> Method:
    sizes = {"width": 16, "depth": 3, "heads": 2, "mlp_ratio": 2, "patch_px": 8}
    network = BEiTViTConfig.default(**sizes) if setting.startswith("beit") else ViTConfig.default(**sizes)
    backbone = network.build(image_px=16, channels=3)
    if setting.endswith("finetune"):
        return GivenGradients(SupervisedConfig(), backbone=backbone, contract=CONTRACT)
    mae = MAEConfig(decoder_width=8, decoder_depth=1, decoder_heads=2)
    config = BEiTConfig() if setting == "beit_pretrain" else mae
    method: Method = config.build(backbone=backbone, contract=CONTRACT)
    return method


def our_name(name: str, setting: str) -> str:
    above = {"lm_head.": "token_head.", "decoder_": "decoder.", "head.": "head."}
    if setting.endswith("pretrain"):
        mask_token = "decoder.mask_token" if setting == "mae_pretrain" else "mask_token"
        above |= {"norm.": "norm.", "mask_token": mask_token, "rel_pos_bias.": "backbone.shared_positions."}
    for theirs, ours in above.items():
        if name.startswith(theirs):
            return name.replace(theirs, ours, 1)
    return f"backbone.{name}"


def below(prefix: str, setting: str) -> dict[str, Tensor]:
    names = [name for name in STORED if name.startswith(prefix)]
    return {our_name(name.removeprefix(prefix), setting): STORED[name] for name in names}


def clock_at(round_: int, step: int) -> Clock:
    return Clock(round=round_, rounds=ROUNDS, step=step, steps=STEPS)
