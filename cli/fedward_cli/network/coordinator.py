"""Speaks to a coordinator: one request a call, and every refusal as a sentence.

FEDWARD_URL  where the coordinator is, http://127.0.0.1:8080 by default
FEDWARD_KEY  the API key
FEDWARD_CA   the certificate of the authority that signed the coordinator's, where it is no public one
"""

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fedward_cli.network.connection import path_of
from fedward_core.atomic import replacing
from fedward_core.errors import FedwardError

TIMEOUT_S = 30.0
KEEPING_S = 600.0  # a file of gigabytes has to reach a slow disk before the answer comes
DEFAULT_URL = "http://127.0.0.1:8080"
AWAY = {502, 503, 504}  # from the coordinator while its database is away, or from a proxy before one that is


class CoordinatorError(FedwardError):
    """The coordinator cannot be reached, or refuses."""


class UnreachableError(CoordinatorError):
    """The coordinator cannot be reached or cannot answer now, or went away amid an answer."""


class Coordinator:
    """A coordinator's REST API.

    Args:
        url: Where it is.
        key: The API key.
        authority: The certificate of the authority that signed the coordinator's; empty for a public one.

    Raises:
        CoordinatorError: The certificate cannot be read.
    """

    def __init__(self, url: str, key: str, *, authority: str = "") -> None:
        self._url = url.rstrip("/") + "/api/v1"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._trust = _trusting(authority)

    @classmethod
    def of_environment(cls) -> "Coordinator":
        """The coordinator that FEDWARD_URL, FEDWARD_KEY and FEDWARD_CA name.

        Raises:
            CoordinatorError: FEDWARD_KEY is not set or is no key, or FEDWARD_CA cannot be read.
        """
        key = os.environ.get("FEDWARD_KEY", "").strip()
        if not key:
            raise CoordinatorError("FEDWARD_KEY is not set: expected an API key of the coordinator, fw_...")
        if not (key.isascii() and key.isprintable()):
            raise CoordinatorError("FEDWARD_KEY holds signs that no key has: copy it anew, it begins with fw_")
        return cls(os.environ.get("FEDWARD_URL", DEFAULT_URL), key, authority=os.environ.get("FEDWARD_CA", ""))

    def get(self, path: str, **query: str | int) -> Any:
        """Ask for something.

        Raises:
            CoordinatorError: The coordinator cannot be reached, or refuses.
        """
        with self._answer("GET", path, params=query) as answer:
            return _values(answer)

    def post(self, path: str, body: Any = None) -> Any:
        """Ask it to do something.

        Raises:
            CoordinatorError: The coordinator cannot be reached, or refuses.
        """
        with self._answer("POST", path, json=body) as answer:
            return _values(answer)

    def delete(self, path: str) -> None:
        """Remove something.

        Raises:
            CoordinatorError: The coordinator cannot be reached, or refuses.
        """
        with self._answer("DELETE", path):
            return

    def download(self, path: str, out: Path) -> None:
        """Fetch a file, whole or not at all.

        Raises:
            CoordinatorError: The coordinator cannot be reached, or refuses.
            CheckpointError: The file cannot be written.
        """
        with self._answer("GET", path) as answer, replacing(out) as temporary, temporary.open("wb") as file:
            for piece in answer.iter_bytes():
                file.write(piece)

    def upload(self, path: str, file: Path) -> Any:
        """Send a file.

        Raises:
            CoordinatorError: The coordinator cannot be reached, or refuses.
        """
        patience = httpx.Timeout(TIMEOUT_S, read=KEEPING_S)
        with file.open("rb") as content, self._answer("PUT", path, content=content, timeout=patience) as answer:
            return _values(answer)

    def events(self, run: str, after: int) -> Iterator[dict[str, Any]]:
        """Events of a run behind a sequence number, as they happen, to its end.

        Raises:
            CoordinatorError: The coordinator cannot be reached, went away, or refuses.
        """
        with self._answer("GET", path_of("runs", run, "events", "stream"), params={"after": after}) as answer:
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind == "end":
                    return
                elif line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))
        raise UnreachableError("the coordinator went away")

    @contextmanager
    def _answer(self, method: str, path: str, **arguments: Any) -> Iterator[httpx.Response]:
        try:
            arguments = {"headers": self._headers, "timeout": TIMEOUT_S, "verify": self._trust, **arguments}
            with httpx.stream(method, self._url + path, **arguments) as answer:
                if answer.status_code in AWAY:
                    raise UnreachableError(_refusal(answer))
                if not answer.is_success:
                    raise CoordinatorError(_refusal(answer))
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(
                f"no coordinator answers at {self._url} ({error or type(error).__name__}): "
                "is it running, and is FEDWARD_URL right?"
            ) from error


def _trusting(authority: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority or None)
    except OSError:  # ssl.SSLError is one
        raise CoordinatorError("FEDWARD_CA cannot be read: expected a PEM file with a certificate") from None


def _values(answer: httpx.Response) -> Any:
    try:
        return json.loads(answer.read())
    except ValueError:
        raise CoordinatorError(_foreign(answer)) from None


def _refusal(answer: httpx.Response) -> str:
    try:
        return str(json.loads(answer.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return _foreign(answer)


def _foreign(answer: httpx.Response) -> str:
    return f"the answer with status {answer.status_code} is not that of a coordinator: is FEDWARD_URL right?"
