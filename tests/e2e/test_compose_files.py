"""What the files of the container network promise, read without an engine."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BASE = ROOT / "docker-compose.yml"
OVERLAYS = sorted((ROOT / "deploy").glob("compose.*.yml"))
FILES = sorted([BASE, *OVERLAYS, ROOT / "deploy" / "Dockerfile", *(ROOT / "deploy" / "compose").glob("*")])
SCRIPTS = sorted((ROOT / "deploy" / "compose").glob("*.sh"))
HOSPITALS = ("north", "river", "hill")
DONE = "service_completed_successfully"


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def services() -> dict[str, dict[str, Any]]:
    """Every service of the network and of its overlays; settings that an overlay adds are left out."""
    named = {
        name: service for path in OVERLAYS for name, service in read(path)["services"].items() if "image" in service
    }
    return {**read(BASE)["services"], **named}


def ending() -> set[str]:
    """Services that do one thing and end: others wait for it, or a person starts them."""
    files = [read(path)["services"] for path in (BASE, *OVERLAYS)]
    awaited = [service.get("depends_on", {}) for file in files for service in file.values()]
    waited_for = {name for needs in awaited for name, need in needs.items() if need["condition"] == DONE}
    return waited_for | {name for name, service in services().items() if "profiles" in service}


def volumes(service: dict[str, Any]) -> set[str]:
    return {mount.split(":")[0] for mount in service.get("volumes", []) if not mount.startswith(".")}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_an_overlay_changes_services_that_there_are(overlay: Path) -> None:
    changed = {name for name, service in read(overlay)["services"].items() if "image" not in service}
    assert changed
    assert changed <= set(read(BASE)["services"])


def test_every_service_that_stays_tells_its_health() -> None:
    staying = services().keys() - ending()
    assert staying == {"database", "coordinator", *HOSPITALS}
    assert not [name for name in staying if not services()[name].get("healthcheck", {}).get("test")]


@pytest.mark.parametrize("name", sorted(services()))
def test_a_container_can_write_its_volumes_and_nothing_else(name: str) -> None:
    service = services()[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user") != "root"
    assert "privileged" not in service


@pytest.mark.parametrize("pair", [*combinations(HOSPITALS, 2)], ids="-".join)
def test_two_hospitals_share_no_network_and_no_volume(pair: tuple[str, str]) -> None:
    one, other = (services()[name] for name in pair)
    assert not set(one["networks"]) & set(other["networks"])
    assert not volumes(one) & volumes(other)


@pytest.mark.parametrize("name", HOSPITALS)
def test_a_hospital_reaches_the_coordinator_and_nobody_else(name: str) -> None:
    assert services()[name]["networks"] == [name]
    assert read(BASE)["networks"][name]["internal"]
    assert {other for other, service in services().items() if name in service.get("networks", [])} == {
        name,
        "coordinator",
    }


@pytest.mark.parametrize("name", HOSPITALS)
def test_a_hospitals_folders_are_its_own(name: str) -> None:
    private = {f"{name}-home", f"{name}-data"}
    assert {other for other, service in services().items() if private & volumes(service)} == {name}


def test_the_keys_of_administrator_and_database_never_reach_a_hospital() -> None:
    secret = {"administrator", "database-password", "certificates"}
    for path in (BASE, *OVERLAYS):
        assert not [name for name in HOSPITALS if secret & volumes(read(path)["services"][name])]


def test_every_image_is_pinned_by_a_tag() -> None:
    images = {service["image"] for service in services().values()}
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    images |= {image for image, _ in stages} - {stage for _, stage in stages}
    assert images
    assert not [image for image in images if not re.fullmatch(r"[\w./-]+:[\w.-]+", image) or image.endswith(":latest")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_holds_a_secret_or_the_address_of_an_index(path: Path) -> None:
    text = path.read_text()
    addresses = re.findall(r"https?://([^\s\"'/:]+)", text)
    assert set(addresses) <= {"coordinator", "127.0.0.1"}
    assert not re.search(r"PASSWORD\s*[:=]|\bf[wi]_\w{8}|-----BEGIN|PIP_\w+\s*[:=][^\S\n]*\S", text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_can_be_read_by_a_plain_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)


def test_every_mounted_script_is_there() -> None:
    text = "".join(path.read_text() for path in (BASE, *OVERLAYS, *SCRIPTS))
    mentioned = set(re.findall(r"/network/([\w.]+)", text))
    assert {"hospital.sh", "healthy_hospital.py"} <= mentioned
    assert not [name for name in mentioned if not (ROOT / "deploy" / "compose" / name).is_file()]


def test_the_builder_gets_what_the_images_are_made_of() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert {source for line in copies for source in line.split()} == allowed
    assert not [name for name in allowed if not (ROOT / name).exists()]


def printed_requirements(*extras: str) -> list[str]:
    command = [sys.executable, str(ROOT / "deploy" / "requirements.py"), *extras]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def with_all_that_they_need(lines: list[str]) -> set[str]:
    """Requirements and theirs, as far as they are installed here."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in lines]
    while waiting:
        wanted = waiting.pop()
        extras = wanted.extras or {""}
        if wanted.name.lower() in found or not any(applies(wanted, extra) for extra in extras):
            continue
        found.add(wanted.name.lower())
        needs = [Requirement(line) for line in requires(wanted.name) or []] if is_installed(wanted.name) else []
        waiting += [need for need in needs if any(applies(need, extra) for extra in extras)]
    return found


def applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


@pytest.mark.parametrize(("extras", "has_torch"), [(["server"], False), (["client", "models"], True)])
def test_the_node_has_torch_and_nothing_of_the_coordinator_needs_it(extras: list[str], has_torch: bool) -> None:
    needed = with_all_that_they_need(printed_requirements(*extras))
    assert {"pydantic", "flwr", "starlette"} <= needed
    assert ({"torch", "timm", "monai"} <= needed) == has_torch
    assert has_torch or not {"torch", "torchvision", "timm", "monai", "ray"} & needed


def test_the_coordinators_image_installs_the_requirements_of_the_server_and_no_others() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)$(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))
    assert "FROM base AS coordinator" in text
    assert re.findall(r"--requirement (\S+)", stages["coordinator"]) == ["/coordinator.txt"]
    assert "--requirement" not in stages["base"]
    assert "requirements.py server > /wheel/coordinator.txt" in stages["wheel"]
