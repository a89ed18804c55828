"""The user's cache of machine code: packages, and links that lead to them without a trace.

A package has the name of its graph's key. A link has the name of the key of structure and source
and holds that of the package. What no run uses for a long time is removed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from dqn_cli.storage import write_atomically

DAYS_KEPT = 90  # since a package or link was last used

Runner: TypeAlias = Callable[[list[Tensor]], list[Tensor]]


def cache_folder() -> Path:
    """Return the folder of compiled code, which only the user can read."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "dqn-train" / "compiled"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def find_linked(link: str) -> Runner | None:
    """Return the code that a link leads to; None if there is none."""
    path = cache_folder() / f"{link}.key"
    try:
        run = find(path.read_text())
    except (OSError, ValueError):
        return None
    _touch(path)
    return run


def find(key: str) -> Runner | None:
    """Return the code of a package; None if there is none, or if it is damaged."""
    if _package(key).exists():
        with suppress(Exception):  # there are many kinds of damage
            return load(key)
    return None


def load(key: str) -> Runner:
    """Return the code of a package."""
    package = _package(key)
    with _temporary_folder():
        try:
            # The public loader wraps this class, but importing it takes seconds and memory.
            from torch._C._aoti import AOTIModelPackageLoader

            run: Runner = AOTIModelPackageLoader(str(package), "model", False, 1, -1).run
        except (ImportError, TypeError):
            from torch._inductor import aoti_load_package

            run = aoti_load_package(str(package)).loader.run
    _touch(package)
    return run


@contextmanager
def new_package(key: str) -> Iterator[Path]:
    """Yield the path of a new package, which is added to the cache when it is complete."""
    _remove_unused()
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        made = Path(folder) / "made.pt2"
        yield made
        made.replace(_package(key))


def add_link(link: str, key: str) -> None:
    """Let a link lead to a package; without it, the next run traces."""
    with suppress(OSError):  # the folder may belong to another user
        write_atomically(cache_folder() / f"{link}.key", lambda file: file.write(key.encode()))


def _package(key: str) -> Path:
    return cache_folder() / f"{key}.pt2"


def _touch(path: Path) -> None:
    with suppress(OSError):  # the folder may belong to another user
        path.touch()


@contextmanager
def _temporary_folder() -> Iterator[None]:
    """Use a temporary folder that is removed, because the loader leaves its unpacked files."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            del os.environ["TMPDIR"]
            if before is not None:
                os.environ["TMPDIR"] = before


def _remove_unused() -> None:
    # Temporary folders and files are those of killed processes.
    for kind, days in (("*.pt2", DAYS_KEPT), ("*.key", DAYS_KEPT), ("tmp*/", 1), (".*.tmp", 1)):
        for path in cache_folder().glob(kind):
            with suppress(OSError):  # another process may remove it first
                if path.stat().st_mtime < time.time() - days * 24 * 60 * 60:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
