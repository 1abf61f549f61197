"""``/weights``."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from fedward_core.config import SHA256
from fedward_server.keys.access import ADMIN, ANY_KEY, READER, RESEARCHER
from fedward_server.keys.models import ApiKey
from fedward_server.runs.artifacts import chunks_of
from fedward_server.runs.shares import Shares
from fedward_server.weights.models import Weights
from fedward_server.weights.receiving import receive
from fedward_server.weights.shelf import Shelf

router = APIRouter(prefix="/weights", tags=["weights"])


def shelf_of(request: Request) -> Shelf:
    """The shelf of the application that got the request."""
    shelf: Shelf = request.app.state.shelf
    return shelf


OfShelf = Annotated[Shelf, Depends(shelf_of)]
Digest = Annotated[str, Path(pattern=SHA256)]


@router.get("", dependencies=[READER])
async def list_weights(shelf: OfShelf) -> list[Weights]:
    """Frozen weights that sites can fetch, the newest first."""
    return await asyncio.to_thread(shelf.all)


@router.put("/{sha256}", status_code=201)
async def add_weights(
    sha256: Digest, key: Annotated[ApiKey, RESEARCHER], request: Request, response: Response, shelf: OfShelf
) -> Weights:
    """Add a safetensors file, which is the body. One that is there already is answered with 200, and is not read."""
    found = shelf.find(sha256)
    if found is not None:
        response.status_code = 200
        return found
    uploads: Shares = request.app.state.uploads
    uploads.check(key)
    stream = request.stream()
    uploads.hold(stream, key)
    return await receive(shelf, sha256, int(request.headers.get("Content-Length", "0")), stream)


@router.get("/{sha256}", response_class=StreamingResponse)
async def fetch_weights(
    sha256: Digest, key: Annotated[ApiKey, ANY_KEY], request: Request, shelf: OfShelf
) -> StreamingResponse:
    """The file. A site fetches what a run that it agreed to names, if its policy says so."""
    downloads: Shares = request.app.state.downloads
    downloads.check(key)
    file = await asyncio.to_thread(shelf.open, sha256)
    downloads.hold(file, key)
    headers = {
        "Content-Length": str(file.seek(0, 2)),
        "Content-Disposition": f'attachment; filename="{sha256}.safetensors"',
    }
    return StreamingResponse(chunks_of(file), media_type="application/octet-stream", headers=headers)


@router.delete("/{sha256}", status_code=204, dependencies=[ADMIN])
async def remove_weights(sha256: Digest, shelf: OfShelf) -> None:
    """Remove a file. Sites that have fetched it keep it, and a run of others that names it is refused there."""
    await asyncio.to_thread(shelf.remove, sha256)
