from __future__ import annotations

import pytest
from strange_inspections import config_of, new_progress

from dqn_cli.checking.gymnasium_check import check_by_gymnasium, in_one_line

OUTSIDE = "an observation lies outside observation_space: correct its bounds, shape or type"


def messages_of(kind: str) -> tuple[str, ...]:
    return check_by_gymnasium(config_of(kind), False, new_progress())


def test_an_environment_in_order_has_no_message() -> None:
    assert messages_of("") == ()


@pytest.mark.parametrize("kind", ["bytes", "short", "beyond"])
def test_observations_outside_their_space_are_told_once(kind: str) -> None:
    assert messages_of(kind) == (OUTSIDE,)


def test_an_ignored_seed_is_told() -> None:
    assert messages_of("unseeded") == ("the same seed and actions lead to different results",)


def test_an_error_of_the_environment_has_its_place() -> None:
    config = config_of("raise", kwargs={"at": 1})
    (message,) = check_by_gymnasium(config, False, new_progress())
    assert message.startswith("RuntimeError: no licence (")
    # The checker may have taken an illegal action.
    assert check_by_gymnasium(config, True, new_progress()) == ()


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("\x1b[33mWARN: A Box observation space minimum value is -infinity.\x1b[0m", ""),
        ("Expects `terminated` signal to be a boolean, actual type: int", "terminated is no bool"),
        ("Calling: actual type: `int`, not a dictionary", "info is no dict"),
        ("Something `new`. It goes on.", "Something new"),
        ("word " * 60, f"{('word ' * 60)[:147]}..."),
        (
            "The `reset` method does not provide an `options` or `**kwargs` keyword argument.",
            "reset takes no argument options: def reset(self, *, seed=None, options=None)",
        ),
    ],
)
def test_a_message_becomes_one_plain_line(message: str, line: str) -> None:
    assert in_one_line(message) == line
