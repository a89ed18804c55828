"""Reader of archives that torch.save wrote, for plain data and tensors alone.

An archive is a zip file: `data.pkl` is a pickle, and `data/KEY` has the bytes of one storage.
torch.load takes as much memory as a file declares. Here every size is compared with the file before
memory is taken, and the pickle can neither name a function nor change an object.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import sys
from collections.abc import Mapping
from io import BytesIO
from struct import unpack_from
from typing import IO, Any, NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import torch
from torch import Tensor

MEMORY_FACTOR, SPARE_MEMORY = 10, 2**24  # bytes for objects: factor of the file's size, and more
MAX_DIRECTORY = 2**20  # bytes of the table of contents
MAX_DEPTH = 64  # of containers inside each other
CHUNK = 2**24  # bytes read at once
DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}
# Opcodes of plain data and tensors, with the bytes that one takes at most in memory. A string or a
# long integer takes its length in addition.
OPCODES = {
    **dict.fromkeys(("PROTO", "STOP", "MARK", "BINPERSID", "GLOBAL"), 64),
    **dict.fromkeys(("NONE", "NEWTRUE", "NEWFALSE", "BININT1", "EMPTY_TUPLE"), 8),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"), 8),
    **dict.fromkeys(("BININT", "BININT2", "LONG1", "BINFLOAT"), 40),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE"), 80),
    **dict.fromkeys(("EMPTY_LIST", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), 80),
    **dict.fromkeys(("APPEND", "APPENDS", "SETITEM"), 32),
    **dict.fromkeys(("EMPTY_DICT", "SETITEMS"), 80),
    "REDUCE": 200,
}


class ArchiveError(ValueError):
    """An archive that torch.save did not write from plain data; the message says why."""


class _Storage(NamedTuple):
    """Declaration of a storage: its type, the entry that holds it and its number of elements."""

    dtype: torch.dtype
    key: str
    elements: int


class _Stored(NamedTuple):
    """Declaration of a tensor."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_archive(file: IO[bytes], size: int) -> Any:
    """Return the data of an archive that ends with the file.

    Args:
        file: A file; bytes before the archive are skipped.
        size: Its bytes.

    Raises:
        ArchiveError: The archive holds something else than data, or declares more than it has.
    """
    _check_directory(file, size)
    with ZipFile(file) as archive:
        entries = _checked_entries(archive, size)
        order = archive.read(entries["byteorder"]) if "byteorder" in entries else b"little"
        if order.decode() != sys.byteorder:
            raise ArchiveError("its numbers have another byte order")
        content = archive.read(entries["data.pkl"])
        _check_opcodes(content, size)
        return _Builder(archive, entries, len(content)).build(_Unpickler(BytesIO(content)).load())


def _check_directory(file: IO[bytes], size: int) -> None:
    """Check the length of the table of contents, which zipfile reads as a whole."""
    file.seek(max(size - 98, 0))
    end = file.read()
    if len(end) < 22 or end[-22:-18] != b"PK\5\6":
        raise ArchiveError("it is not an archive")
    (length,) = unpack_from("<I", end, len(end) - 10)
    if end[:4] == b"PK\6\6":  # of a large archive
        (length,) = unpack_from("<Q", end, 40)
    if length > MAX_DIRECTORY:
        raise ArchiveError("it has too many entries")


def _checked_entries(archive: ZipFile, size: int) -> dict[str, ZipInfo]:
    """Return the entries by name, without the folder that torch puts them in."""
    entries: dict[str, ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.partition("/")[2]
        is_plain = info.compress_type == ZIP_STORED and info.compress_size == info.file_size
        if name in entries or not is_plain or info.flag_bits & 1:
            raise ArchiveError("its entries are compressed, encrypted or there twice")
        entries[name] = info
    if sum(info.file_size for info in entries.values()) > size:
        raise ArchiveError("its entries are larger than the file")
    if "data.pkl" not in entries:
        raise ArchiveError("it has no entry data.pkl")
    return entries


def _check_opcodes(content: bytes, size: int) -> None:
    """Check that a pickle only makes data, and that they fit into a multiple of the file."""
    spare = MEMORY_FACTOR * size + SPARE_MEMORY
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name not in OPCODES:
            raise ArchiveError(f"it does more than hold data ({opcode.name})")
        spare -= OPCODES[opcode.name]
        if isinstance(argument, str):
            spare -= 4 * len(argument)
        # The unpickler's memory of earlier objects is an array up to the largest number.
        if opcode.name == "LONG_BINPUT" and int(argument or 0) > number:
            spare = -1
        if spare < 0:
            raise ArchiveError("its objects take far more memory than the file has bytes")


def _stored(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> _Stored:
    if not isinstance(storage, _Storage):
        raise ArchiveError("a tensor has no storage")
    return _Stored(storage, offset, shape, stride)


class _Unpickler(pickle.Unpickler):
    """Unpickler that knows tensors and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the declaration of a tensor or the type of a storage."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _stored
        if (module, name) == ("collections", "OrderedDict"):  # of a tensor's hooks
            return dict
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise ArchiveError(f"it names {module}.{name}, which is no data")

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the declaration of a storage."""
        kind, dtype, key, _, count = pid
        is_valid = isinstance(dtype, torch.dtype) and isinstance(key, str) and _is_natural(count)
        if kind != "storage" or not is_valid:
            raise ArchiveError("a storage is not declared as torch does")
        return _Storage(dtype, key, count)


class _Builder:
    """Replaces declarations of tensors by tensors, whose storages are read once."""

    def __init__(self, archive: ZipFile, entries: Mapping[str, ZipInfo], spare: int) -> None:
        self._archive, self._entries = archive, entries
        # An object that is shared many times is built as often.
        self._spare = 4 * spare + 1000
        self._storages: dict[_Storage, Tensor] = {}

    def build(self, value: Any, depth: int = 0) -> Any:
        """Return plain data and tensors."""
        self._spare -= 1
        if depth > MAX_DEPTH or self._spare < 0:
            raise ArchiveError("its data is nested too deeply")
        if isinstance(value, _Stored):
            return self._tensor(value)
        if type(value) is dict:
            if not all(isinstance(key, (str, int)) for key in value):
                raise ArchiveError("a key is neither a string nor a number")
            return {key: self.build(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.build(item, depth + 1) for item in value)
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise ArchiveError(f"it has a {type(value).__name__}, which is no data")

    def _tensor(self, stored: _Stored) -> Tensor:
        storage, offset, shape, stride = stored
        if not (isinstance(shape, tuple) and isinstance(stride, tuple) and len(shape) < 16):
            raise ArchiveError("a tensor has no shape")
        if len(shape) != len(stride) or not all(map(_is_natural, (offset, *shape, *stride))):
            raise ArchiveError("a tensor has no shape")
        count = math.prod(shape)
        reach = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if count and (offset + reach >= storage.elements or count > storage.elements):
            raise ArchiveError(f"a tensor of shape {list(shape)} is larger than its storage")
        if max(shape, default=0) >= 2**31 or (not count and offset > storage.elements):
            raise ArchiveError(f"a tensor has the shape {list(shape)}")
        return self._storage(storage).as_strided(shape, stride, offset)

    def _storage(self, storage: _Storage) -> Tensor:
        if storage not in self._storages:
            info = self._entries.get(f"data/{storage.key}")
            if info is None or info.file_size != storage.elements * storage.dtype.itemsize:
                raise ArchiveError(f"entry data/{storage.key} has not the size that is declared")
            values = self._read(info)
            if storage.dtype is torch.bool and values.numel() and values.max() > 1:
                raise ArchiveError(f"entry data/{storage.key} has values that are no booleans")
            self._storages[storage] = values.view(storage.dtype)
        return self._storages[storage]

    def _read(self, info: ZipInfo) -> Tensor:
        values = torch.empty(info.file_size, dtype=torch.uint8)
        target, start = values.numpy(), 0
        with self._archive.open(info) as entry:
            while piece := entry.read(CHUNK):
                target[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
                start += len(piece)
        if start != info.file_size:
            raise ArchiveError(f"entry {info.filename} ends too early")
        return values


def _is_natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62
