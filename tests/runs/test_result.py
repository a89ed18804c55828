from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.runs.result import RESULT, SCHEMA, read_result, unstarted_result
from dqn_cli.storage import write_json
from dqn_cli.training.settings import Settings


def test_a_result_is_read_as_it_was_written(
    settings_of: Callable[..., Settings], tmp_path: Path
) -> None:
    assert read_result(tmp_path) is None
    settings = settings_of("env=Acrobot-v1", "seed=7")
    result = unstarted_result(settings, ["env=Acrobot-v1", "seed=7"], "failed", "no luck")
    write_json(tmp_path / RESULT, result)
    assert read_result(tmp_path) == result
    assert (result["schema"], result["env"], result["seed"]) == (SCHEMA, "Acrobot-v1", 7)
    assert (result["status"], result["error"]) == ("failed", "no luck")
    assert result["best"] is result["final"] is None


def test_nan_in_a_result_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / RESULT, {"best": math.nan})
    assert read_result(tmp_path) is None
