"""The helper that starts client apps."""

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.runtime import run_clientapp
from waiting import wait_until

from fedward_client.flower import warm_helper
from fedward_client.flower.app_settings import SETTINGS, AppSettings
from fedward_client.flower.quiet_errors import keep_text_here
from fedward_client.flower.warm_helper import WarmHelper
from fedward_core.refusal import REFUSED, Ground, Refusal
from fedward_core.spec import Spec
from fedward_models.data import generate

STAGE = {"name": "only", "method": "rehearsal", "rounds": 1}
REHEARSAL = Spec.parse({"name": "drill", "dataset": {"name": "none"}, "stages": [STAGE]})


def test_a_helper_that_was_killed_is_replaced_and_none_is_left_in_the_end(tmp_path: Path) -> None:
    settings = AppSettings(site="north", data=tmp_path, private=tmp_path)
    helper = WarmHelper(settings, home=tmp_path)
    first = helper.pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: "Z" in state_of(first))
    helper.start("127.0.0.1:1", "token", "a" * 64, tmp_path / "1.json")
    second = helper.pid
    assert second != first
    assert state_of(second)
    helper.close()
    assert not state_of(first)
    assert not state_of(second)


def test_a_helper_that_dies_as_it_is_spoken_to_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = WarmHelper(AppSettings(site="north", data=tmp_path, private=tmp_path), home=tmp_path)
    os.kill(helper.pid, signal.SIGKILL)
    wait_until(lambda: "Z" in state_of(helper.pid))
    first = helper.pid
    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "poll", lambda _: None)  # nobody has noticed yet
        helper.prepare(REHEARSAL)
        helper.start("127.0.0.1:1", "token", "a" * 64, tmp_path / "1.json")
    assert helper.pid != first
    assert state_of(helper.pid)
    helper.close()


def test_a_helper_that_replaces_another_is_not_told_to_load_what_that_one_may_have_died_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []
    helper = WarmHelper(AppSettings(site="north", data=tmp_path, private=tmp_path), home=tmp_path)

    def note(_: object, order: dict[str, str]) -> bool:
        told.append(order)
        return True

    monkeypatch.setattr(warm_helper, "_write", note)
    helper.prepare(REHEARSAL)
    os.kill(helper.pid, signal.SIGKILL)
    wait_until(lambda: "Z" in state_of(helper.pid))
    helper.start("127.0.0.1:1", "token", "a" * 64, tmp_path / "1.json")
    assert ["spec" in order for order in told] == [True, False]
    helper.close()


def test_no_text_of_flowers_own_errors_leaves_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Message] = []
    monkeypatch.setattr(run_clientapp, "push_message", lambda _, message, __: sent.append(message))
    monkeypatch.setattr(TaskIdentity, "_task_id", 1)
    monkeypatch.setattr(TaskIdentity, "_run_id", 1)
    monkeypatch.setattr(TaskIdentity, "_node_id", 1)
    keep_text_here(run_clientapp, "north")
    order = Message(content=RecordDict(), dst_node_id=1, message_type="query")
    refusal = Refusal(site="north", ground=Ground.NO_CONSENT).model_dump_json()
    full = Error(code=2, reason="<class 'OSError'>:<'[Errno 28] No space left on device: '/srv/ward''>")
    for error in (full, Error(code=REFUSED, reason=refusal)):
        vars(run_clientapp)["push_message"](None, Message(error, reply_to=order), None)
    grounds = [Refusal.model_validate_json(message.error.reason or "").ground for message in sent]
    assert grounds == [Ground.APP_FAILED, Ground.NO_CONSENT]
    assert "push_message(client, reply_message, context)" in inspect.getsource(run_clientapp)


def test_no_accelerator_is_touched_by_what_client_apps_are_forked_from(tmp_path: Path) -> None:
    """A fork of a process that has initialised CUDA cannot use it."""
    generate(tmp_path, sites=1, images_per_site=20, image_px=16, seed=1)
    site = next(tmp_path.glob("*.npz")).stem
    stage = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": 1}
    spec = Spec.parse({"name": "toy", "dataset": {"name": "simulated", "image_px": 16}, "stages": [stage]})
    code = (
        "import sys, torch; from fedward_core.spec import Spec;"
        "touched = lambda *_, **__: sys.exit('an accelerator was touched');"
        "[setattr(torch.cuda, name, touched) for name in ('is_available', 'device_count', 'init', '_lazy_init')];"
        "from fedward_client.flower import warm_helper; warm_helper.warm_up();"
        "warm_helper._prepare(Spec.model_validate_json(sys.argv[1])); print('prepared');"
        "torch.cuda.is_available()"  # which would be seen
    )
    settings = AppSettings(site=site, data=tmp_path, private=tmp_path)
    command = [sys.executable, "-c", code, spec.model_dump_json()]
    environment = {**os.environ, SETTINGS: settings.model_dump_json()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("prepared\n", "an accelerator was touched\n")


def state_of(pid: int) -> str:
    """The letter that the kernel gives a process's state; empty when there is none."""
    path = Path(f"/proc/{pid}/stat")
    return path.read_text().rsplit(")", 1)[1].split()[0] if path.exists() else ""
