r"""What JSON can spell and nothing behind it can hold: halves of characters, as ``\ud800``, and bottomless lists."""

import json

from fastapi import Request

from fedward_server.errors import InvalidError


async def check_characters(request: Request) -> None:
    """Refuse a body with half a character in any of its texts and keys, or nested too deeply, before it is read.

    Raises:
        InvalidError: It is such a body.
    """
    if not await request.body():
        return
    try:
        json.dumps(await request.json(), ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidError("the request is wrong: its lists and objects are nested too deeply") from None
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise InvalidError(f"the request is wrong: {half} is half a character, and no text can hold it") from None
    except ValueError:
        return  # whoever needs JSON says what is wrong with it
