"""Frozen weights at the coordinator: added by their digest, checked while they come, and handed out to any key."""

import asyncio
import hashlib
import http.client
import pickle
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from safetensors.numpy import save
from waiting import wait_until

from fedward_server.api.limits import MAX_BODY_BYTES
from fedward_server.errors import RefusedError, TooLargeError
from fedward_server.weights import receiving
from fedward_server.weights.shelf import Shelf

PEOPLE = ("reader", "researcher", "admin")


def weights(seed: int, count: int = 64) -> bytes:
    return save({"weight": np.random.default_rng(seed).normal(size=count)})


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def add(coordinator: Any, content: bytes, *, role: str = "researcher", sha256: str = "") -> httpx.Response:
    answer: httpx.Response = coordinator.call(
        "PUT", f"/weights/{sha256 or digest_of(content)}", role=role, content=content
    )
    return answer


def kept(coordinator: Any) -> set[str]:
    folder = Path(coordinator.home) / "weights"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def test_what_a_researcher_adds_every_key_can_fetch_and_people_can_list(shared_coordinator: Any) -> None:
    content = weights(1, count=2**20)
    assert len(content) > MAX_BODY_BYTES  # what other requests may hold
    added = add(shared_coordinator, content)
    assert added.status_code == 201, added.text
    assert (added.json()["sha256"], added.json()["size_bytes"]) == (digest_of(content), len(content))
    assert abs(added.json()["added_s"] - time.time()) < 120
    for role in (*PEOPLE, "agent"):
        fetched = shared_coordinator.call("GET", f"/weights/{digest_of(content)}", role=role)
        assert fetched.content == content
        assert fetched.headers["Content-Length"] == str(len(content))
    for role in PEOPLE:
        assert added.json() in shared_coordinator.call("GET", "/weights", role=role).json()


def test_a_digest_that_is_there_already_is_no_second_file(shared_coordinator: Any) -> None:
    content = weights(2, count=2**20)
    first = add(shared_coordinator, content)
    again = add(shared_coordinator, content, role="admin")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


def test_readers_and_agents_add_nothing_and_only_an_administrator_removes(shared_coordinator: Any) -> None:
    content = weights(3, count=2**20)  # more than a connection holds: it is refused all the same
    for role in ("reader", "agent"):
        assert add(shared_coordinator, content, role=role).status_code == 403
    add(shared_coordinator, content)
    path = f"/weights/{digest_of(content)}"
    for role in ("agent", "reader", "researcher"):
        assert shared_coordinator.call("DELETE", path, role=role).status_code == 403
    assert shared_coordinator.call("DELETE", path).status_code == 204
    for method in ("GET", "DELETE"):
        gone = shared_coordinator.call(method, path)
        assert (gone.status_code, code_of(gone)) == (404, "not_found")
    assert f"{digest_of(content)}.safetensors" not in kept(shared_coordinator)


@pytest.mark.parametrize(
    ("content", "sha256", "reason"),
    [
        (weights(4), "0" * 64, "expected sha256 0000"),
        (weights(4)[:-8], digest_of(weights(4)), "expected sha256"),
        (pickle.dumps({"weight": [1.0]}), "", "no safetensors file"),
        (b"", "", "no safetensors file"),
    ],
    ids=["another digest", "cut", "pickle", "empty"],
)
def test_what_is_not_the_file_that_was_named_leaves_nothing(
    content: bytes, sha256: str, reason: str, shared_coordinator: Any
) -> None:
    before = kept(shared_coordinator)
    refused = add(shared_coordinator, content, sha256=sha256)
    assert (refused.status_code, code_of(refused)) == (422, "wrong_data")
    assert reason in refused.text
    assert str(shared_coordinator.home) not in refused.text
    assert kept(shared_coordinator) == before


@pytest.mark.parametrize("name", ["none", "0" * 63, "A" * 64, "0" * 64 + "%0A", "..%2F..%2Fcoordinator.id"])
def test_only_a_digest_names_a_file(name: str, shared_coordinator: Any) -> None:
    for method in ("PUT", "GET", "DELETE"):
        assert shared_coordinator.call(method, f"/weights/{name}").status_code in {404, 422}


def test_an_upload_that_is_cut_leaves_nothing(shared_coordinator: Any) -> None:
    before, content = kept(shared_coordinator), weights(5, count=2**19)
    key = shared_coordinator.keys["researcher"]
    head = f"PUT /api/v1/weights/{digest_of(content)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(shared_coordinator.url).port or 0)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[: 2**21])
        wait_until(lambda: kept(shared_coordinator) != before)
    wait_until(lambda: kept(shared_coordinator) == before)
    assert add(shared_coordinator, content).status_code == 201


def test_a_file_that_is_told_to_be_too_large_is_refused_before_it_is_read(shared_coordinator: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(shared_coordinator.url).port, timeout=60)
    headers = {"Authorization": f"Bearer {shared_coordinator.keys['researcher']}", "Content-Length": str(9 * 10**9)}
    connection.request("PUT", f"/api/v1/weights/{'1' * 64}", b"", headers)
    answer = connection.getresponse()
    assert (answer.status, b"larger than the 8 GB" in answer.read()) == (413, True)
    connection.close()


def test_a_file_that_turns_out_too_large_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * receiving.PIECE_BYTES

    shelf = Shelf(tmp_path, most_bytes=2 * receiving.PIECE_BYTES)
    with pytest.raises(TooLargeError, match="--weights-gb"):
        asyncio.run(receiving.receive(shelf, "0" * 64, 0, pieces()))
    assert list(tmp_path.iterdir()) == []


def test_an_upload_from_which_nothing_more_comes_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"a beginning"
        await asyncio.Event().wait()

    monkeypatch.setattr(receiving, "SILENCE_S", 0.05)
    with pytest.raises(RefusedError, match="nothing of the file came"):
        asyncio.run(receiving.receive(Shelf(tmp_path), "0" * 64, 0, stalled()))
    assert list(tmp_path.iterdir()) == []
