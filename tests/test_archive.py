from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dqn_cli.archive import ArchiveError, read_archive

BOMB = bytes(2**20)


def archive(pickled: bytes, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """An archive with a pickle, and entries of `data`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        written.writestr("archive/data.pkl", pickled)
        for key, content in entries.items():
            written.writestr(f"archive/data/{key}", content)
    return file.getvalue()


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def stored(
    count: int, offset: int, shape: bytes, stride: bytes, kind: bytes = b"FloatStorage"
) -> bytes:
    """Opcodes of a tensor in the entry `x`."""
    storage = b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + text(b"x") + text(b"cpu")
    storage += number(count) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    inside = storage + number(offset) + shape + stride + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + inside + b"tR"


def field(value: bytes) -> bytes:
    """A pickle of a dict with one field."""
    return b"\x80\x02}" + text(b"a") + value + b"s."


def laughs(depth: int) -> bytes:
    """A pickle of lists that each have the one before ten times."""
    rows = (b"K%c]q%c(" % (n, n + 1) + b"h%c" % n * 10 + b"e" for n in range(depth))
    return b"\x80\x02}(" + text(b"leaf") + b"q\x00N" + b"".join(rows) + b"u."


def read(content: bytes) -> object:
    return read_archive(io.BytesIO(b"before" + content), len(content) + 6)


def test_data_and_tensors_of_torch_save_are_read() -> None:
    view = torch.from_numpy(np.arange(24, dtype=np.int32).reshape(4, 6))[1:, :3]
    data = {
        "view": view, "scalar": torch.tensor(3.5), "empty": torch.zeros(2, 0), "none": None,
        "bits": torch.tensor([True, False]), "nested": {"l": [1, -2.5, 2**70], "t": ("x", ())},
        "bytes": torch.arange(5, dtype=torch.uint8), "half": torch.ones(2, dtype=torch.bfloat16),
    }  # fmt: skip
    file = io.BytesIO(b"before")
    file.seek(6)
    torch.save(data, file, pickle_protocol=2)
    loaded = read_archive(file, len(file.getvalue()))
    for name, value in data.items():
        if isinstance(value, torch.Tensor):
            assert loaded[name].dtype == value.dtype
            assert torch.equal(loaded[name], value)
        else:
            assert loaded[name] == value
    loaded["view"][0, 0] = 7  # it has memory of its own


def test_the_archive_that_the_attacks_are_made_of_is_read_itself() -> None:
    good = stored(4, 0, numbers(2, 2), numbers(2, 1))
    loaded = read(archive(field(good), x=np.arange(4, dtype=np.float32).tobytes()))
    assert isinstance(loaded, dict)
    assert loaded["a"].tolist() == [[0, 1], [2, 3]]


SIXTEEN = {"x": bytes(16)}
ATTACKS = {
    "a large storage": (stored(2**30, 0, numbers(2**30), numbers(1)), SIXTEEN, "not the size"),
    "a large shape": (stored(4, 0, numbers(2**30), numbers(1)), SIXTEEN, "larger than its storage"),
    "strides of 0": (stored(4, 0, numbers(2**30), numbers(0)), SIXTEEN, "larger than its storage"),
    "a far offset": (stored(4, 2**40, numbers(1), numbers(1)), SIXTEEN, "larger than its storage"),
    "a far stride": (stored(4, 0, numbers(2), numbers(9)), SIXTEEN, "larger than its storage"),
    "a negative stride": (stored(4, 3, numbers(4), numbers(-1)), SIXTEEN, "no shape"),
    "no shape": (stored(4, 0, b"N", b"N"), SIXTEEN, "no shape"),
    "no entry": (stored(4, 0, numbers(4), numbers(1)), {}, "not the size"),
    "no booleans": (
        stored(4, 0, numbers(4), numbers(1), b"BoolStorage"),
        {"x": b"\2" * 4},
        "no booleans",
    ),
    "another storage": (stored(4, 0, b")", b")", b"PrivateStorage"), SIXTEEN, "is no data"),
    "a function": (b"cposix\nsystem\n" + text(b"true") + b"\x85R", {}, "posix.system"),
    "bytes": (b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R", {}, "bytearray"),
    "an object": (b"ccollections\nOrderedDict\n)\x81", {}, "NEWOBJ"),
    "a state": (b"ccollections\nOrderedDict\n)R}b", {}, "BUILD"),
    "a large memory": (b"]r\xff\xff\xff\x7f", {}, "far more memory"),
    "many dicts": (b"(" + b"}" * 2**19 + b"t", {}, "far more memory"),
    "a deep list": (b"]" * 5000 + b"a" * 4999, {}, "too deeply"),
    "a deep tuple": (b")" + b"\x85" * 10_000, {}, "too deeply"),
    "a long number": (b"\x8b" + struct.pack("<i", 2**16) + b"\x7f" * 2**16, {}, "LONG4"),
    "a storage itself": (b"ctorch\nFloatStorage\n", {}, "is no data"),
}


@pytest.mark.parametrize(("value", "entries", "told"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused(value: bytes, entries: dict[str, bytes], told: str) -> None:
    with pytest.raises(ArchiveError, match=told):
        read(archive(field(value), **entries))


def test_lists_of_lists_of_lists_are_refused() -> None:
    read(archive(laughs(2)))
    with pytest.raises(ArchiveError, match="too deeply"):
        read(archive(laughs(40)))


def test_a_dict_that_holds_itself_is_refused() -> None:
    with pytest.raises(ArchiveError, match="too deeply"):
        read(archive(b"\x80\x02}q\x00" + text(b"a") + b"h\x00s."))


def test_compressed_and_double_entries_are_refused() -> None:
    value = field(stored(2**18, 0, numbers(2**18), numbers(1)))
    with pytest.raises(ArchiveError, match="compressed"):
        read(archive(value, zipfile.ZIP_DEFLATED, x=BOMB))
    file = io.BytesIO(archive(value, x=BOMB))
    with zipfile.ZipFile(file, "a") as written, pytest.warns(UserWarning, match="Duplicate"):
        written.writestr("archive/data/x", BOMB)
    with pytest.raises(ArchiveError, match="twice"):
        read(file.getvalue())


def test_many_entries_are_refused() -> None:
    with pytest.raises(ArchiveError, match="too many entries"):
        read(archive(field(b"N"), **{f"{n:040}": b"" for n in range(12_000)}))


def test_another_byte_order_is_refused() -> None:
    file = io.BytesIO(archive(field(b"N")))
    with zipfile.ZipFile(file, "a") as written:
        written.writestr("archive/byteorder", "big")
    with pytest.raises(ArchiveError, match="byte order"):
        read(file.getvalue())


SCRIPT = """
import resource, sys
from dqn_cli.archive import read_archive
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as file:
    try:
        read_archive(file, int(sys.argv[2]))
    except Exception as error:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["a large storage", "many dicts", "bytes", "a large memory"])
def test_an_attack_takes_no_memory(tmp_path: Path, name: str) -> None:
    value, entries, _ = ATTACKS[name]
    path = tmp_path / "archive"
    path.write_bytes(archive(field(value), **entries))
    command = [sys.executable, "-c", SCRIPT, str(path), str(path.stat().st_size)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(ended.stdout) * 1024 < 10 * path.stat().st_size + 2**25
