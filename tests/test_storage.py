from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from dqn_cli.storage import (
    SCHEMA,
    CheckpointError,
    errors_named,
    load_checkpoint,
    save_checkpoint,
    sha256,
    write_atomically,
    write_json,
)

DATA: dict[str, Any] = {
    "tensor": torch.arange(6, dtype=torch.float64).reshape(2, 3),
    "nested": {"list": [1, 2.5, "three", None, True], "tuple": (1, 2**200)},
}


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def with_header(content: bytes, version: int = SCHEMA) -> bytes:
    checksum = hashlib.sha256(content).hexdigest()
    return f"dqn-train checkpoint {version:04d} {checksum}\n".encode() + content


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "last"
    save_checkpoint(path, DATA)
    return path


def test_data_is_read_back(saved: Path) -> None:
    loaded = load_checkpoint(saved)
    assert torch.equal(loaded.pop("tensor"), DATA["tensor"])
    assert loaded == {"nested": DATA["nested"]}


def test_a_checkpoint_begins_with_a_line_of_text(saved: Path) -> None:
    first, _, rest = saved.read_bytes().partition(b"\n")
    assert first.decode() == f"dqn-train checkpoint {SCHEMA:04d} {hashlib.sha256(rest).hexdigest()}"


def test_the_newest_checkpoint_replaces_the_older_one(saved: Path) -> None:
    save_checkpoint(saved, {"step": 2})
    assert load_checkpoint(saved) == {"step": 2}
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("kept", [0, 1, 20, 90, 91, 92, 1000, -200, -1])
def test_an_incomplete_file_is_an_error(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"is not a dqn-train checkpoint|is damaged"):
        load_checkpoint(saved)


def test_a_changed_bit_is_detected_wherever_it_is(saved: Path) -> None:
    data = saved.read_bytes()
    header = len(with_header(b""))
    for position in [*range(header), *range(header, len(data), 97), len(data) - 1]:
        altered = bytearray(data)
        altered[position] ^= 2
        saved.write_bytes(altered)
        with pytest.raises(CheckpointError, match=r"is not a|newer|an older|is damaged") as caught:
            load_checkpoint(saved)
        assert str(saved) in str(caught.value)


def test_bytes_after_the_end_are_detected(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"dqn-train\n" * 20, bytes(5000)])
def test_another_kind_of_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"picture\.png is not a dqn-train checkpoint"):
        load_checkpoint(path)


def test_a_file_of_torch_save_is_an_error(tmp_path: Path) -> None:
    torch.save(DATA, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="is not a dqn-train checkpoint"):
        load_checkpoint(tmp_path / "weights.pt")


def test_a_newer_schema_says_to_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "last"
    path.write_bytes(with_header(b"whatever the future brings", SCHEMA + 1))
    with pytest.raises(
        CheckpointError, match=rf"newer.*version {SCHEMA + 1}.*reads {SCHEMA}.*upgrade dqn-train"
    ):
        load_checkpoint(path)


def test_an_older_schema_says_that_the_format_changed(tmp_path: Path) -> None:
    path = tmp_path / "last"
    path.write_bytes(with_header(b"what was written before", SCHEMA - 1))
    with pytest.raises(
        CheckpointError, match=rf"an older.*version {SCHEMA - 1}.*reads {SCHEMA}.*train again"
    ):
        load_checkpoint(path)


def test_version_0_is_an_error(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes().replace(b" %04d " % SCHEMA, b" 0000 ", 1))
    with pytest.raises(CheckpointError):
        load_checkpoint(saved)


def test_content_that_torch_can_not_read_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "last"
    path.write_bytes(with_header(b"not what torch writes"))
    with pytest.raises(CheckpointError, match="can't be read") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["last", "nowhere/last"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*last"):
        load_checkpoint(tmp_path / name)


def test_a_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="can't be read"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_can_not_run_code(tmp_path: Path, zipped: bool) -> None:
    marker, content = tmp_path / "marker", io.BytesIO()
    torch.save(Malicious(marker), content, _use_new_zipfile_serialization=zipped)
    content.seek(0)
    torch.load(content, weights_only=False)
    assert marker.exists(), "the attack itself does not work"
    marker.unlink()
    path = tmp_path / "last"
    path.write_bytes(with_header(content.getvalue()))
    with pytest.raises(CheckpointError, match="can't be read") as caught:
        load_checkpoint(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


def no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def unwritable(*_: Any, **__: Any) -> None:
    raise RuntimeError("PytorchStreamWriter failed writing file data/0\nand a trace of C++")


def test_a_failed_write_leaves_the_old_file_alone(saved: Path) -> None:
    before = saved.read_bytes()

    def half(file: IO[bytes]) -> None:
        file.write(b"half of")
        no_space()

    with pytest.raises(OSError, match="No space left"):
        write_atomically(saved, half)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
    ("module", "name", "failure"),
    [(torch, "save", unwritable), (os, "fsync", no_space), (Path, "replace", no_space)],
)
def test_a_full_disk_is_an_oserror_and_the_old_checkpoint_stays(
    monkeypatch: pytest.MonkeyPatch, saved: Path, module: Any, name: str, failure: Any
) -> None:
    before = saved.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(module, name, failure)
        with pytest.raises(OSError, match=r"failed writing|No space") as caught:
            save_checkpoint(saved, DATA)
    assert "\n" not in str(caught.value)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_data_reaches_the_disk_before_the_name_does(
    monkeypatch: pytest.MonkeyPatch, saved: Path
) -> None:
    seen: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(saved.read_bytes()))
    before = saved.read_bytes()
    save_checkpoint(saved, {"step": 2})
    assert seen == [before]


def test_json_is_indented_text(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": [1, None]})
    assert path.read_text() == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'
    assert json.loads(path.read_text()) == {"a": [1, None]}


def test_invalid_json_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "result.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_that_of_the_whole_file(saved: Path) -> None:
    assert sha256(saved) == hashlib.sha256(saved.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "mine.npz"),
        (OSError(errno.EACCES, "Permission denied", "other"), "other"),
        (OSError("not of the system"), "not of the system"),
    ],
)
def test_an_error_of_the_disk_names_a_file(error: OSError, told: str) -> None:
    with pytest.raises(OSError, match=told), errors_named(Path("mine.npz")):
        raise error
