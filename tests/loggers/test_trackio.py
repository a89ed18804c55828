from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from dqn_cli.loggers.logger import LoggedRun
from dqn_cli.loggers.trackio import Trackio


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, as far as it is used."""
    module = MagicMock()
    module.init.return_value.name = "sweep_0_seed-1"
    for name, part in (("", module), (".run", module.run), (".utils", module.utils)):
        monkeypatch.setitem(sys.modules, f"trackio{name}", part)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    return module


LOGGER = Trackio(project="p", files=True, video=False, space=None)


def test_a_run_stays_on_this_machine_under_a_name_of_its_own(trackio: Any) -> None:
    log = LOGGER.begin(LoggedRun(Path("/runs/sweep/0_seed-1"), "sweep", {"seed": 1}))
    options = trackio.init.call_args.kwargs
    assert (options["name"], options["resume"]) == ("sweep_0_seed-1", "never")
    assert (options["space_id"], options["config"]) == (None, {"seed": 1})
    assert log.id == "sweep_0_seed-1"


def test_a_resumed_run_goes_on_under_its_name(trackio: Any) -> None:
    LOGGER.begin(LoggedRun(Path("/runs/other"), "", {}, 20, "first"))
    options = trackio.init.call_args.kwargs
    assert (options["name"], options["resume"]) == ("first", "allow")


def test_the_screen_belongs_to_the_run(trackio: Any, capsys: pytest.CaptureFixture[str]) -> None:
    LOGGER.begin(LoggedRun(Path("/runs/a"), "", {}))
    for module in (trackio, trackio.run, trackio.utils):
        module.print("* Trackio project initialized")
    assert capsys.readouterr().out == ""


def test_rows_the_outcome_and_files_are_logged(trackio: Any) -> None:
    log = LOGGER.begin(LoggedRun(Path("/runs/a"), "", {}))
    run = trackio.init.return_value
    log.row({"loss": 0.5}, 3)
    log.summary({"best/mean": 2.0})
    assert [call.kwargs["step"] for call in run.log.call_args_list] == [3, 3]
    assert run.log.call_args.args == ({"summary/best/mean": 2.0},)
    log.file(Path("/runs/a/checkpoints/best"))
    assert run.log_artifact.call_args.kwargs["name"] == "sweep_0_seed-1_checkpoints_best"
    log.close()
    run.finish.assert_called_once_with()
