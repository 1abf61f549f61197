"""What is too large to be taken, and that the paths of Flower are closed on the coordinator's own port."""

import http.client
from typing import Any
from urllib.parse import urlsplit

import pytest

from fedward_server.api.limits import MAX_BODY_BYTES


def ask(coordinator: Any, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    """Ask with the path and body exactly as they are; an iterable body has no length."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(coordinator.url).port, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {coordinator.keys['admin']}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (BrokenPipeError, ConnectionResetError):  # the answer came before the body was read
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_request_that_tells_of_too_much_is_refused_before_it_is_read(shared_coordinator: Any) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(MAX_BODY_BYTES + 1)}
    status, answer = ask(shared_coordinator, "POST", "/api/v1/studies", b"", **headers)
    assert (status, b"too_large" in answer) == (413, True)


@pytest.mark.parametrize(("pieces", "expected"), [(3, 422), (5, 413)])
def test_a_request_that_does_not_tell_its_length_is_counted(
    pieces: int, expected: int, shared_coordinator: Any
) -> None:
    body = iter([b" " * 2**20] * pieces)
    status, _ = ask(shared_coordinator, "POST", "/api/v1/studies", body, **{"Content-Type": "application/json"})
    assert status == expected


def test_a_request_that_comes_in_pieces_is_read_whole(shared_coordinator: Any) -> None:
    body = iter([b'{"name": "pieces", ', b'"sites": ["a", "b"]}'])
    status, _ = ask(shared_coordinator, "POST", "/api/v1/studies", body, **{"Content-Type": "application/json"})
    assert status == 201


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"name": NaN}', b'{"name": "a\\u0000"}'])
def test_what_is_no_request_is_answered_with_its_faults(body: bytes, shared_coordinator: Any) -> None:
    status, answer = ask(shared_coordinator, "POST", "/api/v1/studies", body, **{"Content-Type": "application/json"})
    assert (status, b'"code":"invalid"' in answer) == (422, True)


@pytest.mark.parametrize(
    "path",
    ["/v1/control/list-runs", "/v1/runtime/acquire-task", "/v1/fleet/../control/list-runs", "/docs", "/v1/fleet"],
)
def test_flower_is_closed_on_the_coordinators_port(path: str, shared_coordinator: Any) -> None:
    assert {ask(shared_coordinator, method, path)[0] for method in ("GET", "POST")} <= {404, 405}


def test_the_api_has_no_second_door_for_flower(shared_coordinator: Any) -> None:
    assert ask(shared_coordinator, "POST", "/api/v1/fleet/push-messages")[0] == 404
