"""Caffe2's pickles are read as Python reads them, and nothing that they name is ever called."""

from __future__ import annotations

import base64
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from caffe2_files import (
    GENUINE,
    GENUINE_BLOBS,
    NDARRAY,
    RECONSTRUCT,
    array,
    array_of,
    dtype,
    integer,
    many,
    pickle_of,
    python2_pickle,
    string,
    text,
)
from hypothesis import given
from hypothesis import strategies as st

from actionrec.engine import caffe2_pickle
from actionrec.errors import SecurityError, UserError

PATH = Path("weights.pkl")
ARRAYS = {
    "whole": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "big_endian": np.arange(3, dtype=">f8"),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
    "scalar": np.array(0.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "integers": np.arange(-2, 3, dtype=np.int64),
    "flags": np.array([True, False]),
}


def read(pickled: bytes) -> dict:
    return caffe2_pickle.read_blobs(PATH, pickled)


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(
        np.array_equal(left[name], right[name])
        and getattr(left[name], "dtype", int) == getattr(right[name], "dtype", int)
        for name in left
    )


def test_a_file_that_python_2_wrote_is_read():
    assert same(read(base64.b64decode(GENUINE)), GENUINE_BLOBS)


def test_the_files_that_tests_write_are_what_python_reads_in_them():
    blobs = {**GENUINE_BLOBS, "one": np.ones(70_000, np.float32)}
    pickled = python2_pickle(blobs, momentum=False)
    assert same(pickle.loads(pickled, encoding="latin1")["blobs"], blobs)
    assert same(read(pickled), blobs)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_files_that_python_3_wrote_are_read(protocol, module):
    blobs = {**ARRAYS, "number": np.float32(0.25), "count": 2**40, "note": "x", "none": None}
    blobs["again"] = blobs["whole"]
    pickled = pickle.dumps({"blobs": blobs}, protocol)
    if protocol < 4:  # later ones write the length of a name before it
        pickled = pickled.replace(b"cnumpy._core", b"c" + module)
    assert same(read(pickled), blobs)


class Payload:
    """Unpickled carelessly, makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_a_call_is_named_and_not_made(tmp_path, protocol):
    pickled = pickle.dumps({"blobs": {"conv1_w": Payload(tmp_path / "canary")}}, protocol)
    with pytest.raises(SecurityError, match=r"weights.pkl: refused, .*\(posix\.mkdir\)"):
        read(pickled)
    assert not (tmp_path / "canary").exists()


A = array(np.zeros(2, np.float32))
F4 = dtype(b"f4")
REFUSED = {
    "INST": (b"(" + text("canary") + b"iposix\nmkdir\n", "instruction INST"),
    "OBJ": (b"(" + NDARRAY + b"o", "instruction OBJ"),
    "NEWOBJ": (NDARRAY + b")\x81", "instruction NEWOBJ"),
    "NEWOBJ_EX": (NDARRAY + b")}\x92", "instruction NEWOBJ_EX"),
    "EXT1": (b"\x82\x01", "instruction EXT1"),
    "EXT4": (b"\x84\x01\x00\x00\x00", "instruction EXT4"),
    "PERSID": (b"Pcanary\n", "instruction PERSID"),
    "BINPERSID": (text("canary") + b"Q", "instruction BINPERSID"),
    "a list": (b"]", "instruction EMPTY_LIST"),
    "a bomb of a memo": (integer(1) + b"p4000000000\n", "instruction PUT"),
    "a bomb of a buffer": (b"\x96" + b"\x01" + bytes(7) + b"x", "instruction BYTEARRAY8"),
    "a builtin": (b"c__builtin__\neval\n", "__builtin__.eval"),
    "an attribute": (b"cnumpy\nndarray.tofile\n", "numpy.ndarray.tofile"),
    "numpy's own loader": (b"cnumpy\nload\n", "numpy.load"),
    "torch's loader": (b"ctorch.storage\n_load_from_bytes\n", "torch.storage._load_from_bytes"),
    "a name that draws": (b"cos\n\x1b[2J\n", None),
    "a call of ndarray": (NDARRAY + many([many([integer(9)])]) + b"R", "a call of numpy.ndarray"),
    "another class": (
        RECONSTRUCT + many([b"cnumpy\ndtype\n", many([integer(0)]), string(b"b")]) + b"R",
        "an array of another class",
    ),
    "objects": (array_of([1], dtype(b"O8", b"|"), string(bytes(8))), "type O8"),
    "records": (array_of([1], dtype(b"V8", b"|"), string(bytes(8))), "type V8"),
    "a compound type": (
        b"cnumpy\ndtype\n" + many([string(b"f4")]) + b"R"
        + many([integer(3), string(b"<"), b"N", many([text("x")]), b"}", integer(4)]) + b"b",
        "a compound type",
    ),
    "another encoding": (
        b"c_codecs\nencode\n" + many([text("x"), text("rot13")]) + b"R", "encoding rot13",
    ),
    "bytes of any length": (b"c__builtin__\nbytes\n" + many([integer(10**9)]) + b"R", None),
    "an endless structure": (b"})" + b"\x85" * 100_000 + integer(1) + b"s", None),
    "too few bytes": (array_of([10**9], F4, string(b"1234")), "do not agree"),
    "more dimensions": (array_of([1] * 9, F4, string(b"1234")), "impossible shape"),
    "less than none": (array_of([-1, -1], F4, string(b"1234")), "impossible shape"),
    "text that is no bytes": (array_of([1], F4, text("\u20ac\u20ac")), None),
    "an array as a type": (array_of([1], A, string(b"1234")), "without type or shape"),
    "a state of a dict": (b"}" + many([integer(1)]) + b"b", "a state for what has none"),
    "a call of a number": (integer(1) + b")R", "a call of what is no function"),
    "an empty memo": (b"h\x07", None),
    "an empty stack": (b"\x87\x87\x87", None),
    "a mark above the stack": (b"NN(\x86t", None),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_array_of_numbers_is_refused_in_one_line(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    written, said = REFUSED[kind]
    with pytest.raises(UserError) as caught:
        read(pickle_of({text("conv1_w"): written}))
    line = str(caught.value)
    assert line.isprintable() and len(line) < 250
    assert said is None or said in line
    assert isinstance(caught.value, SecurityError) == ("refused, nothing was executed" in line)
    assert list(tmp_path.iterdir()) == []


def test_arrays_can_not_fill_more_than_twice_the_file():
    """One content, memorised, becomes an array again and again."""
    content = text("x" * 400_000) + b"q\x00"
    again = array_of([100_000], F4, b"h\x00")
    bomb = {text("first"): content}
    bomb |= {text(f"conv{n}"): again for n in range(1000)}
    tracemalloc.start()
    try:
        with pytest.raises(SecurityError, match="arrays larger than the file"):
            read(pickle_of(bomb))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_program_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr(caffe2_pickle, "MAX_INSTRUCTIONS", 50)
    with pytest.raises(SecurityError, match="more than 50 instructions"):
        read(pickle_of({text("x"): b")" + b"\x85" * 100}))


@pytest.mark.parametrize("content", [{}, {"blobs": 3}, {"model": {}}, 7, "text", None])
def test_a_pickle_without_blobs_is_no_caffe2_checkpoint(content):
    with pytest.raises(UserError, match="holds no 'blobs'"):
        read(pickle.dumps(content, 2))


def test_a_file_cut_anywhere_is_one_line():
    pickled = base64.b64decode(GENUINE)
    for length in range(2, len(pickled)):
        with pytest.raises(UserError, match="damaged"):
            read(pickled[:length])


@given(st.data())
def test_no_change_of_a_file_gives_anything_but_blobs_or_one_line(data):
    pickled = bytearray(base64.b64decode(GENUINE))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(2, len(pickled)))
        stop = data.draw(st.integers(start, min(start + 4, len(pickled))))
        pickled[start:stop] = data.draw(st.binary(max_size=6))
    try:
        blobs = read(bytes(pickled))
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert isinstance(blobs, dict) and all(isinstance(name, str) for name in blobs)


@given(st.binary(max_size=60))
def test_noise_is_one_line(noise):
    try:
        read(b"\x80\x02" + noise)
    except UserError as error:
        assert str(error).isprintable()
