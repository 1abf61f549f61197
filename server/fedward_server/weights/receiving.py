"""Takes frozen weights as they are uploaded, without holding them in memory, and without waiting for ever."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect

from fedward_core.frozen_weights import GIGABYTE, Arrival
from fedward_server.errors import RefusedError, TooLargeError
from fedward_server.weights.models import Weights
from fedward_server.weights.shelf import Shelf

# Decided here: as long as the command line waits for an answer.
SILENCE_S = 30.0
PIECE_BYTES = 2**20  # what is written at once: a thread's turn takes longer than the few bytes that come at a time


async def receive(shelf: Shelf, sha256: str, told_bytes: int, stream: AsyncIterator[bytes]) -> Weights:
    """Take one file, whole and right, or nothing of it.

    Args:
        shelf: Where it will lie.
        sha256: Its digest.
        told_bytes: How long it is, as far as that was told.
        stream: Its bytes, as they come.

    Raises:
        TooLargeError: It is larger than what is taken.
        RefusedError: It ended midway.
        DataError: It has another digest, or is no safetensors file.
        CheckpointError: The disk is full.
    """
    _check_size(shelf, told_bytes)
    with Arrival(shelf.folder, sha256) as arrival:
        async for piece in _gathered(stream):
            _check_size(shelf, arrival.size + len(piece))
            await asyncio.to_thread(arrival.add, piece)
        await asyncio.to_thread(arrival.keep)
    kept = shelf.find(sha256)
    assert kept is not None
    return kept


async def _gathered(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    gathered = bytearray()
    while piece := await _next(stream):
        gathered += piece
        if len(gathered) >= PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    """The next bytes; none at the end."""
    try:
        async with asyncio.timeout(SILENCE_S):
            return await anext(stream, b"")
    except TimeoutError:
        raise RefusedError(f"nothing of the file came for {SILENCE_S:.0f} s: send it again") from None
    except ClientDisconnect:
        raise RefusedError("whoever sent the file went away before its end") from None


def _check_size(shelf: Shelf, size: int) -> None:
    if size > shelf.most_bytes:
        raise TooLargeError(
            f"the file is larger than the {shelf.most_bytes / GIGABYTE:g} GB that are taken: "
            "`fedward server --weights-gb` sets how much is"
        )
