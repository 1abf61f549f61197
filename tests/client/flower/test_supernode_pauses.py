"""Shorter pauses in the SuperNode's main loop. These hold for the pinned version."""

import ast
import inspect
import time
from types import ModuleType

import pytest
from flwr.superlink.grid import http_grid
from flwr.supernode import start_client_internal
from flwr.supernode.runtime import run_clientapp

from fedward_client.flower.pulling import PAUSES
from fedward_client.flower.supernode import IDLE_S, BriskClock
from fedward_client.pace import Pace


def test_flowers_main_loop_uses_of_time_only_sleep_and_sleeps_longest_when_idle() -> None:
    tree = ast.parse(inspect.getsource(start_client_internal))
    uses = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time"
    ]
    assert {use.attr for use in uses} == {"sleep"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.func in uses]
    seconds = sorted(ast.literal_eval(call.args[0]) for call in calls)
    assert seconds == [0.5, 0.5, IDLE_S]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (start_client_internal, "pull_objects"),
        (run_clientapp, "pull_and_inflate_object_from_tree"),
        (http_grid, "pull_objects"),
    ],
)
def test_flower_pulls_pieces_by_functions_that_take_other_pauses(module: ModuleType, name: str) -> None:
    assert f" {name}(" in inspect.getsource(module)
    assert inspect.signature(vars(module)[name]).parameters.keys() >= PAUSES.keys()


def test_pauses_are_short_while_a_message_is_at_work_and_grow_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept, waits = [0.0], list[float](), list[float]()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    clock = BriskClock(Pace(brisk_s=0.05, idle_s=1.0), lambda: waits.append(now[0]))
    now[0] = 61.0
    for seconds, later in ((3, 0.0), (0.5, 0.2), (3, 4.8), (3, 5.0), (3, 0.0)):
        clock.sleep(seconds)
        now[0] += later
    assert slept == pytest.approx([1.0, 0.05, 0.05, 0.5, 1.0])
    assert waits == [61.0]
