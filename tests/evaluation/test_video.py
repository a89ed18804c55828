from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.evaluation import video


def test_without_the_extra_it_says_what_to_install(
    type_train: Callable[..., int],
    type_eval: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    type_train("steps=100", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    assert type_eval("checkpoint=run", "episodes=1", "video=true") == 1
    assert "pip install 'dqn-train[video]'" in capsys.readouterr().err.splitlines()[-1]
