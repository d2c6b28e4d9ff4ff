"""Files as Caffe2 wrote them under Python 2, and Caffe2's names of SlowFast's parameters."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping

import numpy as np

# Written by Python 2.7.18 with numpy 1.16.6: {"blobs": GENUINE_BLOBS}, names as text or as bytes,
# as they come about in Caffe2's code.
GENUINE = (
    "gAJ9cQFVBWJsb2JzcQJ9cQMoWBAAAABjb252MV93X21vbWVudHVtY251bXB5LmNvcmUubXVsdGlhcnJheQpfcmVjb2"
    "5zdHJ1Y3QKcQRjbnVtcHkKbmRhcnJheQpxBUsAhVUBYodScQYoSwEoSwJLA0sBSwFLAnRjbnVtcHkKZHR5cGUKcQdV"
    "AmY0SwBLAYdScQgoSwNVATxOTk5K/////0r/////SwB0YolVMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAHRiVQZwcmVkX2JoBGgFSwCFVQFih1JxCShLAUsDhWgIiVUMAADgQAAAAEEAABBBdGJV"
    "EHJlc19jb252MV9ibl9yaXZoBGgFSwCFVQFih1JxCihLAUsChWgIiVUIAADAPwAAIEB0YlgKAAAAbW9kZWxfaXRlcn"
    "ELTSYDWAIAAABscnEMaARoBUsAhVUBYodScQ0oSwEpaAiJVQQK16M6dGJVBnByZWRfd2gEaAVLAIVVAWKHUnEOKEsB"
    "SwNLAoZoB1UCZjhLAEsBh1JxDyhLA1UBPE5OTkr/////Sv////9LAHRiiFUwAAAAAAAAAAAAAAAAAAAAQAAAAAAAAB"
    "BAAAAAAAAA8D8AAAAAAAAIQAAAAAAAABRAdGJVB2NvbnYxX3doBGgFSwCFVQFih1JxEChLAShLAksDSwFLAUsCdGgI"
    "iVUwAAAAAAAAgD8AAABAAABAQAAAgEAAAKBAAADAQAAA4EAAAABBAAAQQQAAIEEAADBBdGJ1cy4="
)
GENUINE_BLOBS = {
    "model_iter": 806,
    "lr": np.array(0.00125, np.float32),
    "conv1_w_momentum": np.zeros((2, 3, 1, 1, 2), np.float32),
    "conv1_w": np.arange(12, dtype=np.float32).reshape(2, 3, 1, 1, 2),
    "res_conv1_bn_riv": np.array([1.5, 2.5], np.float32),
    "pred_w": np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    "pred_b": np.array([7, 8, 9], np.float32),
}

# In order: how SlowFast's name of a parameter becomes Caffe2's.
_STEPS = (
    (r"bn\.weight$", "bn_s"),
    (r"\.running_mean$", "_rm"),
    (r"\.running_var$", "_riv"),
    (r"\.weight$", "_w"),
    (r"\.bias$", "_b"),
    (r"^s1_fuse\.(conv_f2s|bn)", r"t_pool1_subsample\1"),
    (r"^s(\d)_fuse\.(conv_f2s|bn)", r"t_res\1_LAST\1_branch2c_bn_subsample\2"),
    (r"subsamplebn", "subsample_bn"),
    (r"subsampleconv_f2s", "subsample"),
    (r"^s1\.pathway0_stem\.bn", "res_conv1_bn"),
    (r"^s1\.pathway1_stem\.bn", "t_res_conv1_bn"),
    (r"^s1\.pathway0_stem\.conv", "conv1"),
    (r"^s1\.pathway1_stem\.conv", "t_conv1"),
    (r"^s(\d)\.pathway0_nonlocal(\d+)\.(conv_)?", r"nonlocal_conv\1_\2_"),
    (r"^s(\d)\.pathway0_res(\d+)\.", r"res\1_\2_"),
    (r"^s(\d)\.pathway1_res(\d+)\.", r"t_res\1_\2_"),
    (r"branch2\.", "branch2"),
    (r"^head\.projection", "pred"),
)
_LAST_BLOCKS = {"LAST2": "2", "LAST3": "3", "LAST4": "5", "LAST5": "2"}  # of a ResNet 50


def caffe2_name(name: str) -> str:
    """What Caffe2 calls the parameter `name` of a SlowFast model of depth 50."""
    for pattern, replacement in _STEPS:
        name = re.sub(pattern, replacement, name)
    for last, block in _LAST_BLOCKS.items():
        name = name.replace(last, block)
    return name


def text(value: str) -> bytes:
    """unicode, of Python 2."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def string(value: bytes) -> bytes:
    """str, of Python 2."""
    return b"T" + struct.pack("<i", len(value)) + value


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def many(items: Iterable[bytes]) -> bytes:
    """A tuple."""
    return b"(" + b"".join(items) + b"t"


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"


def dtype(code: bytes, byte_order: bytes = b"<") -> bytes:
    made = b"cnumpy\ndtype\n" + many([string(code), integer(0), integer(1)]) + b"R"
    state = [integer(3), string(byte_order), b"NNN", integer(-1), integer(-1), integer(0)]
    return made + many(state) + b"b"


def array_of(shape: Iterable[int], kind: bytes, content: bytes) -> bytes:
    """An array with this shape, written dtype and written content, whether they agree or not."""
    made = RECONSTRUCT + many([NDARRAY, many([integer(0)]), string(b"b")]) + b"R"
    return made + many([integer(1), many(map(integer, shape)), kind, b"\x89", content]) + b"b"


def array(values: np.ndarray) -> bytes:
    return array_of(values.shape, dtype(values.dtype.str[1:].encode()), string(values.tobytes()))


def python2_pickle(blobs: Mapping[str, object], momentum: bool = True) -> bytes:
    """{"blobs": ...} of arrays and ints, with a momentum for each weight and Caffe2's counters."""
    written = {string(name.encode()): value for name, value in blobs.items()}
    if momentum:
        names = [name for name in blobs if not name.endswith(("_rm", "_riv"))]
        written |= {text(f"{name}_momentum"): np.zeros(3, np.float32) for name in names}
        written |= {text("model_iter"): 806, text("lr"): np.array(0.1, np.float32)}
    return pickle_of(
        {
            name: array(value) if isinstance(value, np.ndarray) else integer(value)
            for name, value in written.items()
        }
    )


def pickle_of(blobs: Mapping[bytes, bytes]) -> bytes:
    """{"blobs": ...} of what is written already."""
    items = b"".join(name + value for name, value in blobs.items())
    return b"\x80\x02}" + string(b"blobs") + b"}(" + items + b"us."
