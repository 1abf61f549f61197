"""Speaks to the coordinator over REST: always from here to there, one request a call."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

import httpx
from pydantic import ValidationError

from fedward_client.agent.errors import AgentError, CoordinatorAwayError, NotThereError, RefusedError
from fedward_core.clocks import ahead_s
from fedward_core.config import Frozen
from fedward_core.fleet_messages import REASON_CHARS, Answer, Cards, Enrolment, Heartbeat, Instructions, Membership

TIMEOUT_S = 30.0
# Decided here: many proposals of large specs, and little beside the memory of any machine that trains.
MOST_BYTES = 64 * 2**20

T = TypeVar("T", bound=Frozen)


class Coordinator:
    """One coordinator's routes for agents; a context manager that ends the connection.

    Every call may raise :class:`CoordinatorAwayError`, and :class:`RefusedError` where the coordinator says no.

    Args:
        url: Its address, without a path.
        key: The site's API key; empty before the site is enrolled.
        authority: The certificate of the authority that signed the coordinator's; None for the system's authorities.
    """

    def __init__(self, url: str, *, key: str = "", authority: Path | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        base = f"{url.rstrip('/')}/api/v1"
        self._client = httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S, verify=_trust(authority))
        self._clock_off_s: float | None = None

    @property
    def clock_off_s(self) -> float | None:
        """By how many seconds at least this machine's clock is ahead of the coordinator's; None before it answers."""
        return self._clock_off_s

    def enrol(self, enrolment: Enrolment) -> Membership:
        """Take up an invitation."""
        return _read(Membership, self._ask("POST", "/fleet/enrolments", enrolment))

    def report(self, heartbeat: Heartbeat) -> Instructions:
        """Give a sign of life, and hear what the coordinator asks for."""
        return _read(Instructions, self._ask("POST", "/fleet/heartbeats", heartbeat))

    def publish(self, cards: Cards) -> None:
        """Tell of the site's datasets, in counts."""
        self._ask("PUT", "/fleet/cards", cards)

    def answer(self, answer: Answer) -> None:
        """Answer a proposal."""
        self._ask("POST", "/fleet/answers", answer)

    @contextmanager
    def weights(self, sha256: str) -> Iterator[tuple[int | None, Iterator[bytes]]]:
        """A file of frozen weights: its size, if that is told, and its pieces; to be used within the block.

        Raises:
            NotThereError: The coordinator has none with this digest.
        """
        with self._answer("GET", f"/weights/{sha256}") as answer:
            _check(answer, b"" if answer.is_success else _whole(answer))
            length = answer.headers.get("Content-Length", "")
            yield int(length) if length.isdecimal() else None, answer.iter_bytes()

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: Frozen) -> bytes:
        asked_s = time.time()
        with self._answer(method, path, body.model_dump(mode="json")) as answer:
            content = _whole(answer)
        self._compare_clocks(answer, asked_s)
        _check(answer, content)
        return content

    @contextmanager
    def _answer(self, method: str, path: str, body: object = None) -> Iterator[httpx.Response]:
        try:
            with self._client.stream(method, path, json=body) as answer:
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CoordinatorAwayError(f"the coordinator does not answer ({error or type(error).__name__})") from None

    def _compare_clocks(self, answer: httpx.Response, asked_s: float) -> None:
        with suppress(KeyError, ValueError):  # a proxy on the way may tell no time, or none that can be read
            self._clock_off_s = ahead_s(answer.headers["Date"], asked_s=asked_s, heard_s=time.time())


def in_one_line(text: str) -> str:
    """Words of others as they may stand in a log or an answer: of bounded length, without a sign that ends a line."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[:REASON_CHARS]


def _trust(authority: Path | None) -> ssl.SSLContext:
    """Whom to believe that they are the coordinator.

    Raises:
        AgentError: The certificate cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError:  # ssl.SSLError is one
        raise AgentError("the certificate of the coordinator's authority cannot be read: expected a PEM file") from None


def _read(kind: type[T], content: bytes) -> T:
    try:
        return kind.model_validate_json(content)
    except ValidationError:
        raise CoordinatorAwayError(
            "the answer is not that of a coordinator of this release: is the address right?"
        ) from None


def _check(answer: httpx.Response, content: bytes) -> None:
    """Refuse an answer that gives nothing of what was asked for.

    Raises:
        RefusedError: The coordinator says no.
        CoordinatorAwayError: It cannot answer now.
    """
    if answer.is_client_error:
        refused = NotThereError if answer.status_code == httpx.codes.NOT_FOUND else RefusedError
        raise refused(_reason(answer.status_code, content))
    if not answer.is_success:
        raise CoordinatorAwayError(f"the coordinator cannot answer now (HTTP {answer.status_code})")


def _whole(answer: httpx.Response) -> bytes:
    """An answer's body, unpacked, but no more of it than this machine can bear."""
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > MOST_BYTES:
            raise CoordinatorAwayError(f"the coordinator's answer has more than {MOST_BYTES} bytes, and was not read")
    return bytes(content)


def _reason(status: int, content: bytes) -> str:
    try:
        return in_one_line(str(json.loads(content)["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        return f"the answer with status {status} is not that of a coordinator: is the address right?"
