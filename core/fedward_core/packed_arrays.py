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
# Truth values, integers and floats of this machine's order and of at most 8 bytes; anything else is no weight. They are
# looked up and not handed to numpy, which would take the words of a stranger for a small language.
TYPES = {np.dtype(code).str: np.dtype(code) for code in "?bBhHiIqQefd"}
MOST_DIMS, LONGEST = 32, 2**62


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
        array = _view(packed, start, kind, shape)
        arrays[str(name)] = array
        start += array.nbytes + len(_gap(array.nbytes))
    return arrays


def _header(packed: bytes) -> Any:
    try:
        values = json.loads(packed)
        json.dumps(values, ensure_ascii=False).encode()  # half a character cannot be written, in no file
    except RecursionError:
        raise ValueError("the header of packed arrays is nested too deeply") from None
    return values


def _view(packed: bytes, start: int, kind: Any, shape: Any) -> Array:
    """One array; whatever stands in a header, no more memory is taken than its bytes have."""
    if kind not in TYPES or len(shape) > MOST_DIMS or not all(map(_is_length, shape)):
        raise ValueError("packed arrays are numbers of this machine, each with a shape")
    dtype, count = TYPES[kind], math.prod(shape)
    if start + count * dtype.itemsize > len(packed):
        raise ValueError("packed arrays are not all there")
    return np.frombuffer(packed, dtype, count, start).reshape(shape) if count else np.empty(shape, dtype)


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 <= value < LONGEST


def _gap(size: int) -> bytes:
    return bytes(-size % ALIGNMENT)
