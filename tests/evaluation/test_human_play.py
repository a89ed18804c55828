from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.human_play import DRIVER, INVISIBLE, digit_keys, play_by_hand
from dqn_cli.interrupts import UserInterrupt
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


@pytest.fixture
def pygame(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return pytest.importorskip("pygame")


def test_keys_that_are_held_are_played_and_recorded_until_escape(
    settings_of: Compose, pygame: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pygame as game

    game.init()
    held = [game.event.Event(game.KEYDOWN, key=ord("1"))]
    escape = [game.event.Event(game.KEYDOWN, key=game.K_ESCAPE)]
    # The first frame shows the environment, and each of the next three takes the action held.
    frames = iter([held, [], [], escape])
    monkeypatch.setattr(game.event, "get", lambda: next(frames))
    recording = play_by_hand(settings_of().env, episode_seeds(0, "test", 0), "float32")
    assert (recording.rows, recording.episodes) == (3, 1)
    assert recording.returns == [3.0]


def test_an_interrupt_ends_playing_and_loses_nothing(
    settings_of: Compose, pygame: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pygame as game

    game.init()
    held = [game.event.Event(game.KEYDOWN, key=ord("1"))]
    frames = iter([held, [], []])

    def events() -> list[game.event.Event]:
        if (frame := next(frames, None)) is None:
            raise UserInterrupt
        return frame

    monkeypatch.setattr(game.event, "get", events)
    recording = play_by_hand(settings_of().env, episode_seeds(0, "test", 0), "float32")
    assert (recording.rows, recording.episodes) == (3, 1)


@pytest.mark.parametrize("driver", INVISIBLE)
def test_nobody_plays_in_a_window_that_nobody_sees(
    settings_of: Compose, pygame: object, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    import pygame as game

    monkeypatch.delenv(DRIVER)
    monkeypatch.setattr(game.display, "get_driver", lambda: driver)
    with pytest.raises(EnvironmentFailure, match="there is no display here"):
        play_by_hand(settings_of().env, episode_seeds(0, "test", 0), "float32")


def test_each_action_has_a_key_as_far_as_there_are_keys() -> None:
    assert digit_keys("X", 12) == dict(zip("0123456789ab", range(12), strict=True))
    with pytest.raises(EnvironmentFailure, match="has 37 actions, and there are 36 keys"):
        digit_keys("X", 37)


def test_an_environment_without_pictures_can_not_be_played(settings_of: Compose) -> None:
    with pytest.raises(EnvironmentFailure, match=r"env=parts:Parts-v0.*render"):
        play_by_hand(settings_of("env=parts:Parts-v0").env, lambda number: number, "float32")
