from __future__ import annotations

from pathlib import Path

import pytest

from dqn_cli.commands import verify
from dqn_cli.commands.train import dispatch
from dqn_cli.commands.verify import sweep_of, verification_words
from dqn_cli.config.validation import ConfigError


def test_nothing_is_verified_without_a_name() -> None:
    assert verification_words(["env=CartPole-v1", "seeds=3"]) == {}
    assert verification_words(["verify=X", "steps=3"]) == {"verify": "X"}


def test_fresh_seeds_train_together_with_the_documented_words() -> None:
    _, command = sweep_of({"verify": "CartPole-v1/dqn", "seeds": "4"}, ["steps=9"])
    assert command == [
        "-m",
        "env=CartPole-v1",
        "agent=dqn",
        "seed=range(2000,2004)",
        "hydra/launcher=population",
        "steps=9",
    ]


def test_as_many_seeds_are_trained_as_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "fewest_seeds", lambda documented: documented // 2)
    _, command = sweep_of({"verify": "Acrobot-v1/dqn"}, [])  # beside ten documented ones
    assert "seed=range(2000,2005)" in command
    with pytest.raises(ConfigError, match=r"seeds=3 is not valid: .* at least 5"):
        sweep_of({"verify": "Acrobot-v1/dqn", "seeds": "3"}, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"verify": "CartPole-v1"}, "did you mean CartPole-v1/dqn?"),
        ({"verify": "Acrobot-v1/dqn", "seeds": "2"}, "seeds=2 is not valid: .* at least 3"),
        ({"verify": "CartPole-v1/dqn", "seeds": "many"}, "seeds=many is not valid"),
        ({"verify": "CartPole-v1/dqn", "seeds": "0"}, "seeds=0 is not valid"),
    ],
)
def test_what_can_not_be_verified_is_refused(words: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep_of(words, [])


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "exit_code"), [([], 0), (["optimizer.lr=3e-6"], 1)])
def test_cartpole_is_as_documented_and_worse_with_a_wrong_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], exit_code: int
) -> None:
    words = ["verify=CartPole-v1/dqn", *changes, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert dispatch(words) == exit_code
    verdict = "worse than documented" if exit_code else "as documented"
    assert capsys.readouterr().out.splitlines()[-1].startswith(verdict)
