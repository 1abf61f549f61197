"""Who may do what, and the one shape of every error."""

import json
import re
import subprocess
import sys
from typing import Any

import httpx
import pytest

from fedward_server.api.app import create_app
from fedward_server.errors import ConflictError
from fedward_server.home import Home

READER, RESEARCHER, ADMIN, AGENT = "reader", "researcher", "admin", "agent"
ROUTES = [
    ("GET", "/runs", READER),
    ("GET", "/runs/none", READER),
    ("GET", "/runs/none/events", READER),
    ("GET", "/runs/none/events/stream", READER),
    ("GET", "/runs/none/metrics", READER),
    ("GET", "/runs/none/metrics.csv", READER),
    ("GET", "/runs/none/artifacts/download", READER),
    ("GET", "/studies", READER),
    ("GET", "/studies/none", READER),
    ("POST", "/runs", RESEARCHER),
    ("POST", "/runs/none/stop", RESEARCHER),
    ("POST", "/runs/none/pause", RESEARCHER),
    ("POST", "/runs/none/resume", RESEARCHER),
    ("POST", "/studies", ADMIN),
    ("POST", "/keys", ADMIN),
    ("GET", "/keys", ADMIN),
    ("DELETE", "/keys/none", ADMIN),
    ("GET", "/sites", READER),
    ("GET", "/sites/none", READER),
    ("GET", "/datasets", READER),
    ("POST", "/sites/invitations", ADMIN),
    ("DELETE", "/sites/none", ADMIN),
    ("GET", "/weights", READER),
    ("PUT", "/weights/none", RESEARCHER),
    ("GET", "/weights/none", AGENT),
    ("DELETE", "/weights/none", ADMIN),
]
OF_AGENTS = [("POST", "/fleet/heartbeats"), ("PUT", "/fleet/cards"), ("POST", "/fleet/answers")]
OF_ANYBODY = {("GET", "/api/v1/health"), ("POST", "/api/v1/fleet/enrolments")}


@pytest.mark.parametrize(("method", "path", "needed"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])
def test_a_route_is_open_from_its_role_on_and_closed_before(
    method: str, path: str, needed: str, shared_coordinator: Any
) -> None:
    roles = (AGENT, READER, RESEARCHER, ADMIN)
    for role in roles:
        answer = shared_coordinator.call(method, path, role=role)
        if roles.index(role) < roles.index(needed):
            assert (answer.status_code, code_of(answer)) == (403, "forbidden")
        else:
            assert answer.status_code in {200, 404, 422}, answer.text
    check_that_strangers_are_refused(shared_coordinator, method, path)


@pytest.mark.parametrize(("method", "path"), OF_AGENTS)
def test_only_agents_may_speak_for_sites(method: str, path: str, shared_coordinator: Any) -> None:
    for role in (READER, RESEARCHER, ADMIN):
        answer = shared_coordinator.call(method, path, role=role)
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
    assert shared_coordinator.call(method, path, role=AGENT).status_code == 422
    check_that_strangers_are_refused(shared_coordinator, method, path)


def check_that_strangers_are_refused(shared_coordinator: Any, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer fw_wrong"}, {"Authorization": "Basic fw_wrong"}):
        answer = shared_coordinator.call(method, path, role=None, headers=headers)
        assert (answer.status_code, code_of(answer)) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_route_that_needs_a_key_is_in_the_matrix(tmp_path: Any) -> None:
    document = create_app(Home(tmp_path)).openapi()
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    listed = {(method, f"/api/v1{path}") for method, path, *_ in [*ROUTES, *OF_AGENTS]}
    generic = {(method, re.sub(r"\{\w+\}", "none", path)) for method, path in found}
    assert generic - listed == OF_ANYBODY
    assert json.dumps(document)


STAGE = {"name": "only", "method": "rehearsal", "rounds": 1}
SPEC = {"name": "drill", "dataset": {"name": "none"}, "stages": [STAGE]}


def test_health_is_for_anybody(shared_coordinator: Any) -> None:
    assert shared_coordinator.call("GET", "/health", role=None).json()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("PUT", "/runs", None, 405),
        ("GET", "/runs?limit=0", None, 422),
        ("GET", f"/runs/none/events?after={10**30}", None, 422),
        ("POST", "/runs", {"study": "none", "spec": SPEC}, 404),
        ("POST", "/runs", {"study": "none", "spec": {}}, 422),
        ("POST", "/runs", {"stdy": "none", "spec": {}}, 422),
        ("POST", "/runs", {"study": "none", "spec": {}, "run": "../up"}, 422),
        ("POST", "/studies", {"name": "s", "data": "/no/such/folder"}, 422),
        ("POST", "/studies", {"name": "s", "sites": ["../up"]}, 422),
        ("POST", "/studies", {"name": "s"}, 422),
        ("POST", "/studies", {"name": "s", "sites": ["a", "b", "a"]}, 422),
        ("POST", "/studies", {"name": "s", "sites": ["a"], "classes": ["x", "y", "x"]}, 422),
        ("POST", "/keys", {"name": "reader", "role": "reader"}, 409),
        ("POST", "/keys", {"name": "spy", "role": "agent"}, 422),
        ("DELETE", "/keys/admin", None, 409),
        ("DELETE", "/keys/agent:far", None, 409),
    ],
)
def test_errors_have_one_shape(method: str, path: str, body: Any, status: int, shared_coordinator: Any) -> None:
    answer = shared_coordinator.call(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].keys() == {"code", "message"}
    assert "/no/such" not in answer.text


def test_a_key_that_was_deleted_opens_nothing(shared_coordinator: Any) -> None:
    key = shared_coordinator.call("POST", "/keys", json={"name": "brief", "role": "reader"}).json()["key"]
    assert key not in shared_coordinator.call("GET", "/keys").text
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{shared_coordinator.url}/runs", headers=headers).status_code == 200
    assert shared_coordinator.call("DELETE", "/keys/brief").status_code == 204
    assert httpx.get(f"{shared_coordinator.url}/runs", headers=headers).status_code == 401


def test_a_key_is_not_in_the_database(shared_coordinator: Any) -> None:
    files = list(shared_coordinator.home.glob("coordinator.db*"))
    assert files
    for key in shared_coordinator.keys.values():
        assert not [path for path in files if key.encode() in path.read_bytes()]


def test_the_api_process_imports_neither_torch_nor_flower_nor_ray() -> None:
    code = "import sys, fedward_server.api.app, fedward_server.api.serving; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "flwr", "ray", "fedward_models"} & set(done.stdout.split())


def test_a_home_folder_has_one_coordinator(tmp_path: Any) -> None:
    home = Home(tmp_path / "home")
    with home.claimed():
        with pytest.raises(ConflictError, match="another coordinator"), home.claimed():
            pass
        assert home.path.stat().st_mode & 0o077 == 0
    with home.claimed():
        pass


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])
