from __future__ import annotations

import math

import gymnasium
import pytest

from dqn_cli.evaluation.atari_scores import REFERENCES, human_normalised


@pytest.mark.parametrize(
    ("env_id", "score", "expected"),
    [
        ("ALE/Pong-v5", -20.7, 0),
        ("ALE/Pong-v5", 14.6, 1),
        ("ALE/Pong-v5", 21, 41.7 / 35.3),
        ("ALE/Pong-v5", -21, -0.3 / 35.3),
        ("ALE/Breakout-v5", 401.2, 399.5 / 28.8),
        ("ALE/Freeway-v5", 14.8, 0.5),
        ("ALE/DoubleDunk-v5", -17.5, 0.5),
        ("ALE/Skiing-v5", -30000, -12901.9 / 12761.2),
        ("ALE/VideoPinball-v5", 0, -16256.9 / 1411),
    ],
)
def test_scores_by_hand(env_id: str, score: float, expected: float) -> None:
    assert human_normalised(env_id, score) == pytest.approx(expected)


@pytest.mark.parametrize(
    "env_id", ["ALE/Pong-v5", "ALE/Pong-v0", "ALE/Pong-v12", "ALE/Pong", "ale_py:ALE/Pong-v5"]
)
def test_every_version_of_a_game_has_its_reference(env_id: str) -> None:
    assert human_normalised(env_id, 14.6) == pytest.approx(1)


@pytest.mark.parametrize(
    "env_id",
    [
        "CartPole-v1",
        "Pong-v5",
        "PongNoFrameskip-v4",
        "MinAtar/Breakout-v1",
        "Other/ALE/Pong-v5",
        "my_module:ALE/Pong-v5",
        "ale/Pong-v5",
        "ALE/pong-v5",
        "ALE/Pong-v",
        "ALE/Pong-ram-v5",
        "ALE/Pong-v5-v5",
        "ALE/Pong-v5\n",
        "ALE/Tetris-v5",
        "ALE/AirRaid-v5",
        "ALE/",
        "",
    ],
)
def test_nothing_else_has_one(env_id: str) -> None:
    assert human_normalised(env_id, 14.6) is None


def test_a_score_that_is_no_number_stays_none() -> None:
    found = human_normalised("ALE/Pong-v5", math.nan)
    assert found is not None
    assert math.isnan(found)


def test_the_57_usual_games_have_a_reference() -> None:
    assert len(REFERENCES) == 57
    assert list(REFERENCES) == sorted(REFERENCES)


@pytest.mark.parametrize("game", REFERENCES)
def test_the_human_tester_beats_random_play(game: str) -> None:
    random, human = REFERENCES[game]
    assert random < human
    assert human_normalised(f"ALE/{game}-v5", random) == 0
    assert human_normalised(f"ALE/{game}-v5", human) == 1


def test_every_game_is_one_of_ale() -> None:
    pytest.importorskip("ale_py")
    registered = {env_id for env_id in gymnasium.registry if env_id.startswith("ALE/")}
    assert {f"ALE/{game}-v5" for game in REFERENCES} <= registered
