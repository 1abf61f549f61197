"""Arrays on disk: whole or not at all, and known by a digest."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fedward_core.arrays import Array, digest, num_bytes, read_arrays, under, write_arrays
from fedward_core.atomic import replacing, writer_of
from fedward_core.errors import CheckpointError

TYPES = st.sampled_from(["<f4", "<f8", "<f2", "<i8", "<i4", "<u2", "|i1", "|b1"])
ANY_ARRAY = TYPES.flatmap(lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
ANY_ARRAYS = st.dictionaries(st.text("abc.0", min_size=1, max_size=8), ANY_ARRAY, max_size=4)
FACTS = {"round": 3, "names": ["a", "b"], "loss": 0.25, "none": None}


def some_arrays() -> dict[str, Array]:
    return {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7)}


@settings(deadline=None)
@given(state=ANY_ARRAYS)
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Array]) -> None:
    path = tmp_path_factory.mktemp("arrays") / "state.safetensors"
    write_arrays(path, state, FACTS)
    found, facts = read_arrays(path)
    assert facts == FACTS
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert (found[name].shape, found[name].dtype, found[name].tobytes()) == (
            array.shape,
            array.dtype,
            array.tobytes(),
        )


def test_an_array_in_another_layout_is_written_by_its_values(tmp_path: Path) -> None:
    turned = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2].T
    write_arrays(tmp_path / "a", {"w": turned})
    assert read_arrays(tmp_path / "a")[0]["w"].tolist() == turned.tolist()


@given(state=ANY_ARRAYS)
def test_the_digest_does_not_depend_on_the_order_of_names(state: dict[str, Array]) -> None:
    assert digest(state) == digest(dict(reversed(state.items())))


@pytest.mark.parametrize(
    "other",
    [
        {"v": np.zeros((2, 3), np.float32)},
        {"w": np.zeros((3, 2), np.float32)},
        {"w": np.zeros((2, 3), np.int32)},
        {"w": np.full((2, 3), -0.0, np.float32)},
        {"w": np.zeros((2, 3), np.float32), "v": np.zeros(0, np.float32)},
        {},
    ],
)
def test_the_digest_depends_on_names_types_shapes_and_bits(other: dict[str, Array]) -> None:
    assert digest({"w": np.zeros((2, 3), np.float32)}) != digest(other)


def test_a_number_and_a_vector_of_one_differ() -> None:
    assert digest({"w": np.array(1.0)}) != digest({"w": np.array([1.0])})


def test_the_digest_does_not_depend_on_the_layout() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest({"w": array}) == digest({"w": np.asfortranarray(array)})
    assert len(digest({})) == 64


def test_bytes_are_those_of_the_values() -> None:
    assert num_bytes({"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.int8)}) == 29


@settings(deadline=None)
@given(data=st.data())
def test_a_file_with_any_bit_flipped_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("flipped") / "state.safetensors"
    write_arrays(path, some_arrays(), FACTS)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.safetensors"):
        read_arrays(path)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a"
    write_arrays(path, some_arrays())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="cannot read 'a'"):
        read_arrays(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(CheckpointError, match=f"cannot read '{path.name}'") as caught:
            read_arrays(path)
        assert str(tmp_path.parent) not in str(caught.value)


def test_messages_name_the_file_but_not_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError) as caught:
        read_arrays(tmp_path / "a")
    assert str(tmp_path) not in str(caught.value)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_arrays(path, some_arrays(), FACTS)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CheckpointError, match=r"cannot write 'a': No space left on device. The previous file is untouched"
    ):
        write_arrays(path, {"other": np.zeros(3)})
    assert digest(read_arrays(path)[0]) == digest(some_arrays())
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write 'a'"):
        write_arrays(tmp_path / "file" / "a", some_arrays())


def test_nobody_sees_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_any_other_error_passes_and_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:  # noqa: PT012 - both lines belong to the block
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_must_survive_a_loss_of_power_is_flushed_and_then_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []

    def flush(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", flush)
    write_arrays(tmp_path / "a", some_arrays())
    assert flushed == [f".a.{writer_of(os.getpid())}.part", tmp_path.name]


def test_what_need_not_survive_a_loss_of_power_is_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> Any:
        raise AssertionError("flushed")

    monkeypatch.setattr(os, "fsync", refuse)
    write_arrays(tmp_path / "a", some_arrays(), durable=False)
    assert digest(read_arrays(tmp_path / "a")[0]) == digest(some_arrays())


def test_arrays_under_a_prefix_are_found_by_the_rest_of_their_names() -> None:
    one, two = np.zeros(1), np.ones(1)
    assert under("a/", {"a/w": one, "b/w": two, "a": two, "a/a/w": two}) == {"w": one, "a/w": two}
