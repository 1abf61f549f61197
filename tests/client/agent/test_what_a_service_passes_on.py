"""What an agent's parts are told of the site: whether it is a demonstration, and which GPUs it gives."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedward_client.agent.approvals import Approvals
from fedward_client.agent.home import AgentHome
from fedward_client.agent.key import SiteKey
from fedward_client.agent.machine import gpu_names, visible_devices
from fedward_client.agent.service import AgentService
from fedward_client.jobs.slot import SLOT
from fedward_models.frozen import folders_with

DEMONSTRATION = "d" * 64


@pytest.mark.parametrize(("scheme", "allowed"), [("http://", True), ("https://", False)])
def test_what_a_demonstration_approved_runs_nowhere_where_the_coordinator_is_reached_by_tls(
    scheme: str, allowed: bool, home: AgentHome
) -> None:
    Approvals(home.approvals, SiteKey.read(home.key)).approve(DEMONSTRATION, simulated=True)
    home.membership.write_text(home.membership.read_text().replace("http://", scheme))
    permissions = AgentService(home)._permissions
    assert permissions.approves(DEMONSTRATION) is allowed
    assert permissions.approves("a" * 64)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A machine with two of them; what the driver's program was asked."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="A100\nT4\n")

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)
    return asked


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("allowed", "names"), [("all", ("A100", "T4")), ((1,), ("T4",)), ((2,), ()), ((), ())])
def test_of_the_gpus_those_are_told_that_the_policy_gives(allowed: Any, names: tuple[str, ...]) -> None:
    assert gpu_names(allowed) == names


def test_a_driver_is_not_asked_where_no_gpu_is_given(two_gpus: list[list[str]]) -> None:
    gpu_names(())
    assert two_gpus == []


@pytest.mark.parametrize("fault", [FileNotFoundError(), subprocess.TimeoutExpired("nvidia-smi", 10.0)])
def test_a_driver_that_does_not_answer_has_no_gpu(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", fail)
    assert gpu_names("all") == ()


BY_NUMBER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as nvidia-smi counts them, by whose numbers the policy names them


@pytest.mark.parametrize(
    ("gpus", "seen"),
    [
        ("all", {}),
        ("[1, 3]", {**BY_NUMBER, "CUDA_VISIBLE_DEVICES": "1,3"}),
        ("[]", {**BY_NUMBER, "CUDA_VISIBLE_DEVICES": ""}),
    ],
)
def test_orders_and_jobs_see_the_gpus_that_the_policy_gives(gpus: str, seen: dict[str, str], home: AgentHome) -> None:
    home.policy.write_text(f"gpus: {gpus}\n")
    service = AgentService(home)
    assert seen == visible_devices(service._policy.gpus)
    environment = {**seen, **folders_with(home.weights)}
    assert service._agent()._environment == environment
    assert service._jobs()._environment == {**environment, SLOT: str(home.slot)}


def test_client_apps_are_told_where_consents_and_the_slot_lie(home: AgentHome) -> None:
    """Without the folder of consents every run of an approved app would be let work."""
    settings = AgentService(home)._agent()._settings
    assert (settings.site, settings.consents, settings.slot) == ("north", home.consents, home.slot)
    assert settings.data_of("chest") == Path(home.catalogue / "chest")
