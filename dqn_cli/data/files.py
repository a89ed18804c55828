"""Readers of data: an .npz or Parquet file, a Minari data set, or a run's own replay."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.data.columns import NEXT_OBSERVATIONS, OBSERVATIONS, Columns, DataError, sort_columns
from dqn_cli.data.stored_replay import read_replay
from dqn_cli.storage import sha256
from dqn_cli.text import one_line

MINARI = "minari:"  # begins the name of an installed Minari data set
FORMS = "an .npz or .parquet file, the folder of a run, or minari:NAME"


def read_columns(name: str) -> Columns:
    """Read the columns of what `data=` names.

    Raises:
        DataError: There are none, or an extra is missing.
    """
    if name.startswith(MINARI):
        return _minari(name, name.removeprefix(MINARI))
    path = Path(name)
    if not path.exists():
        raise DataError(f"data={name}: there is no such file or folder")
    if (checkpoint := _checkpoint(path)) is not None:
        return read_replay(checkpoint)
    if _is_minari(path):
        return _minari(name, path)
    readers = {".npz": _npz, ".parquet": _parquet}
    if path.suffix not in readers or not path.is_file():
        raise DataError(f"data={name} holds no data: it must be {FORMS}")
    try:
        return readers[path.suffix](name, path)
    except DataError:
        raise
    except Exception as error:  # a file may be damaged in any way
        raise DataError(f"{name} can't be read: {one_line(error)}") from error


def digest(name: str) -> str:
    """Return the SHA-256 checksum of what `data=` names; of a Minari data set, of all its files."""
    path = Path(name)
    if name.startswith(MINARI):
        path = Path(_load_minari(name.removeprefix(MINARI)).storage.data_path)
    elif (checkpoint := _checkpoint(path)) is not None:
        path = checkpoint
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path)} {sha256(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _checkpoint(path: Path) -> Path | None:
    """Return the checkpoint with a replay at a path: a file without a suffix, or a run's last."""
    last = path / "checkpoints" / "last"
    if last.is_file():
        return last
    return (
        path if path.is_file() and not path.suffix and path.parent.name == "checkpoints" else None
    )


class _Arrays(Mapping[str, Array]):
    """Columns of a file; only those that are asked for are read, and others may hold anything."""

    def __init__(self, file: str, names: Sequence[str], read: Callable[[str], Array]) -> None:
        self._file, self._names, self._read = file, names, read

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        try:
            return self._read(name)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{self._file}: column {name} can't be read: {one_line(error)}"
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _npz(name: str, path: Path) -> Columns:
    if not is_zipfile(path):
        raise DataError(f"{name} can't be read: it is cut off, or no file of numpy.savez")
    with np.load(path, allow_pickle=False) as file:
        return sort_columns(name, _Arrays(name, file.files, file.__getitem__))


def _parquet(name: str, path: Path) -> Columns:
    """Return the columns of a Parquet file; lists become rows of arrays."""
    if find_spec("pyarrow") is None:
        raise DataError(f"data={name} needs an extra: pip install 'dqn-train[data]'")
    from pyarrow import parquet

    table = parquet.read_table(path)

    def read(column: str) -> Array:
        return _array(path, column, table.column(column))

    return sort_columns(name, _Arrays(name, table.column_names, read))


def _array(path: Path, name: str, column: Any) -> Array:
    """Return a column of Parquet as an array [rows, ...]."""
    import pyarrow

    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise DataError(f"{path}: column {name}, row {row}: there is no value")
    kind = column.type
    if not pyarrow.types.is_list(kind) and not pyarrow.types.is_fixed_size_list(kind):
        return np.asarray(column.to_numpy())
    rows = column.to_pylist()
    lengths = np.array([len(row) for row in rows])
    if (lengths != lengths[:1]).any():
        row = int(np.argmax(lengths != lengths[0]))
        raise DataError(
            f"{path}: column {name}, row {row}: it has {lengths[row]} values, and row 0 has"
            f" {lengths[0]}"
        )
    return np.array(rows)


def _is_minari(path: Path) -> bool:
    return any((path / folder / "metadata.json").is_file() for folder in ("", "data"))


def _load_minari(source: str | Path) -> Any:
    if find_spec("minari") is None:
        raise DataError("a Minari data set needs an extra: pip install 'dqn-train[data]'")
    import minari

    try:
        if isinstance(source, str):
            return minari.load_dataset(source)
        inner = source / "data"
        return minari.MinariDataset(inner if inner.is_dir() else source)
    except Exception as error:
        raise DataError(f"data={source} can't be read: {one_line(error)}") from error


def _minari(name: str, source: str | Path) -> Columns:
    """Return the columns of a Minari data set, whose episodes have one more observation."""
    episodes = list(_load_minari(source).iterate_episodes())
    if not episodes:
        raise DataError(f"{name} has no episodes")
    arrays: dict[str, list[Array]] = {}
    for episode in episodes:
        for part, values in _parts(episode.observations):
            arrays.setdefault(f"{OBSERVATIONS[0]}{part}", []).append(values[:-1])
            arrays.setdefault(f"{NEXT_OBSERVATIONS[0]}{part}", []).append(values[1:])
        for key in ("rewards", "terminations", "truncations"):
            arrays.setdefault(key, []).append(np.asarray(getattr(episode, key)))
        actions = [np.reshape(values, (len(values), -1)) for _, values in _parts(episode.actions)]
        arrays.setdefault("actions", []).append(np.concatenate(actions, 1))
    return sort_columns(name, {key: np.concatenate(values) for key, values in arrays.items()})


def _parts(values: Any, path: str = "") -> Iterator[tuple[str, Array]]:
    """Yield the arrays of nested dicts and tuples, each with the name of its part."""
    if isinstance(values, (Mapping, tuple)):
        named = values.items() if isinstance(values, Mapping) else enumerate(values)
        for key, part in named:
            yield from _parts(part, f"{path}.{key}")
    else:
        yield path, np.asarray(values)
