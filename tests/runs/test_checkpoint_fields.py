from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from dqn_cli.fields import FieldError
from dqn_cli.runs.checkpoint_fields import (
    check_manifest,
    check_own_space,
    check_policy,
    check_state,
)
from dqn_cli.storage import load_checkpoint

Typed = Callable[..., int]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A checkpoint of a short run."""

    from dqn_cli.commands.command_line import run_command
    from dqn_cli.commands.train import dispatch

    folder = tmp_path_factory.mktemp("stored")
    words = (
        "steps=60", "learning_starts=20", "eval.every=30", "eval.episodes=2", "env.num_envs=2",
        "network.widths=[4]", "replay.capacity=90", "replay.batch_size=4", "log.info=[x]",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr("sys.argv", ["dqn-train"])
        assert run_command(lambda: dispatch([*words, "hydra.run.dir=run"])) == 0
    return load_checkpoint(Path(folder) / "run" / "checkpoints" / "last")


def with_field(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value; `del` removes the field."""
    copied = node = deepcopy(data)
    *above, last = path.split(".")
    for key in above:
        child = node[int(key) if key.isdigit() else key]
        if isinstance(child, tuple):
            child = list(child)
            node[int(key) if key.isdigit() else key] = child
        node = child
    if value == "del":
        del node[last]
    else:
        node[int(last) if last.isdigit() else last] = value
    return copied


def test_what_was_written_is_accepted(stored: dict[str, Any]) -> None:
    check_state(stored)
    check_policy(stored)
    check_manifest(stored)


NAN = torch.full((3,), math.nan)
BAD = [
    ("settings", "del", "settings is missing"),
    ("settings", [1], "settings must have named fields"),
    ("settings.env.id", "Cart\x1b[31mPole", "settings.env.id is"),
    ("parameters", NAN, "parameters has values that are NaN or infinite"),
    ("parameters", torch.zeros(3, dtype=torch.int64), "parameters have type torch.int64"),
    ("parameters", torch.zeros(3, 1), r"parameters has shape \[3, 1\]"),
    ("parameters", "none", "parameters must be a tensor"),
    ("clock.0", -1, r"clock\[0\] is -1"),
    ("clock", (1, 2), "clock has 2 items, not 3"),
    ("learning_began.1", 0.5, r"learning_began\[1\] is 0.5"),
    ("together", "run", "together must be a list"),
    ("together", ["a\nb"], r"together\[0\] is"),
    ("threads", 0, "threads is 0; it must be a whole number of at least 1 and at most"),
    ("threads", 10**9, "threads is 1000000000"),
    ("compiled", 1, "compiled is 1"),
    ("exact", None, "exact is None"),
    ("stream", None, "stream must have named fields"),
    ("snapshots", [], "obs has shape"),
    ("snapshots", {}, "snapshots must be a list"),
    ("snapshots", [(-1, ()), (0, ())], r"snapshots\[0\].seed_number is -1"),
    ("snapshots", [(0, (2,)), (0, ())], r"snapshots\[0\].actions must be numbers from 0 to 1"),
    ("obs", torch.zeros(3, 4), "obs has shape"),
    ("random", 3, "random must have named fields"),
    ("tracker.best.mean", math.nan, "tracker.best.mean is nan"),
    ("tracker.best.mean_ci95", (1.0,), "tracker.best.mean_ci95 has 1 items, not 2"),
    ("tracker.best.by", "luck", "tracker.best.by must be"),
    ("tracker.final.step", "9", "tracker.final.step is '9'"),
    ("tracker.evaluated", -2, "tracker.evaluated is -2"),
    ("tracker.evaluations.best", math.nan, "tracker.evaluations.best is nan"),
    ("tracker.evaluations.more", 1, "tracker.evaluations has unknown fields"),
    ("tracker.seconds.train", -1.0, "tracker.seconds.train is -1.0"),
    ("tracker.return", [0.0], "tracker.return has 1 items, not 2"),
    ("tracker.length.0", -1, r"tracker.length\[0\] is -1"),
    ("tracker.returns", [1.0] * 101, "tracker.l?e?n?g?t?h?s?(returns)?.* items"),
    ("tracker.sums", [], "tracker.sums has 0 items"),
    ("tracker.updates", "del", "tracker.updates is missing"),
    ("tracker.info", {"x": {}}, "tracker.info.x.sum is missing"),
    ("spaces", (), "spaces must have 5 items"),
    ("spaces.1", 0, "spaces.actions is 0"),
    ("spaces.0", (), "spaces.parts are missing"),
    ("spaces.0.0.1", "smell", r"spaces.parts\[0\]"),
    ("spaces.2", 10**9, "spaces have observations of"),
]


@pytest.mark.parametrize(("path", "value", "told"), BAD, ids=[f"{b[0]} {b[1]}"[:40] for b in BAD])
def test_a_bad_field_is_named(stored: dict[str, Any], path: str, value: Any, told: str) -> None:
    changed = with_field(stored, path, value)
    if isinstance(changed.get("spaces"), list):
        changed["spaces"] = tuple(changed["spaces"])
    with pytest.raises(FieldError, match=told) as caught:
        check_state(changed)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ([], "must have named fields"),
        ({"type": "Box", "shape": [2**40], "dtype": "float32"}, "own.shape has"),
        ({"type": "Box", "shape": [1], "dtype": "V1000000000"}, "own.dtype is unknown"),
        ({"type": "Box", "shape": [1]}, "own.dtype is missing"),
        ({"type": "Discrete", "n": 0, "start": 0}, "own.n is 0"),
        ({"type": "MultiDiscrete", "nvec": [[1, -1]], "start": 0, "dtype": "int64"}, "own.nvec"),
        ({"type": "Tuple", "parts": [{"type": "Dict", "parts": 3}]}, r"own.parts\[0\].parts must"),
    ],
)
def test_a_space_of_the_environment_is_checked(space: Any, told: str) -> None:
    with pytest.raises(FieldError, match=told):
        check_own_space(space, "own")
