"""The numeric matrices of MATLAB 5 files, with every length and checksum verified.

`scipy.io.loadmat` reads these files too, but a flipped bit in an uncompressed
one can crash the interpreter, and it does not reach every checksum.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from ..._typing import AnyArray

_MATRIX, _COMPRESSED, _FLAGS, _DIMS, _NAME = 14, 15, 6, 5, 1
_INTEGER_STORAGE = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"}
_FLOAT_STORAGE = _INTEGER_STORAGE | {7: "f4", 9: "f8"}
_INTEGER_STORAGE |= {12: "i8", 13: "u8"}
_FLOAT_CLASSES, _INTEGER_CLASSES = (6, 7), range(8, 16)
_CLASS_NAMES = dict(
    enumerate(("a cell array", "a structure", "an object", "text", "sparse"), start=1)
)
_COMPLEX = 0x08
Part = tuple[int, memoryview]  # type and content of a data element
_HDF5 = b"\x89HDF\r\n\x1a\n"


def _byte_order(raw: memoryview) -> str:
    """The struct prefix of the file's numbers, from its header."""
    if not len(raw):
        raise ValueError("it is empty")
    if raw[:8] == _HDF5 or raw[512:520] == _HDF5:
        raise ValueError(
            "it is a MATLAB 7.3 (HDF5) file, which MATLAB's save(..., '-v7') turns "
            "into one of MATLAB 5"
        )
    order = {b"IM": "<", b"MI": ">"}.get(bytes(raw[126:128]))
    if order is None or struct.unpack(order + "H", raw[124:126])[0] != 0x0100:
        raise ValueError(
            f"its header is not that of a MATLAB 5 file (begins {bytes(raw[:16])!r}, "
            f"{len(raw)} bytes)"
        )
    return order


def _element(raw: memoryview, start: int, order: str) -> tuple[int, memoryview, int]:
    """Type and content of the data element at `start`, and where the content ends."""
    if len(raw) - start < 8:
        raise ValueError(f"it is cut short or damaged at byte {start}")
    kind, size = struct.unpack_from(order + "II", raw, start)
    begin = start + 8
    if kind >> 16:  # up to four bytes are packed into the tag
        kind, size, begin = kind & 0xFFFF, kind >> 16, start + 4
        if size > 4:
            raise ValueError(f"it is damaged at byte {start}")
    if begin + size > len(raw):
        raise ValueError(
            f"it is cut short or damaged: {size} bytes are announced at byte {start}, "
            f"{len(raw) - begin} are left"
        )
    return kind, raw[begin : begin + size], begin + size


def _inflate(content: memoryview, order: str) -> Part:
    """Type and content of the one element in a compressed element."""
    reader = zlib.decompressobj()
    plain = memoryview(reader.decompress(content))
    if not reader.eof or reader.unused_data:
        raise ValueError("a compressed variable is cut short or damaged")
    kind, inner, end = _element(plain, 0, order)
    if end != len(plain):
        raise ValueError("a compressed variable is damaged: its length is wrong")
    return kind, inner


def _parts(matrix: memoryview, order: str) -> Iterator[Part]:
    """The elements of a matrix, each beginning at a multiple of 8 bytes."""
    start = 0
    while start < len(matrix):
        kind, content, end = _element(matrix, start, order)
        yield kind, content
        start = end + -end % 8


def _values(
    name: str, flags: int, dims: tuple[int, ...], parts: list[Part], order: str
) -> AnyArray:
    """The numbers of a real numeric matrix, in its shape."""
    code = flags & 0xFF
    if code in _CLASS_NAMES or flags >> 8 & _COMPLEX:
        what = _CLASS_NAMES.get(code, "complex")
        raise ValueError(f"`{name}` is {what}, expected real numbers")
    if code not in _FLOAT_CLASSES and code not in _INTEGER_CLASSES:
        raise ValueError(f"`{name}` is of unknown class {code}")
    storage = _FLOAT_STORAGE if code in _FLOAT_CLASSES else _INTEGER_STORAGE
    if len(parts) != 1 or parts[0][0] not in storage:
        raise ValueError(
            f"`{name}` is damaged: it is stored as no numbers of class {code}"
        )
    kind, content = parts[0]
    dtype = np.dtype(order + storage[kind])
    if len(content) != math.prod(dims) * dtype.itemsize:
        raise ValueError(
            f"`{name}` is damaged: {len(content)} bytes for shape {dims} of {dtype.name}"
        )
    values = np.frombuffer(content, dtype).reshape(dims, order="F")
    return values.astype(dtype.newbyteorder("="))


def _header(
    matrix: memoryview, order: str
) -> tuple[int, tuple[int, ...], str, list[Part]]:
    """Flags, shape and name of a matrix, and the elements that follow."""
    parts = list(_parts(matrix, order))
    kinds, contents = zip(*parts[:3])
    if kinds != (_FLAGS, _DIMS, _NAME) or len(contents[0]) != 8 or len(contents[1]) % 4:
        raise ValueError("a variable's header is damaged")
    flags = struct.unpack(order + "II", contents[0])[0]
    dims = struct.unpack(f"{order}{len(contents[1]) // 4}i", contents[1])
    if len(dims) < 2 or min(dims) < 0:
        raise ValueError(f"a variable's header is damaged: shape {dims}")
    return flags, dims, bytes(contents[2]).decode("latin1"), parts[3:]


def read_numeric(path: Path, names: Collection[str]) -> dict[str, AnyArray]:
    """Read real numeric variables of a MATLAB 5 file.

    Parameters
    ----------
    path : Path
        The file.
    names : collection of str
        What to read; other variables may be of any class.

    Returns
    -------
    variables : dict of str to ndarray
        Those of `names` that are there, in the type they are stored in.

    Raises
    ------
    ValueError
        Naming the file, if it is no MATLAB 5 file, cut short or damaged, or a
        variable in `names` is not made of real numbers or is there twice.
    """
    try:
        return _read_numeric(memoryview(path.read_bytes()), names)
    except (ValueError, struct.error, zlib.error, MemoryError) as exc:
        raise ValueError(
            f"{path} cannot be read as a MATLAB 5 file: {exc}. Download, copy or save it again."
        ) from exc


def _read_numeric(raw: memoryview, names: Collection[str]) -> dict[str, AnyArray]:
    """See `read_numeric`; errors do not name the file."""
    order, start = _byte_order(raw), 128
    variables: dict[str, AnyArray] = {}
    while start < len(raw):
        kind, content, start = _element(raw, start, order)
        if kind == _COMPRESSED:
            kind, content = _inflate(content, order)
        if kind != _MATRIX:
            raise ValueError(
                f"it holds an element of type {kind} where a variable should be"
            )
        flags, dims, name, parts = _header(content, order)
        if name in variables:
            raise ValueError(f"`{name}` is there twice")
        if name in names:
            variables[name] = _values(name, flags, dims, parts, order)
    return variables
