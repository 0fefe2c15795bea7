"""Arrays are read as the library reads them, without a copy, and nothing else passes for one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import load, save

from recsys.tensors import read_tensors

DTYPES = [np.bool_, np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64, np.uint64]


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        ),
        max_size=5,
    )
)
@settings(deadline=None, max_examples=100)
def test_they_are_what_the_library_reads(written: dict[str, np.ndarray[Any, Any]]) -> None:
    data = save(written, metadata={"a": "b"})
    ours, theirs = read_tensors(data), load(data)

    assert ours.keys() == theirs.keys() == written.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        assert array.shape == theirs[name].shape
        assert array.tobytes() == theirs[name].tobytes()


def test_they_are_views_of_the_bytes() -> None:
    data = save({"a": np.arange(1_000_000, dtype=np.float32)})
    array = read_tensors(data)["a"]

    assert not array.flags.owndata
    assert not array.flags.writeable


def file_of(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


GOOD = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 16,
        file_of([]),
        file_of({"a": 1}),
        file_of({"a": {**GOOD, "dtype": "O"}}, b"ab"),
        file_of({"a": {**GOOD, "shape": [3]}}, b"ab"),
        file_of({"a": {**GOOD, "shape": [-2]}}, b"ab"),
        file_of({"a": {**GOOD, "shape": None}}, b"ab"),
        file_of({"a": {**GOOD, "data_offsets": [1, 3]}}, b"abc"),
        file_of({"a": {**GOOD, "data_offsets": [-1, 1]}}, b"ab"),
        file_of({"a": {**GOOD, "data_offsets": [True, 3]}}, b"abc"),
        file_of({"a": GOOD, "b": GOOD}, b"ab"),
        file_of({"a": GOOD}, b"a"),
        file_of({"a": GOOD}, b"abc"),
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
)
def test_what_the_library_refuses_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_tensors(data)
    with pytest.raises(Exception, match=r"\w"):
        load(data)


def test_what_is_right_is_not() -> None:
    """The control of the test above."""
    assert read_tensors(file_of({"a": GOOD}, b"ab"))["a"].tolist() == [97, 98]
