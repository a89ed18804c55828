from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from made_up_searches import SEEDS, SPACE, write_search

from dqn_cli.searching.stored_search import read_search
from dqn_cli.searching.study import SearchError


def test_a_search_is_read_as_it_was_written(tmp_path: Path) -> None:
    study = write_search(tmp_path / "a search?.db", complete=12, pruned=2)
    found = read_search(tmp_path / "a search?.db")
    assert found.domains == SPACE.domains
    assert found.trials == study.records()
    assert found.importances == study.importances()
    assert max(found.importances, key=lambda key: found.importances[key]) == "replay.n_step"
    assert found.seeds == SEEDS


def test_reading_changes_no_byte(tmp_path: Path) -> None:
    file = tmp_path / "search.db"
    write_search(file, complete=1)
    before = hashlib.sha256(file.read_bytes()).digest()
    assert read_search(file).importances == {}
    assert hashlib.sha256(file.read_bytes()).digest() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"not a database" * 50])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "search.db"
    file.write_bytes(content)
    with pytest.raises(SearchError, match=r"search\.db can't be used: [^\n]+$"):
        read_search(file)
    assert file.read_bytes() == content
