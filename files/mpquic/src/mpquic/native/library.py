# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading the library, and the signatures of what it exports (files/mpquic/native/mpquic.h)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

#: Where a release has the library: beside this file.
FILE = Path(__file__).with_name("libmpquic.so")
#: MPQUIC_ABI in mpquic.h.
_ABI = 1

# Values of mpquic.h.
AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305 = range(3)
STOP_ALL, STOP_SHAPE, STOP_FRAMES, STOP_FULL = range(4)
SPLIT_FAULTS = (
    "inner_short",
    "inner_length",
    "inner_version",
    "vnet_short",
    "vnet_type",
    "vnet_size",
    "vnet_offset",
)
MERGE_FAULTS = ("inner_short", "inner_length", "inner_version", "malformed", "context", "partial")
MERGE_MOST = 8192
ADDRESS = 28
MESSAGE = 65600


class NativeError(Exception):
    """The library is not there or not usable; the text says why."""


class Opened(Structure):
    """struct mpquic_opened."""

    _fields_ = (
        ("done", c_uint32),
        ("packets", c_uint32),
        ("payloads", c_uint32),
        ("late", c_uint32),
        ("forged", c_uint32),
        ("stop", c_uint32),
        ("expected", c_uint64),
        ("number", c_uint64),
        ("newest", c_uint32),
        ("reserved", c_uint32),
    )


class Merged(Structure):
    """struct mpquic_merged."""

    _fields_ = (
        ("frames", c_uint32),
        ("packets", c_uint32),
        ("octets", c_uint64),
        ("used", c_uint64),
        ("faults", c_uint32 * len(MERGE_FAULTS)),
    )


#: Items as bytes one after the other, their size, their sizes as the bytes of an array, their number.
_IN = (c_char_p, c_size_t, c_char_p, c_uint32)
#: A buffer and its size, the sizes of what is in it, and how many these may be.
_OUT = (c_void_p, c_size_t, c_void_p, c_uint32)
_ERROR = POINTER(c_int)

_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "mpquic_key_new": (c_void_p, (c_int, c_int, c_char_p, c_char_p, c_char_p)),
    "mpquic_key_free": (None, (c_void_p,)),
    "mpquic_seal": (c_int, (c_void_p, c_uint8, c_char_p, c_size_t, c_uint64, c_size_t, *_IN, *_OUT)),
    "mpquic_open": (
        c_int,
        (
            *(c_void_p, c_char_p, c_uint32, c_uint8, c_uint64),
            *(*_IN, c_uint32),
            *_OUT,
            *(c_void_p, c_void_p, c_uint32, POINTER(Opened)),
        ),
    ),
    "mpquic_split": (c_int, (*_IN, *_OUT, c_void_p, c_void_p)),
    "mpquic_pairs": (c_int, (*_IN, c_void_p, c_void_p, c_void_p)),
    "mpquic_merge": (
        c_int,
        (*_IN, c_int, c_void_p, c_char_p, c_void_p, c_uint32, *_OUT, POINTER(Merged)),
    ),
    "mpquic_send": (
        c_int,
        (c_int, c_char_p, c_uint32, c_int, c_int, c_int, c_int, *_IN, POINTER(c_uint32), _ERROR),
    ),
    "mpquic_receive": (
        c_int,
        (c_int, c_uint32, c_void_p, c_size_t, c_void_p, c_void_p, c_void_p, c_uint32, _ERROR),
    ),
    "mpquic_read": (c_int, (c_int, c_size_t, *_OUT, _ERROR)),
    "mpquic_write": (c_int, (c_int, *_IN, _ERROR)),
}


class Library:
    """The functions of the library, named as in mpquic.h without ``mpquic_``."""

    def __init__(self, file: Path) -> None:
        """Load it. Raises NativeError."""
        try:
            loaded = ctypes.CDLL(str(file))
            found = loaded.mpquic_abi()
            if found != _ABI:
                raise NativeError(f"{file} is of version {found}, this program needs {_ABI}")
            functions: dict[str, Any] = {}
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
                functions[name.removeprefix("mpquic_")] = function
        except OSError as error:
            raise NativeError(str(error)) from error
        except AttributeError as error:
            raise NativeError(f"{file}: {error}") from error
        self.key_new, self.key_free = functions["key_new"], functions["key_free"]
        self.seal, self.open = functions["seal"], functions["open"]
        self.split = functions["split"]
        self.pairs, self.merge = functions["pairs"], functions["merge"]
        self.send, self.receive = functions["send"], functions["receive"]
        self.read, self.write = functions["read"], functions["write"]


def load(file: Path | None = None) -> Library:
    """Return the library. Raises NativeError when there is none or it does not fit this program."""
    file = file or FILE
    if not file.exists():
        raise NativeError(f"{file} is not there")
    return Library(file)
