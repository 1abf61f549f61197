r"""Halves of characters, which JSON can spell, as ``\ud800`` does, and neither a database nor an answer can hold."""

import json

from fastapi import Request

from fedward_server.errors import InvalidError


async def check_characters(request: Request) -> None:
    """Refuse a body with half a character in it, in any of its texts and keys, before anything else reads it.

    Raises:
        InvalidError: There is one.
    """
    if not await request.body():
        return
    try:
        values = await request.json()
    except ValueError:
        return  # whoever needs JSON says what is wrong with it
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise InvalidError(f"the request is wrong: {half} is half a character, and no text can hold it") from None
