"""Atomic writes, and checkpoint files that hold data only.

A checkpoint is one line of text, `dqn-train checkpoint SCHEMA SHA256`, followed by the output of
torch.save. The checksum detects changed bytes, which would be read as weights. It is not a
signature: whoever changes a file can compute another. So all that a file says is checked before it
is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from dqn_cli.archive import read_archive
from dqn_cli.text import one_line

SCHEMA = 7
_HEADER = re.compile(rb"dqn-train checkpoint (\d{4}) ([0-9a-f]{64})\n")
_HEADER_SIZE = len(b"dqn-train checkpoint 0001 \n") + 64
LARGEST_JSON = 2**24  # bytes
PICKLE_PROTOCOL = 2  # that of the opcodes which `read_archive` knows


class CheckpointError(Exception):
    """A checkpoint is missing or can't be used; the message says why."""


def temporary_name(name: str, process: int | str) -> str:
    """Return the name of a file while a process writes it."""
    return f".{name}.{process}.tmp"


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a temporary file beside `path` and rename it; on failure the old file stays."""
    temporary = path.with_name(temporary_name(path.name, os.getpid()))
    try:
        with errors_named(path), temporary.open("w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Let errors of the disk that name no file, as when it is full, name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data as indented JSON."""
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def save_checkpoint(path: Path, data: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them.

    Raises:
        OSError: The file can't be written.
    """

    def write(file: IO[bytes]) -> None:
        file.write(_header("0" * 64))
        try:
            torch.save(dict(data), file, pickle_protocol=PICKLE_PROTOCOL)
        except RuntimeError as error:  # torch.save raises it for a full disk
            reason = error.__context__ if isinstance(error.__context__, OSError) else error
            raise OSError(f"could not write {path}: {_first_line(reason)}") from error
        header = _header(_checksum(file))
        file.seek(0)
        file.write(header)

    write_atomically(path, write)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file of `save_checkpoint`; nothing in the file can run code.

    Raises:
        CheckpointError: The file is missing, damaged or from another version.
    """
    try:
        with path.open("rb") as file:
            match = _HEADER.fullmatch(file.read(_HEADER_SIZE))
            if match is None or int(match[1]) < 1:
                raise CheckpointError(f"{path} is not a dqn-train checkpoint")
            version = int(match[1])
            if version != SCHEMA:
                age, advice = ("a newer", "upgrade dqn-train")
                if version < SCHEMA:
                    age, advice = ("an older", "the format has changed, so train again")
                raise CheckpointError(
                    f"{path} was written by {age} dqn-train (checkpoint version {version}, this one"
                    f" reads {SCHEMA}): {advice}"
                )
            if _checksum(file) != match[2].decode():
                raise CheckpointError(f"{path} is damaged: its checksum does not match")
            data = read_archive(file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except CheckpointError:
        raise
    except Exception as error:  # a file made by hand may raise anything
        raise CheckpointError(f"{path} can't be read: {_first_line(error)}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} can't be read: it holds no fields")
    return data


def load_json(path: Path) -> dict[str, Any]:
    """Read a file of `write_json`.

    Raises:
        CheckpointError: It is not such a file.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError("it is too long")
        data = json.loads(path.read_text(), parse_constant=refuse)
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {_first_line(error)}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} is damaged: it holds no fields")
    return data


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _header(checksum: str) -> bytes:
    return f"dqn-train checkpoint {SCHEMA:04d} {checksum}\n".encode()


def _checksum(file: IO[bytes]) -> str:
    file.seek(_HEADER_SIZE)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _first_line(error: BaseException) -> str:
    return one_line((str(error).splitlines() or [type(error).__name__])[0])
