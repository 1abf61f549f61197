"""The one door to Flower: ``POST /v1/fleet/<name>`` goes to the SuperLink, and nothing else of it can be reached.

    hospital's SuperNode  -->  the coordinator's port, /v1/fleet/  -->  SuperLink on loopback
                                                   /v1/control/, /v1/runtime/, /docs ...: 404

The SuperLink asks nobody who may start runs or take tasks, so a path is let through only if it is one plain word behind
``/v1/fleet/``: nothing that is encoded, doubled or climbs. Bodies are streamed both ways and never kept.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from fedward_server.errors import NotFoundError, TooLargeError, UnavailableError
from fedward_server.sites.fleet_routes import Sites
from fedward_server.tls import TLSFiles

router = APIRouter(include_in_schema=False)

ALLOWED = re.compile(rb"/v1/fleet/[a-z]+(-[a-z]+)*")
# Flower cuts what it sends into pieces of 5 MB, and packs its smaller messages into one.
MAX_BODY_BYTES = 64 * 2**20
CONNECT_TIMEOUT_S, TRANSFER_TIMEOUT_S = 5.0, 120.0
# RFC 9110, section 7.6.1, and the older ones that still go around. They speak of one connection only.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
NOT_FORWARDED = frozenset({b"host", b"expect"})  # they were meant for us

Headers = list[tuple[bytes, bytes]]


def open_upstream(tls: TLSFiles | None) -> httpx.AsyncClient:
    """A client of the SuperLink, for as many SuperNodes as come at once."""
    trust = ssl.create_default_context(cafile=tls.authority) if tls else False
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    timeout = httpx.Timeout(TRANSFER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    return httpx.AsyncClient(verify=trust, limits=limits, timeout=timeout, trust_env=False)


@router.post("/v1/fleet/{path:path}", response_class=StreamingResponse)
async def forward(request: Request, fleet: Sites) -> StreamingResponse:
    """Pass a SuperNode's call on."""
    path = request.scope["raw_path"]
    if not ALLOWED.fullmatch(path):
        raise NotFoundError("Not Found")
    if not fleet.superlink:
        raise UnavailableError("the SuperLink is not up yet: ask again in a moment")
    upstream: httpx.AsyncClient = request.app.state.upstream
    scheme = "https" if fleet.node_authentication else "http"
    headers = _forwarded(request.headers.raw)
    sent = httpx.Request(
        "POST", f"{scheme}://{fleet.superlink}{path.decode()}", headers=headers, content=_body(request)
    )
    try:
        answer = await upstream.send(sent, stream=True)
    except httpx.HTTPError:
        raise UnavailableError("the SuperLink does not answer: ask again in a moment") from None
    except ClientDisconnect:  # a hospital's line broke: there is nobody to answer, and nothing to log a fault of
        raise UnavailableError("the call broke off") from None
    response = StreamingResponse(_chunks(answer), answer.status_code, background=BackgroundTask(answer.aclose))
    response.raw_headers = _forwarded(answer.headers.raw)
    return response


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, up to the limit."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > MAX_BODY_BYTES:
            raise TooLargeError(f"expected at most {MAX_BODY_BYTES} bytes")
        yield chunk


async def _chunks(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The answer as it comes; if it breaks off, so does ours, which the SuperNode sees by its length."""
    with suppress(httpx.HTTPError):
        async for chunk in answer.aiter_raw():
            yield chunk


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers that are not for one connection only, with lower-case names."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = {word.strip().lower() for name, value in lowered if name == b"connection" for word in value.split(b",")}
    return [(name, value) for name, value in lowered if name not in HOP_BY_HOP | NOT_FORWARDED | named]
