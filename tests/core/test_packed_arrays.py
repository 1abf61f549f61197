"""What is packed comes out as it was, and nothing but numbers comes out."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedward_core.arrays import digest
from fedward_core.packed_arrays import pack, unpack

ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8, np.uint16, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)


@given(st.dictionaries(st.text(max_size=8), ARRAYS, max_size=5))
def test_unpacking_gives_back_what_was_packed(arrays: dict[str, np.ndarray]) -> None:
    unpacked = unpack(pack(arrays))
    assert list(unpacked) == list(arrays)
    assert digest(unpacked) == digest(arrays)


def test_views_are_aligned_and_cannot_be_written() -> None:
    strided = np.arange(12, dtype=np.float32).reshape(3, 4).T
    unpacked = unpack(pack({"odd": np.arange(3, dtype=np.uint8), "strided": strided}))
    assert (unpacked["strided"] == strided).all()
    assert unpacked["strided"].flags.aligned
    with pytest.raises(ValueError, match="read-only"):
        unpacked["odd"][0] = 1


def header(*entries: list[object]) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff" * 8,
        header(["a", "<f4", [2]]),
        header(["a", "|O", [1]]) + bytes(200),
        header(["a", "<U4", [1]]) + bytes(200),
        header(["a", "<f4", [-1]]) + bytes(200),
        header(["a", "<f4", [2**62, 4]]) + bytes(200),
        header(["a", "<f16", [1]]) + bytes(200),
        header(["a", ">f4", [1]]) + bytes(200),
        header(["\ud800", "<f4", [1]]) + bytes(200),
        header(["a", "f4,(3f4", [1]]) + bytes(200),
        header(["a", {"x": 5}, [1]]) + bytes(200),
        header(["a", "<f4", [[0], 10**12]]) + bytes(200),
        header(["a", "<f4", [0, 10**400]]) + bytes(200),
        header(["a", "<f4", [10**18] * 100_000]) + bytes(200),
        header(["a", "<f4", [True]]) + bytes(200),
        header(["a", "<f4", 1]) + bytes(200),
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
    ],
)
def test_what_is_not_a_whole_pack_of_numbers_is_refused(packed: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        unpack(packed)


@pytest.mark.parametrize("depth", range(900, 1000))
def test_a_header_of_any_depth_is_refused_as_a_wrong_one(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    with pytest.raises((ValueError, TypeError)):
        unpack(len(nested).to_bytes(8, "little") + nested)
