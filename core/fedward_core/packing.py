"""Many arrays as one piece of bytes, for a wire on which each piece costs a journey of its own.

    8 bytes: length of the header | header: JSON [[name, type, shape], ...] | values, in the same order, each from a
                                                                             multiple of 64 bytes on

No code runs when it is read, and reading copies nothing.
"""

import json
import math
from typing import Any

import numpy as np

from fedward_core.arrays import Array, Arrays

PREFIX, ALIGNMENT = 8, 64
KINDS = "biuf"  # truth values, integers and floats; anything else is no weight
WIDEST = 8  # bytes: wider floats differ between processors, and no file of ours holds them


def pack(arrays: Arrays) -> bytes:
    """The arrays as bytes; each value is copied once."""
    header = json.dumps([[name, array.dtype.str, array.shape] for name, array in arrays.items()]).encode()
    pieces: list[bytes | memoryview] = [len(header).to_bytes(PREFIX, "little"), header, _gap(PREFIX + len(header))]
    for array in arrays.values():
        values = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        pieces += [values.data, _gap(values.size)]
    return b"".join(pieces)


def unpack(packed: bytes) -> dict[str, Array]:
    """The arrays in packed bytes, as views that cannot be written.

    Raises:
        ValueError: The bytes are not a whole pack of numbers of this machine's order, with names that can be written.
        TypeError: Likewise.
    """
    end = PREFIX + int.from_bytes(packed[:PREFIX], "little")
    arrays, start = {}, end + len(_gap(end))
    for name, kind, shape in _header(packed[PREFIX:end]):
        array = _view(packed, start, np.dtype(kind), tuple(shape))
        arrays[str(name)] = array
        start += array.nbytes + len(_gap(array.nbytes))
    return arrays


def _header(packed: bytes) -> Any:
    try:
        values = json.loads(packed)
    except RecursionError:
        raise ValueError("the header of packed arrays is nested too deeply") from None
    json.dumps(values, ensure_ascii=False).encode()  # half a character cannot be written, in no file
    return values


def _view(packed: bytes, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if (
        dtype.kind not in KINDS
        or dtype.itemsize > WIDEST
        or not dtype.isnative
        or min(shape, default=0) < 0
        or start + count * dtype.itemsize > len(packed)
    ):
        raise ValueError("packed arrays are numbers, and all of them are there")
    return np.frombuffer(packed, dtype, count, start).reshape(shape) if count else np.empty(shape, dtype)


def _gap(size: int) -> bytes:
    return bytes(-size % ALIGNMENT)
