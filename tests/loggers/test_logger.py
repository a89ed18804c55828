from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from dqn_cli.loggers.logger import Log, LoggedRun, Logger, Tracker, check_installed


@dataclass
class Absent(Logger):
    needs: ClassVar[str | None] = "a_package_that_nobody_has"


@dataclass
class Present(Tracker):
    needs: ClassVar[str | None] = "json"


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    check_installed({"plain": Logger(), "present": Present("p", True, False)}, video=False)
    with pytest.raises(ImportError) as caught:
        check_installed({"absent": Absent()}, video=False)
    assert str(caught.value) == "logger=absent needs an extra: pip install 'dqn-train[absent]'"


def test_a_video_needs_the_extra_video(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"json": object()}
    monkeypatch.setattr("dqn_cli.loggers.logger.find_spec", installed.get)
    with pytest.raises(ImportError, match=r"logger\.mine\.video=true .*'dqn-train\[video\]'"):
        check_installed({"mine": Present("p", True, True)}, video=False)
    with pytest.raises(ImportError, match=r"^video=true needs .*'dqn-train\[video\]'"):
        check_installed({}, video=True)
    check_installed({"mine": Present("p", True, False)}, video=False)


def test_a_log_takes_everything_and_must_write_rows() -> None:
    log, path = Log(), Path("result.json")
    log.summary({"status": "finished"})
    log.file(path)
    log.video(path, 5)
    log.close()
    with pytest.raises(NotImplementedError):
        log.row({}, 1)


def test_a_run_has_the_name_of_its_folder() -> None:
    assert LoggedRun(Path("/a/0_seed-3"), "a", {}).name == "0_seed-3"
