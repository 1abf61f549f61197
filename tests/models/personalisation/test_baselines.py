"""The baselines: what each reduces to at its limits, and slow twins of those that correct or hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedward_core.arrays import Array, digest
from fedward_core.errors import SpecError
from fedward_core.partition import Role
from fedward_core.seeds import derive_seed
from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.personalisation.baseline_config import DittoConfig, LogitBiasConfig
from fedward_models.personalisation.ditto import PullToShared
from fedward_models.weights import arrays_of

Federate = Callable[..., Any]
PLAIN_SGD = {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.0}}
SCAFFOLD: dict[str, Any] = {"aggregate": "scaffold_mean", "local": PLAIN_SGD}
WITHOUT_NORMS = {"widths": (3,), "hidden": (), "norm": "none"}


def part(state: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def model_of(state: dict[str, Array]) -> dict[str, Array]:
    """The network itself, without what a baseline keeps beside it and without counters."""
    return {n: a for n, a in state.items() if n.startswith(("backbone.", "head.")) and a.dtype.kind == "f"}


def test_fedprox_without_strength_is_plain_averaging_bit_for_bit(federate: Federate) -> None:
    held = federate(local={"terms": [{"name": "proximal", "mu": 0.0}]}).run(3)
    assert held.digest == federate().run(3).digest


def test_scaffold_with_one_site_is_plain_sgd_bit_for_bit(federate: Federate) -> None:
    corrected = federate("scaffold", sites={"a": 8}, **SCAFFOLD).run(3)
    plain = federate(sites={"a": 8}, local=PLAIN_SGD).run(3)
    assert digest(model_of(corrected.weights)) == digest(model_of(plain.weights))
    assert np.abs(corrected.weights["variate.server"]).max() > 0


@pytest.mark.parametrize("steps", [1, 3])
def test_scaffold_agrees_with_its_slow_twin(federate: Federate, steps: int) -> None:
    """Algorithm 1 with option II, whole batches, in plain numpy over gradients that the network gives."""
    sites, lr, rounds, local = {"a": 4, "b": 3}, 0.1, 3, {**PLAIN_SGD, "epochs": steps}
    federation = federate("scaffold", sites=sites, network=WITHOUT_NORMS, **{**SCAFFOLD, "local": local})
    x = flat(federation.weights, federation.method)
    c = np.zeros_like(x)
    c_k = dict.fromkeys(sites, c)
    for round_ in range(rounds):
        federation.run(1)
        y, moved = {}, {}
        for site in sites:
            y[site] = x
            for _ in range(steps):
                y[site] = y[site] - lr * (gradient(federation, site, y[site]) + c - c_k[site])
            new = c_k[site] - c + (x - y[site]) / (steps * lr)
            moved[site], c_k[site] = new - c_k[site], new
        x = x + np.mean([y[site] - x for site in sites], axis=0)
        c = c + np.mean(list(moved.values()), axis=0)
        np.testing.assert_allclose(flat(federation.weights, federation.method), x, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(federation.weights["variate.server"], c, rtol=1e-3, atol=1e-4)
        assert round_ == 0 or np.abs(c_k["a"] - c_k["b"]).max() > 1e-3


def flat(state: dict[str, Array], method: Method) -> Array:
    return np.concatenate([state[name].ravel() for name, _ in method.named_parameters()])


def gradient(federation: Any, site: str, at: Array) -> Array:
    """The gradient over all images of a site."""
    method = federation.built()
    start = 0
    for parameter in method.parameters():
        values = at[start : start + parameter.numel()]
        parameter.data = torch.from_numpy(values.astype(np.float32)).view_as(parameter)
        start += parameter.numel()
    torch.autograd.backward(loss_of(method, site, federation.sites[site]))
    return np.concatenate([parameter.grad.numpy().ravel() for parameter in method.parameters()])


def images_of(site: str, size: int) -> tuple[Tensor, Tensor]:
    """What the federation's site trains on."""
    rng = torch.Generator().manual_seed(derive_seed(0, site))
    images = torch.randn(size, 1, 8, 8, generator=rng)
    return images, torch.randint(3, (size,), generator=rng)


def loss_of(method: Method, site: str, size: int) -> Tensor:
    images, labels = images_of(site, size)
    return cross_entropy(method.logits(images), labels)


def test_the_variate_of_the_server_is_the_mean_of_those_of_the_sites_that_contributed(federate: Federate) -> None:
    federation = federate("scaffold", rounds=6, **SCAFFOLD)
    for taking_part in (["east", "north"], ["north", "south"], ["east"], ["east", "north", "south"]):
        federation.run(1, taking_part=taking_part)
        known = [site for site in federation.sites if site in federation.bases]
        mean = np.mean([federation.personal(site)["variate.site"] for site in known], axis=0)
        np.testing.assert_allclose(federation.weights["variate.server"], mean, rtol=1e-4, atol=1e-5)


def test_the_variate_of_a_site_never_travels_once_trained(federate: Federate) -> None:
    federation = federate("scaffold", **SCAFFOLD).run(2)
    assert all("variate.site" not in update.shared for update in federation.received.values())
    assert np.abs(federation.weights["variate.site"]).max() == 0


@pytest.mark.parametrize(
    ("local", "aggregate", "message"),
    [
        ({"optimizer": "adamw"}, "scaffold_mean", "sgd with momentum 0"),
        ({"optimizer": {"name": "sgd", "momentum": 0.9}}, "scaffold_mean", "sgd with momentum 0"),
        ({"optimizer": {"name": "sgd", "momentum": 0, "peak_momentum": 0.9}}, "scaffold_mean", "sgd with momentum 0"),
        ({**PLAIN_SGD, "schedule": {"shape": "cosine"}}, "scaffold_mean", "constant, without warm-up"),
        ({**PLAIN_SGD, "schedule": {"warmup_rounds": 1}}, "scaffold_mean", "constant, without warm-up"),
        ({**PLAIN_SGD, "clip_norm": 1.0}, "scaffold_mean", "clip_norm: null"),
        ({**PLAIN_SGD, "layer_decay": 0.5}, "scaffold_mean", "layer_decay: 1"),
        ({**PLAIN_SGD, "precision": "mixed"}, "scaffold_mean", "precision: full"),
        (PLAIN_SGD, "weighted_mean", "aggregate: scaffold_mean"),
    ],
)
def test_scaffold_refuses_steps_that_it_could_not_trace(
    federate: Federate, local: dict[str, Any], aggregate: str, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        federate("scaffold", local=local, aggregate=aggregate)


def test_the_aggregator_of_scaffold_alone_has_nothing_to_fold(federate: Federate) -> None:
    with pytest.raises(ValidationError, match="folds what 'personalise: scaffold' sends"):
        federate(aggregate="scaffold_mean", local=PLAIN_SGD)


def test_dittos_shared_model_is_plain_averaging_bit_for_bit(federate: Federate) -> None:
    both, plain = federate("ditto").run(3), federate().run(3)
    assert digest(model_of(both.weights)) == digest(model_of(plain.weights))


def test_ditto_without_a_pull_trains_alone_bit_for_bit(federate: Federate) -> None:
    free, alone = federate({"name": "ditto", "pull": 0.0}).run(3), federate("local_only").run(3)
    for site in free.sites:
        personal = part(free.personal(site), "personal.")
        assert digest(model_of(personal)) == digest(model_of(alone.personal(site)))


def test_ditto_agrees_with_its_slow_twin(federate: Federate) -> None:
    """Algorithm 1 over one site with whole batches: the pull is to the shared model as it came, not as it left."""
    local, pull, lr = {**PLAIN_SGD, "epochs": 3}, 0.8, 0.1
    federation = federate({"name": "ditto", "pull": pull}, sites={"a": 4}, network=WITHOUT_NORMS, local=local)
    plain = federate(sites={"a": 4}, network=WITHOUT_NORMS, local=local)
    v = w = flat(plain.weights, plain.method)
    for _ in range(3):
        federation.run(1)
        came = w
        for _ in range(3):
            w = w - lr * gradient(plain, "a", w)
            v = v - lr * (gradient(plain, "a", v) + pull * (v - came))
        found = federation.personal("a")
        np.testing.assert_allclose(flat(found, plain.method), w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(flat(part(found, "personal."), plain.method), v, rtol=1e-4, atol=1e-5)


def test_a_strong_pull_holds_the_site_near_the_shared_model(federate: Federate) -> None:
    distances = []
    for pull in (0.0, 1.0, 5.0):
        federation = federate({"name": "ditto", "pull": pull}, network=WITHOUT_NORMS, local=PLAIN_SGD).run(4)
        state = federation.personal("north")
        shared, own = model_of(state), part(state, "personal.")
        distances.append(sum(float(np.square(own[name] - shared[name]).sum()) for name in shared))
    assert distances == sorted(distances, reverse=True)
    assert distances[2] < distances[0] / 2


def test_the_pull_is_half_lambda_times_the_squared_distance_number_by_number(federate: Federate) -> None:
    method = federate("ditto").built()
    own = method.get_submodule("personal")
    assert isinstance(own, Method)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(torch.randn_like(parameter))
    term = PullToShared(DittoConfig(pull=0.3), method)
    term.begin(own)
    assert term._start.keys() == dict(own.named_parameters()).keys()  # no copy of the site's model
    twin = 0.0
    for name, parameter in own.named_parameters():
        for w, v in zip(method.get_parameter(name).flatten().tolist(), parameter.flatten().tolist(), strict=True):
            twin += 0.3 / 2 * (v - w) ** 2
    loss = term.loss(own, Batch(images=torch.zeros(1, 1, 8, 8)), None)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(twin, rel=1e-4)


def test_ditto_sends_no_more_than_plain_averaging_and_evaluates_the_sites_own(federate: Federate) -> None:
    both, plain = federate("ditto").run(2), federate().run(2)
    assert both.received[1, "east"].shared.keys() == plain.received[1, "east"].shared.keys()
    state, evaluated = both.personal("east"), both.evaluated("east")
    assert digest(part(state, "personal.")) == digest(arrays_of(evaluated))


@pytest.mark.parametrize(
    "personalise", ["fedbn", "fedper", "fedrep", "ditto", {"name": "lg_fedavg", "private_layers": 1}]
)
def test_at_a_site_that_has_not_trained_what_stays_is_as_the_stage_began(federate: Federate, personalise: Any) -> None:
    federation = federate(personalise, rounds=4)
    start = {name: array.copy() for name, array in federation.weights.items()}
    federation.run(2, taking_part=["east", "south"])
    partition = federation.plan.partition(federation.stage.share_at(1))
    shared, private = partition.split(federation.personal("north"))
    assert digest(private) == digest(partition.split(start)[1])
    assert digest(shared) == digest(partition.split(federation.weights)[0]) != digest(partition.split(start)[0])


def test_fedrep_without_epochs_of_the_head_trains_the_backbone_alone(federate: Federate) -> None:
    federation = federate({"name": "fedrep", "head_epochs": 0})
    start = {name: array.copy() for name, array in federation.weights.items()}
    federation.run(3)
    for site in federation.sites:
        found = federation.personal(site)
        assert all(np.array_equal(found[name], start[name]) for name in ("head.weight", "head.bias"))
    assert not np.array_equal(
        federation.weights["backbone.stages.0.conv.weight"], start["backbone.stages.0.conv.weight"]
    )


def test_fedrep_trains_the_head_on_a_backbone_that_stands_still_and_then_the_other_way_round(
    federate: Federate,
) -> None:
    """Against a slow twin over one site: the two optimisers by hand, in the order of the paper."""
    federation = federate({"name": "fedrep", "head_epochs": 3}, sites={"a": 4}, network=WITHOUT_NORMS, local=PLAIN_SGD)
    twin = federation.built()
    head = [p for name, p in twin.named_parameters() if name.startswith("head.")]
    body = [p for name, p in twin.named_parameters() if not name.startswith("head.")]
    for trained, steps in ((head, 3), (body, 1)):
        for _ in range(steps):
            gradients = torch.autograd.grad(loss_of(twin, "a", 4), trained)
            for parameter, slope in zip(trained, gradients, strict=True):
                parameter.data -= 0.1 * slope
    federation.run(1)
    found = federation.personal("a")
    for name, array in arrays_of(twin).items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6)
    assert federation.received[0, "a"].num_steps == 4


def test_fedrep_shares_what_fedper_shares(federate: Federate) -> None:
    rep, per = (federate(name).run(1) for name in ("fedrep", "fedper"))
    assert rep.received[0, "east"].shared.keys() == per.received[0, "east"].shared.keys()
    assert rep.plan.partition(rep.stage.share_at(0)).role("head.weight") is Role.PRIVATE


def test_a_logit_bias_changes_nothing_but_the_bias_and_fits_the_labels_better(federate: Federate) -> None:
    federation = federate("logit_bias", start_from="previous", backbone=None, local={"epochs": 20, **PLAIN_SGD})
    start = {name: array.copy() for name, array in federation.weights.items()}
    federation.run(1)
    found = federation.personal("north")
    assert [name for name in start if not np.array_equal(found[name], start[name])] == ["head.bias"]
    assert federation.received[0, "north"].shared == {}
    losses = []
    for bias in (start["head.bias"], found["head.bias"]):
        method = federation.evaluated("north")
        method.get_parameter("head.bias").data = torch.from_numpy(bias.copy())
        losses.append(loss_of(method, "north", federation.sites["north"]).item())
    assert losses[1] < losses[0]


def test_a_logit_bias_from_scratch_or_without_a_classifier_is_refused(federate: Federate) -> None:
    with pytest.raises(ValidationError, match="start_from: previous"):
        federate("logit_bias")
    method = federate().built()
    del method.head
    with pytest.raises(SpecError, match="has none: choose a method with classes"):
        LogitBiasConfig().build().rules(method)
