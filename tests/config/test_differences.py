from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.config.differences import check_same_run, first_difference
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.job import Job
from dqn_cli.runs.manifest import MANIFEST, write_manifests
from dqn_cli.training.settings import Settings, plain

Compose = Callable[..., Settings]


def test_equal_settings_have_no_difference(settings_of: Compose) -> None:
    words = ("agent=rainbow", "steps=100")
    assert first_difference(plain(settings_of(*words)), plain(settings_of(*words)), set()) is None


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("optimizer.lr=0.5", "optimizer.lr"),
        ("steps=7", "steps"),
        ("network.widths=[3]", "network.widths"),
        ("head=c51", "head"),
        ("eval.every=null", "eval.every"),
        ("+env.kwargs.gravity=1", "env.kwargs.gravity"),
        ("logger=[tensorboard,csv]", "logger"),
        ("auxiliary=cql", "auxiliary"),
    ],
)
def test_a_difference_is_named_unless_it_is_ignored(
    settings_of: Compose, word: str, key: str
) -> None:
    before, now = plain(settings_of()), plain(settings_of(word))
    difference = first_difference(before, now, set())
    assert difference is not None
    assert difference[0] == key
    assert first_difference(before, now, {key}) is None


def test_a_folder_must_hold_the_run_that_is_typed(settings_of: Compose, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).parent.mkdir()
    typed = settings_of("steps=100")
    check_same_run(tmp_path, typed)  # it holds none
    write_manifests([Job(typed, tmp_path, [])])
    check_same_run(tmp_path, typed)
    with pytest.raises(ConfigError, match="holds a run with steps=100, not 200") as caught:
        check_same_run(tmp_path, settings_of("steps=200"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"with logger=\[tensorboard\], not \[csv\], and"):
        check_same_run(tmp_path, settings_of("steps=100", "logger=csv"))
    check_same_run(tmp_path, settings_of("steps=200"), ["steps=200"])
    with pytest.raises(ConfigError, match=r"with eval\.every=\d+, not null"):
        check_same_run(tmp_path, settings_of("steps=100", "eval.every=null"))
