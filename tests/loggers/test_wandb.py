from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from dqn_cli.loggers.logger import LoggedRun
from dqn_cli.loggers.wandb import Wandb


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, as far as it is used."""
    module = MagicMock()
    module.api = SimpleNamespace(api_key=None)
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    return module


def logger(mode: str | None = None) -> Wandb:
    return Wandb(project="p", files=True, video=False, entity=None, mode=mode)


def begun(wandb: Any, run: LoggedRun, mode: str | None = None) -> dict[str, Any]:
    logger(mode).begin(run)
    return dict(wandb.init.call_args.kwargs)


def test_nothing_is_sent_unless_the_user_says_so(
    wandb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = LoggedRun(tmp_path, "", {"seed": 1})
    assert begun(wandb, run)["mode"] == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert begun(wandb, run)["mode"] == "disabled"
    assert begun(wandb, run, "offline")["mode"] == "offline"
    with pytest.raises(ValueError, match="must be online, offline or null"):
        logger("onlin")


def test_a_run_that_is_sent_needs_a_key_and_does_not_ask_for_it(wandb: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="type `wandb login`, or set WANDB_API_KEY"):
        begun(wandb, LoggedRun(tmp_path, "", {}), "online")
    wandb.api.api_key = "secret"
    assert begun(wandb, LoggedRun(tmp_path, "", {}), "online")["mode"] == "online"


def test_a_resumed_run_goes_on_under_its_id(wandb: Any, tmp_path: Path) -> None:
    options = begun(wandb, LoggedRun(tmp_path, "sweep", {"seed": 1}, 20, "abc"))
    assert (options["id"], options["resume"], options["group"]) == ("abc", "allow", "sweep")
    assert options["config"] == {"seed": 1}
    assert begun(wandb, LoggedRun(tmp_path, "", {}))["id"] is None


def test_files_are_copied_to_those_of_the_run(wandb: Any, tmp_path: Path) -> None:
    run, own = tmp_path / "run", tmp_path / "own"
    wandb.init.return_value.dir = str(own)
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best").write_text("weights")
    log = logger().begin(LoggedRun(run, "", {}))
    log.file(run / "checkpoints" / "best")
    assert (own / "checkpoints" / "best").read_text() == "weights"
    log.row({"loss": 0.5}, 3)
    wandb.init.return_value.log.assert_called_once_with({"loss": 0.5}, step=3)
    log.summary({"best/mean": 3.0})
    log.close()
    wandb.init.return_value.finish.assert_called_once_with()
