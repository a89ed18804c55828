from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from logged_data import cartpole_log, random_log

from dqn_cli.data import files
from dqn_cli.data.columns import DataError
from dqn_cli.data.files import digest, read_columns


def test_an_npz_file_is_read_and_known_by_its_bytes(tmp_path: Path) -> None:
    file = random_log(tmp_path / "log.npz")
    assert read_columns(str(file)).observations[""].values.shape == (60, 4)
    assert digest(str(file)) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npz", None, "there is no such file or folder"),
        ("log.csv", b"1,2", "holds no data: it must be an .npz or .parquet file"),
        ("log.npz", b"not a zip file", "can't be read: it is cut off, or no file of numpy.savez"),
        ("log.npz", b"", "can't be read: it is cut off, or no file of numpy.savez"),
        ("folder", "a folder", "holds no data"),
    ],
)
def test_what_holds_no_data_is_named(
    tmp_path: Path, name: str, content: bytes | str | None, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(DataError) as error:
        read_columns(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_an_array_in_a_file_of_that_name_is_no_log(tmp_path: Path) -> None:
    with (tmp_path / "log.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"it is cut off, or no file of numpy\.savez"):
        read_columns(str(tmp_path / "log.npz"))


def test_objects_in_an_npz_file_are_not_loaded(tmp_path: Path) -> None:
    objects = np.array([{}, None, 1, 2, 3])
    np.savez(tmp_path / "log.npz", **cartpole_log(rewards=objects))
    with pytest.raises(DataError, match="column rewards can't be read: Object arrays"):
        read_columns(str(tmp_path / "log.npz"))
    np.savez(tmp_path / "log.npz", infos=objects, **cartpole_log())
    assert read_columns(str(tmp_path / "log.npz")).rewards.values.tolist() == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("name", ["log.parquet", "minari:CartPole/random-v0"])
def test_what_needs_an_extra_says_so(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "find_spec", lambda _: None)
    (tmp_path / "log.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"pip install 'dqn-train\[data\]'"):
        read_columns(name if ":" in name else str(tmp_path / name))


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="the extra data is not installed")
def test_lists_in_a_parquet_file_are_arrays(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    log = cartpole_log()
    columns = {name: list(values) for name, values in log.items()}
    parquet.write_table(pyarrow.table(columns), tmp_path / "log.parquet")
    found = read_columns(str(tmp_path / "log.parquet"))
    assert np.array_equal(found.observations[""].values, log["observations"])
    assert np.array_equal(found.terminations.values, log["terminations"])
    columns["observations"][3] = np.zeros(3, np.float32)
    parquet.write_table(pyarrow.table(columns), tmp_path / "log.parquet")
    with pytest.raises(DataError, match="column observations, row 3: it has 3 values"):
        read_columns(str(tmp_path / "log.parquet"))
    columns = {name: list(values) for name, values in log.items()}
    columns["rewards"][2] = None
    columns["note"] = ["x", None, "y", "z", ""]  # of no meaning here
    parquet.write_table(pyarrow.table(columns), tmp_path / "log.parquet")
    with pytest.raises(DataError, match="column rewards, row 2: there is no value"):
        read_columns(str(tmp_path / "log.parquet"))


class FakeDataset:
    """A Minari data set of two episodes, whose observations are one more than their actions."""

    def __init__(self, folder: Path) -> None:
        self.storage = SimpleNamespace(data_path=folder)

    def iterate_episodes(self) -> Iterator[SimpleNamespace]:
        for length in (3, 1):
            ends = np.arange(length) == length - 1
            yield SimpleNamespace(
                observations={"at": np.arange(length + 1.0)[:, None], "room": np.ones(length + 1)},
                actions=np.arange(length) % 2,
                rewards=np.ones(length),
                terminations=ends,
                truncations=~ends & False,
            )


def test_a_minari_data_set_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("minari")
    fake.__spec__ = ModuleSpec("minari", None)
    fake.load_dataset = lambda name: FakeDataset(tmp_path)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "minari", fake)
    found = read_columns("minari:cartpole/test-v0")
    assert found.observations["at"].values[:, 0].tolist() == [0, 1, 2, 0]
    assert found.next_observations["at"].values[:, 0].tolist() == [1, 2, 3, 1]
    assert found.observations["room"].values.shape == (4,)
    assert found.terminations.values.tolist() == [False, False, True, True]
    assert found.actions.values.tolist() == [[0], [1], [0], [0]]
    (tmp_path / "main_data.hdf5").write_bytes(b"bytes")
    before = digest("minari:cartpole/test-v0")
    (tmp_path / "main_data.hdf5").write_bytes(b"other")
    assert digest("minari:cartpole/test-v0") != before
