"""What goes through the one door to Flower, and what does not; with a stand-in for the SuperLink, and once with it."""

import asyncio
import hashlib
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from fedward_server.api import proxy
from fedward_server.api.errors import register_errors
from fedward_server.flower.superlink_keeper import SuperLinkKeeper
from fedward_server.sites.fleet import Fleet
from fedward_server.tls import TLSFiles

MEGABYTE = 2**20


@contextmanager
def serving(app: FastAPI, **settings: Any) -> Iterator[int]:
    """Serve an application in a thread, and give its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", **settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def stand_in(seen: list[Request]) -> FastAPI:
    """Answers everything, and tells the digest of what it got."""
    app = FastAPI()

    @app.post("/v1/fleet/refused")
    def refuse(request: Request) -> Response:
        return Response(b"why", 401, {"X-Flower": "no"})

    @app.post("/v1/fleet/pull-object")
    def give(request: Request) -> StreamingResponse:
        return StreamingResponse(iter([b"x" * MEGABYTE] * 9))

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT"])
    async def take(request: Request) -> Response:
        seen.append(request)
        digest = hashlib.sha256()
        async for chunk in request.stream():
            digest.update(chunk)
        return Response(digest.hexdigest(), headers={"Connection": "X-Private", "X-Private": "1", "X-Kept": "2"})

    return app


def door(keeper: Any, superlink: str, tls: TLSFiles | None = None) -> FastAPI:
    """An application with the proxy alone."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with proxy.open_upstream(tls) as app.state.upstream:
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.fleet = Fleet(keeper=keeper, node_authentication=tls is not None, superlink=superlink)
    app.include_router(proxy.router)
    register_errors(app)
    return app


def ask(port: int, path: str, method: str = "POST", body: Any = b"", **headers: str) -> tuple[int, bytes, Any]:
    """Ask with the path exactly as it is written here."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


@pytest.fixture(scope="module")
def seen() -> list[Request]:
    return []


@pytest.fixture(scope="module")
def port(seen: list[Request]) -> Iterator[int]:
    with serving(stand_in(seen)) as upstream, serving(door(None, f"127.0.0.1:{upstream}")) as port:
        yield port


def test_a_call_goes_through_with_its_headers_and_its_answer_comes_back(port: int, seen: list[Request]) -> None:
    body = b"order" * 1000
    headers = {"X_Signature": "abc", "Content_Type": "application/protobuf", "Connection": "keep-alive, X-Hop"}
    status, answer, back = ask(port, "/v1/fleet/push-messages", body=body, X_Hop="1", **headers)
    assert (status, answer.decode()) == (200, hashlib.sha256(body).hexdigest())
    assert (back["X-Kept"], back["X-Private"]) == ("2", None)
    sent = seen[-1]
    assert sent.url.path == "/v1/fleet/push-messages"
    assert sent.headers["X-Signature"] == "abc"
    assert sent.headers["Content-Type"] == "application/protobuf"
    assert "X-Hop" not in sent.headers
    assert sent.headers["Host"] != f"127.0.0.1:{port}"
    assert "User-Agent" not in sent.headers


def test_a_refusal_of_the_superlink_comes_back_as_it_is(port: int) -> None:
    status, answer, headers = ask(port, "/v1/fleet/refused")
    assert (status, answer, headers["X-Flower"]) == (401, b"why", "no")


@pytest.mark.parametrize("length_told", [True, False])
def test_bodies_of_many_megabytes_go_through_both_ways(port: int, length_told: bool) -> None:
    body = b"y" * (9 * MEGABYTE)
    pieces = body if length_told else (body[start : start + MEGABYTE] for start in range(0, len(body), MEGABYTE))
    status, answer, _ = ask(port, "/v1/fleet/push-object", body=pieces)
    assert (status, answer.decode()) == (200, hashlib.sha256(body).hexdigest())
    status, answer, _ = ask(port, "/v1/fleet/pull-object")
    assert (status, len(answer)) == (200, 9 * MEGABYTE)


def test_a_body_above_the_limit_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "MAX_BODY_BYTES", MEGABYTE)
    status, answer, _ = ask(port, "/v1/fleet/push-object", body=b"y" * (MEGABYTE + 1))
    assert (status, b"too_large" in answer) == (413, True)


def test_a_call_that_breaks_off_is_no_fault_of_the_coordinator() -> None:
    with serving(stand_in([])) as upstream:
        asyncio.run(break_off(door(None, f"127.0.0.1:{upstream}")))


async def break_off(app: FastAPI) -> None:
    """Send half of a body, and be gone; a fault of the application would be raised here."""
    half: dict[str, Any] = {"type": "http.request", "body": b"half", "more_body": True}
    messages = [half, {"type": "http.disconnect"}]
    path = "/v1/fleet/push-messages"
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "headers": []}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "server": ("127.0.0.1", 80)}

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(_: Any) -> None:
        """Nobody hears it."""

    async with proxy.open_upstream(None) as app.state.upstream:
        await app(scope, receive, send)


PATHS = [
    "/v1/control/list-runs",
    "/v1/runtime/acquire-task",
    "/docs",
    "/openapi.json",
    "/health",
    "/v1/fleet",
    "/v1/fleet/",
    "/v1/fleet/../control/list-runs",
    "/v1/fleet/./../control/list-runs",
    "/v1/fleet/%2e%2e/control/list-runs",
    "/v1/fleet/%2E%2E%2Fcontrol%2Flist-runs",
    "/v1/fleet/..%2fcontrol/list-runs",
    "/v1/fleet/..%5ccontrol/list-runs",
    "/v1/fleet/..;/control/list-runs",
    "/v1/fleet//control/list-runs",
    "/v1/fleet//push-messages",
    "/v1/fleet/push-messages/",
    "/v1/fleet/push-messages/..",
    "/v1/fleet/push-messages%00",
    "/v1/fleet/push%2dmessages",
    "/v1//fleet/push-messages",
    "//v1/fleet/push-messages",
    "/V1/fleet/push-messages",
    "/v1/fleet/PUSH-messages",
    "/v1/control/../fleet/push-messages",
    "/%76%31/fleet/push-messages",
    "/v1%2ffleet%2fpush-messages",
    "http://127.0.0.1/v1/control/list-runs",
]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_else_of_flower_can_be_reached(path: str, port: int, seen: list[Request]) -> None:
    before = len(seen)
    for method in ("POST", "GET"):
        assert ask(port, path, method)[0] in {400, 404, 405}
    assert ask(port, path)[0] in {400, 404}
    assert len(seen) == before


def test_what_stands_behind_a_question_mark_is_not_passed_on(port: int, seen: list[Request]) -> None:
    assert ask(port, "/v1/fleet/push-messages?a=/v1/control/")[0] == 200
    assert seen[-1].url.query == ""


def test_other_methods_are_refused(port: int) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert ask(port, "/v1/fleet/push-messages", method)[0] == 405


@pytest.mark.parametrize("superlink", ["", "127.0.0.1:9"], ids=["not up", "away"])
def test_while_the_superlink_is_away_callers_are_told_to_ask_again(superlink: str) -> None:
    with serving(door(None, superlink)) as port:
        status, _, headers = ask(port, "/v1/fleet/push-messages", body=b"x" * 10)
        assert (status, headers["Retry-After"]) == (503, "5")


def test_with_tls_the_superlink_must_show_a_certificate_of_our_authority(tls_files: TLSFiles) -> None:
    seen: list[Request] = []
    files = {"ssl_certfile": tls_files.certificate, "ssl_keyfile": tls_files.key}
    with serving(stand_in(seen), **files) as upstream:
        with serving(door(None, f"127.0.0.1:{upstream}", tls_files)) as port:
            assert ask(port, "/v1/fleet/push-messages")[0] == 200
        with serving(stand_in(seen)) as plain, serving(door(None, f"127.0.0.1:{plain}", tls_files)) as port:
            assert ask(port, "/v1/fleet/push-messages")[0] == 503
    assert len(seen) == 1


@pytest.mark.slow
def test_a_real_superlink_answers_the_fleet_and_nothing_else(tmp_path: Path) -> None:
    keeper = SuperLinkKeeper(tmp_path / "superlink")
    try:
        with serving(door(keeper, keeper.ensure())) as port:
            status, *_ = ask(port, "/v1/fleet/activate-node", Content_Type="application/protobuf")
            assert status not in {404, 503}
            assert {ask(port, path)[0] for path in PATHS if not path.startswith("http")} <= {400, 404}
    finally:
        keeper.end()
