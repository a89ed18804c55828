from __future__ import annotations

import math

import gymnasium
import pytest

from dqn_cli.evaluation.atari_scores import REFERENCE_SCORES, human_normalised_score


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
    assert human_normalised_score(env_id, score) == pytest.approx(expected)


@pytest.mark.parametrize(
    "env_id", ["ALE/Pong-v5", "ALE/Pong-v0", "ALE/Pong-v12", "ALE/Pong", "ale_py:ALE/Pong-v5"]
)
def test_every_version_of_a_game_has_the_same_reference(env_id: str) -> None:
    assert human_normalised_score(env_id, 14.6) == pytest.approx(1)


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
def test_no_other_environment_has_a_reference(env_id: str) -> None:
    assert human_normalised_score(env_id, 14.6) is None


def test_nan_stays_nan() -> None:
    score = human_normalised_score("ALE/Pong-v5", math.nan)
    assert score is not None
    assert math.isnan(score)


def test_the_57_usual_games_have_a_reference() -> None:
    assert len(REFERENCE_SCORES) == 57
    assert list(REFERENCE_SCORES) == sorted(REFERENCE_SCORES)


@pytest.mark.parametrize("game", REFERENCE_SCORES)
def test_the_human_tester_beats_random_play(game: str) -> None:
    random, human = REFERENCE_SCORES[game]
    assert random < human
    assert human_normalised_score(f"ALE/{game}-v5", random) == 0
    assert human_normalised_score(f"ALE/{game}-v5", human) == 1


def test_every_game_is_one_of_ale() -> None:
    pytest.importorskip("ale_py")
    registered = {env_id for env_id in gymnasium.registry if env_id.startswith("ALE/")}
    assert {f"ALE/{game}-v5" for game in REFERENCE_SCORES} <= registered
