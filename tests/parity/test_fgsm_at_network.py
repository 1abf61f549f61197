"""PreActResNet and its learning rates compute what the published code computes.

Origin: locuslab/fast_adversarial, commit 54f728755e71 (CIFAR10/preact_resnet.py, train_fgsm.py: ``wong``), and
tml-epfl/understanding-fast-adv-training, commit ceed49440bfc (models.py, utils.py: ``tml``), on torch 2.15.0, CPU,
float32. Small networks: width 4, seeds 61 and 63. Full networks: weights and image follow the rule of ``hash_filled``.
``tml`` has its first convolution and norm in its state twice, under two names, and the second one counts.
Tolerance: 1e-5 absolute; full networks 1e-4 of the largest logit; rates 1e-12.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published import assert_near
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fedward_core.spec import Schedule
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.backbones.preact_resnet.preact_resnet import PreActResNet
from fedward_models.step import Clock
from fedward_models.training.config import SGDConfig
from fedward_models.training.optimizer import Trained, set_rate, sgd
from fedward_models.training.schedule import learning_rate

REFERENCE = load_file(Path(__file__).with_name("fgsm_at_network.safetensors"))
MEAN = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
STD = torch.tensor([0.2471, 0.2435, 0.2616])[:, None, None]
FINAL_NORM = {"wong": True, "tml": False}
SECOND_NAMES = {
    "model_preact_hl1.1.weight": "conv1.weight",
    **{f"model_preact_hl1.2.{p}": f"layer1.0.bn1.{p}" for p in ("weight", "bias", "running_mean", "running_var")},
}

each = pytest.mark.parametrize("repository", FINAL_NORM)


class Network(nn.Module):
    """Our backbone with the published classifier."""

    def __init__(self, repository: str, *, width: int) -> None:
        super().__init__()
        config = PreActResNetConfig(width=width, final_norm=FINAL_NORM[repository])
        self.backbone: PreActResNet = config.build(image_px=32, channels=3)
        self.linear = nn.Linear(self.backbone.num_features, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.backbone(images))
        return logits


def our_name(name: str) -> str:
    return name if name.startswith("linear.") else f"backbone.{name}"


def small(repository: str) -> tuple[Network, Tensor, Tensor]:
    """The network with the stored weights, the images as it takes them, and the labels."""
    network, case = Network(repository, width=4), f"net_{repository}"
    start = f"state/{case}/"
    network.load_state_dict({our_name(k.removeprefix(start)): v for k, v in REFERENCE.items() if k.startswith(start)})
    images = REFERENCE[f"in/{case}/x_uint8"].float() / 255
    return network, (images - MEAN) / STD if repository == "wong" else images, REFERENCE[f"in/{case}/y"]


@each
@pytest.mark.parametrize("training", [False, True])
def test_logits_are_equal(repository: str, training: bool) -> None:
    network, images, _ = small(repository)
    name = "logits_train" if training else "logits"
    assert_near(network.train(training)(images), REFERENCE[f"out/net_{repository}/{name}"])


@each
def test_gradients_are_equal(repository: str) -> None:
    network, images, labels = small(repository)
    functional.cross_entropy(network.eval()(images), labels).backward()  # type: ignore[no-untyped-call]
    start = f"grad/net_{repository}/"
    gradients = {name.removeprefix(start): g for name, g in REFERENCE.items() if name.startswith(start)}
    assert len(gradients) == 3
    for name, expected in gradients.items():
        found = network.get_parameter(our_name(name)).grad
        assert found is not None
        assert_near(found, expected)


@pytest.mark.slow
@each
def test_the_full_network_is_equal(
    repository: str, hash_filled: Callable[..., tuple[dict[str, Tensor], Tensor]]
) -> None:
    network = Network(repository, width=64).eval()
    shapes = {k.removeprefix("backbone."): v.shape for k, v in network.state_dict().items() if v.is_floating_point()}
    second_names = SECOND_NAMES if repository == "tml" else {}
    state, images = hash_filled({**shapes, **{name: shapes[own] for name, own in second_names.items()}}, (2, 3, 32, 32))
    state |= {own: state.pop(name) for name, own in second_names.items()}
    network.load_state_dict({our_name(name): tensor for name, tensor in state.items()}, strict=False)
    expected = REFERENCE[f"out/full_{repository}/logits"]
    with torch.no_grad():
        assert_near(network(images), expected, 1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "schedule"), [("tml_cyclic", Schedule(shape="cyclic")), ("tml_piecewise", Schedule(shape="piecewise"))]
)
def test_rates_over_epochs_are_equal(name: str, schedule: Schedule) -> None:
    for time, expected in zip(
        REFERENCE["in/schedules/t"].tolist(), REFERENCE[f"out/schedules/{name}"].tolist(), strict=True
    ):
        clock = Clock(round=int(time), rounds=30, step=round(10 * (time % 1)), steps=10)
        assert learning_rate(schedule, peak=0.2, clock=clock) == pytest.approx(expected, abs=1e-12)


def test_rates_over_steps_are_equal() -> None:
    for step, expected in enumerate(REFERENCE["out/schedules/wong_lr"].tolist()):
        clock = Clock(rounds=1, step=step, steps=10)
        found = learning_rate(Schedule(shape="cyclic", peak_at=0.5), peak=0.2, clock=clock)
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_momentum_of_every_step_is_equal() -> None:
    optimizer = sgd(
        SGDConfig(lr=0.2, momentum=0.9, peak_momentum=0.8), [Trained(parameter=nn.Parameter(torch.ones(1)))]
    )
    rates, momenta = (REFERENCE[f"out/schedules/wong_{name}"].tolist() for name in ("lr", "momentum"))
    for rate, momentum in zip(rates, momenta, strict=True):
        set_rate(optimizer, rate)
        assert optimizer.param_groups[0]["momentum"] == pytest.approx(momentum, abs=1e-12)
