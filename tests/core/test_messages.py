"""What crosses a boundary as JSON comes back as it was: events, orders, replies, plans, manifests, figures."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from fedward_core.arrays import Array
from fedward_core.cards import Contract, DatasetCard, Split
from fedward_core.channel_cut import Cut
from fedward_core.config import Frozen
from fedward_core.events import Event, EventKind
from fedward_core.manifest import Entry, Kind, Manifest
from fedward_core.metric import Metric
from fedward_core.order import Base, Failure, Order, Reply, Work
from fedward_core.partition import Role, Rule
from fedward_core.plan import StagePlan

MANIFEST = Manifest(
    entries=(
        Entry(name="w", shape=(4, 3), dtype="<f4", kind=Kind.PARAMETER),
        Entry(name="mean", shape=(), dtype="<f4", kind=Kind.BUFFER),
        Entry(name="steps", shape=(), dtype="<i8", kind=Kind.COUNTER),
    )
)
RULES = (
    Rule(pattern="w", role=Role.PRIVATE, cuts=(Cut(channels=2, dims=(0,), unit=2), Cut(channels=3, dims=(1,)))),
    Rule(pattern=r".*\.?", role=Role.SHARED),
)
PLAN = StagePlan(manifest=MANIFEST, rules=RULES, contract=Contract(classes=("a", "b")), notes=("head: new",))
CARD = DatasetCard(
    site="north",
    dataset="x",
    contract=PLAN.contract,
    num_images={Split.TRAIN: 1, Split.TEST: 2},
    num_patients={Split.TRAIN: 1},
    class_counts={Split.TRAIN: (1, 0)},
    digest="0" * 64,
)
MESSAGES: list[Frozen] = [
    Event(kind=EventKind.EVALUATED, time_s=1.5, stage="s", round=2, site="north", facts={"loss": 0.1, "sites": ["a"]}),
    Event(kind=EventKind.RUN_STARTED, time_s=0.0),
    Order(run="r", attempt=2, work=Work.TRAIN, stage=1, round=3, parent="p", base=Base(round=2, parent="o"), plan=PLAN),
    Order(run="r", work=Work.DESCRIBE),
    Reply(
        site="north",
        work=Work.EVALUATE,
        round=3,
        parent="p",
        num_examples=5,
        num_steps=2,
        metrics={"loss": 0.25},
        evaluation={"auroc": Metric(value=0.5, n=3, low=0.1, high=0.9), "dice": Metric(value=None, n=0)},
        card=CARD,
    ),
    Reply(site="north", work=Work.TRAIN, failure=Failure.DIVERGED),
    PLAN,
    MANIFEST,
    CARD,
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_survives_json(message: Frozen) -> None:
    assert type(message).model_validate_json(message.model_dump_json()) == message


@pytest.mark.parametrize("message", MESSAGES)
def test_an_unknown_key_is_refused(message: Frozen) -> None:
    values = {**message.model_dump(mode="json"), "surprise": 1}
    with pytest.raises(ValidationError, match="unknown key 'surprise'"):
        type(message).model_validate(values)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_figure_that_is_not_finite_cannot_come_in_by_json(value: str) -> None:
    with pytest.raises(ValidationError):
        Reply.model_validate_json(f'{{"site": "north", "work": "train", "metrics": {{"loss": {value}}}}}')


@pytest.mark.parametrize("name", ["", "=1+2", "a\nb", "a\0", "a\x85b", "a\u2028b", "x" * 301])
@pytest.mark.parametrize("where", ["metrics", "evaluation"])
def test_a_figure_whose_name_would_do_harm_in_a_table_is_refused(where: str, name: str) -> None:
    value: Any = 0.5 if where == "metrics" else {"value": 0.5, "n": 3}
    with pytest.raises(ValidationError):
        Reply.model_validate({"site": "north", "work": "train", where: {name: value}})
    assert Reply.model_validate({"site": "north", "work": "train", where: {"recall/Röntgen 2 (a)": value}})


def test_no_site_tells_figures_without_end() -> None:
    figures = {f"f{number}": 0.5 for number in range(10_001)}
    with pytest.raises(ValidationError):
        Reply(site="north", work=Work.TRAIN, metrics=figures)


def test_a_plan_has_a_digest_that_depends_on_all_of_it() -> None:
    changes: list[dict[str, Any]] = [
        {"rules": RULES[1:]},
        {"notes": ()},
        {"manifest": Manifest(entries=MANIFEST.entries[:1])},
        {"contract": Contract(classes=("b", "a"))},
    ]
    digests = {PLAN.digest(), *(PLAN.model_copy(update=change).digest() for change in changes)}
    assert len(digests) == 5
    assert StagePlan.model_validate_json(PLAN.model_dump_json()).digest() == PLAN.digest()


def test_a_plan_makes_its_partition() -> None:
    shared = PLAN.partition(Fraction(1, 2)).shared_manifest
    assert [(entry.name, entry.shape) for entry in shared.entries] == [("w", (2, 1)), ("mean", ())]


def test_a_manifest_is_read_off_arrays() -> None:
    arrays: dict[str, Array] = {
        "w": np.zeros((2, 3), np.float32),
        "mean": np.zeros(2),
        "steps": np.array(1),
        "on": np.array(True),
    }
    manifest = Manifest.of(arrays, parameters=frozenset({"w"}))
    assert [(e.name, e.shape, e.dtype, e.kind) for e in manifest.entries] == [
        ("w", (2, 3), "<f4", Kind.PARAMETER),
        ("mean", (2,), "<f8", Kind.BUFFER),
        ("steps", (), "<i8", Kind.COUNTER),
        ("on", (), "|b1", Kind.COUNTER),
    ]
    assert Manifest.of(arrays).names(Kind.PARAMETER) == ("w", "mean")
    assert manifest.names(Kind.BUFFER, Kind.PARAMETER) == ("w", "mean")
    assert manifest.names() == tuple(arrays)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric(value=0.8124, n=225, low=0.7744, high=0.8461), "0.812 [0.774, 0.846] n=225"),
        (Metric(value=0.5, n=3), "0.500 n=3"),
        (Metric(value=0.5, n=3, low=0.1), "0.500 n=3"),
        (Metric(value=None, n=7), "- n=7"),
    ],
)
def test_a_figure_is_never_shown_without_its_n(metric: Metric, text: str) -> None:
    assert str(metric) == text


def test_a_negative_n_is_refused() -> None:
    with pytest.raises(ValidationError):
        Metric(value=0.5, n=-1)
