"""How much a request to ``/api/v1`` may hold: specs and cards are small, and whatever is read is held in memory.

Files that go to disk piece by piece are measured by the route that takes them.
"""

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4 * 2**20


class BodyLimit:
    """Answers requests that are too large with 413, before anything reads them.

    Args:
        app: What answers the others.
        prefix: Whose requests are limited.
        streamed: Beneath it, where what is PUT goes to disk.
        limit: In bytes.
    """

    def __init__(self, app: ASGIApp, prefix: str, *, streamed: str, limit: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._prefix = prefix
        self._streamed = streamed
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix) or self._is_streamed(scope):
            await self._app(scope, receive, send)
            return
        length = _told_length(scope)
        if length is None:
            await self._count(scope, receive, send)
        elif length > self._limit:
            await self._refuse(scope, receive, send)
        else:  # the web server holds the sender to the length that was told
            await self._app(scope, receive, send)

    def _is_streamed(self, scope: Scope) -> bool:
        return bool(scope["method"] == "PUT" and scope["path"].startswith(self._streamed))

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a body of unknown length, and hand it on in one piece."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # whoever asked is gone
            body += message.get("body", b"")
            if len(body) > self._limit:
                await self._refuse(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        await self._app(scope, _first({**message, "body": bytes(body)}, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"the request is larger than the {self._limit} bytes that are taken at once"
        answer = JSONResponse({"error": {"code": "too_large", "message": message}}, 413, {"Connection": "close"})
        await answer(scope, receive, send)


def _told_length(scope: Scope) -> int | None:
    """The length of the body: none in most requests without one, unknown if it comes in pieces."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    return int(headers.get(b"content-length", b"0"))


def _first(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
