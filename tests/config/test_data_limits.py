from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.config.data_limits import data_conflict
from dqn_cli.config.validation import ConfigError
from dqn_cli.training.settings import Settings

DATA = ("data.path=log.npz",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("steps=0",), "steps=0 is not valid without data"),
        ((*DATA, "steps=0"), "data.pretrain=N learns from data alone"),
        (("data.pretrain=5",), "data.pretrain=N needs data=PATH"),
        ((*DATA, "data.share=0"), "data.share=0 leaves no logged sample"),
        ((*DATA, "init=run", "init_replay=true"), "use one of them"),
        ((*DATA, "agent=pqn"), "replay=rollout learns from the latest steps"),
        (
            (*DATA, "data.pretrain=5", "target=hard", "target.unit=episodes"),
            "target.unit=episodes never copies",
        ),
    ],
)
def test_settings_that_make_no_sense_say_what_would(
    settings_of: Callable[..., Settings], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of(*words)


def test_all_others_are_allowed(settings_of: Callable[..., Settings]) -> None:
    words = (*DATA, "steps=0", "data.pretrain=5", "target=hard", "target.unit=steps")
    assert data_conflict(settings_of(*words)) is None
    assert data_conflict(settings_of()) is None
