from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from dqn_cli.compiling.code_cache import (
    DAYS_KEPT,
    add_link,
    cache_folder,
    find,
    find_linked,
    new_package,
)


class Loader:
    """In place of PyTorch's: packages hold the text that their code returns."""

    def __init__(self, path: str, *_: Any) -> None:
        text = Path(path).read_text()
        if text == "damaged":
            raise RuntimeError("no package")
        self.run = lambda inputs: [text, *inputs]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("torch._C._aoti.AOTIModelPackageLoader", Loader)
    return cache_folder()


def make(key: str) -> None:
    with new_package(key) as path:
        path.write_text(key)


def called(run: Any) -> list[Any]:
    result: list[Any] = run([1])
    return result


def test_a_package_is_there_when_it_is_complete(cache: Path) -> None:
    assert find("key") is None
    with new_package("key") as path:
        path.write_text("half")
        assert find("key") is None
    assert called(find("key")) == ["half", 1]


def test_a_package_that_is_not_completed_leaves_nothing(cache: Path) -> None:
    def fail() -> None:
        with new_package("key") as path:
            path.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(cache.iterdir()) == []


def test_a_link_leads_to_a_package(cache: Path) -> None:
    make("key")
    assert find_linked("link") is None
    add_link("link", "key")
    assert called(find_linked("link")) == ["key", 1]


@pytest.mark.parametrize("text", [b"", b"other", b"\xff\x00", b"../key" * 1000])
def test_a_damaged_link_leads_nowhere(cache: Path, text: bytes) -> None:
    make("key")
    add_link("link", "key")
    (cache / "link.key").write_bytes(text)
    assert find_linked("link") is None


def test_a_link_to_a_package_that_is_gone_or_damaged_leads_nowhere(cache: Path) -> None:
    make("key")
    add_link("link", "key")
    (cache / "key.pt2").write_text("damaged")
    assert find("key") is None
    assert find_linked("link") is None
    (cache / "key.pt2").unlink()
    assert find_linked("link") is None


def test_use_keeps_a_package_and_its_link(cache: Path) -> None:
    make("key")
    add_link("link", "key")
    for name in ("key.pt2", "link.key"):
        os.utime(cache / name, times=(0, 0))
    find_linked("link")
    for name in ("key.pt2", "link.key"):
        assert (cache / name).stat().st_mtime > time.time() - 60


def test_old_links_are_removed(cache: Path) -> None:
    add_link("link", "key")
    os.utime(cache / "link.key", times=(0, 0))
    make("new")
    assert [path.name for path in cache.iterdir()] == ["new.pt2"]


def test_packages_that_no_run_loads_are_removed_in_time(cache: Path) -> None:
    day, now = 24 * 60 * 60, time.time()
    ages = {"old": DAYS_KEPT + 1, "fresh": DAYS_KEPT - 1}
    for name, days in ages.items():
        (cache / f"{name}.pt2").touch()
        os.utime(cache / f"{name}.pt2", times=(now, now - days * day))
    (cache / "other.txt").touch()
    os.utime(cache / "other.txt", times=(0, 0))
    make("new")
    kept = {path.name for path in cache.iterdir()}
    assert {"fresh.pt2", "other.txt"} < kept
    assert "old.pt2" not in kept
    assert len(kept) == 3


def test_what_a_killed_compilation_left_is_removed_after_a_day(cache: Path) -> None:
    now = time.time()
    for name, hours in {"tmpold": 25, "tmpnew": 23}.items():
        (cache / name).mkdir()
        (cache / name / "made.pt2").touch()
        os.utime(cache / name, times=(now, now - hours * 60 * 60))
    make("new")
    kept = {path.name for path in cache.iterdir()}
    assert "tmpnew" in kept
    assert "tmpold" not in kept


def test_the_cache_is_for_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "there"))
    folder = cache_folder()
    assert folder == cache_folder() == tmp_path / "not" / "there" / "dqn-train" / "compiled"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_cache_is_in_the_home_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "dqn-train" / "compiled"
