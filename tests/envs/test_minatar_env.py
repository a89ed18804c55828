from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from numpy.typing import NDArray

import dqn_cli.envs  # noqa: F401  (registers MinAtar)
from dqn_cli.agent.spaces import PICTURE
from dqn_cli.envs.env_config import EnvConfig, Vectorization, make_env, observation_dtype
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.envs.masks import MaskSource

pytest.importorskip("minatar")

Array = NDArray[Any]

# Planes of an observation, and the number of actions that have an effect (Young & Tian 2019).
GAMES = {
    "Asterix": (4, 5),
    "Breakout": (4, 3),
    "Freeway": (7, 3),
    "Seaquest": (10, 6),
    "SpaceInvaders": (6, 4),
}


def config(game: str, version: str = "v1", num_envs: int = 1) -> EnvConfig:
    return EnvConfig(
        f"MinAtar/{game}-{version}", {}, num_envs, Vectorization["sync"], PLAIN, MaskSource.auto
    )


def new_env(game: str) -> gymnasium.Env[Any, Any]:
    return make_env(config(game))[0]


def episode(
    env: gymnasium.Env[Any, Any], seed: int, actions: list[int]
) -> tuple[list[Array], list[float]]:
    """Observations and rewards of an episode, or of its first steps."""
    obs, _ = env.reset(seed=seed)
    seen, rewards = [obs.copy()], []
    for action in actions:
        obs, reward, terminated, _, _ = env.step(action)
        seen.append(obs.copy())
        rewards.append(float(reward))
        if terminated:
            break
    return seen, rewards


def some_actions(count: int, actions: int) -> list[int]:
    return np.random.default_rng(count).integers(actions, size=count).tolist()


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("game", GAMES)
def test_each_game_is_registered_and_fits_a_q_network(game: str, version: str) -> None:
    planes, useful = GAMES[game]
    env, spaces = make_env(config(game, version))
    assert spaces.observation_shape == (10, 10, planes)
    assert spaces.actions == (useful if version == "v1" else 6)
    (part,) = spaces.parts
    assert (part.kind, set(part.low), set(part.high)) == (PICTURE, {0.0}, {1.0})
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    seen, rewards = episode(env, 0, some_actions(20, spaces.actions))
    assert all(obs in env.observation_space for obs in seen)
    assert len(rewards) > 0
    env.close()


@pytest.mark.parametrize("game", GAMES)
def test_other_seeds_give_other_episodes(game: str) -> None:
    env, spaces = make_env(config(game))
    actions = some_actions(50, spaces.actions)
    first, second = (np.stack(episode(env, seed, actions)[0][:10]) for seed in (1, 2))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("game", GAMES)
def test_a_seed_and_actions_determine_an_episode_of_a_new_environment(game: str) -> None:
    actions = some_actions(60, GAMES[game][1])
    (obs, rewards), (other_obs, other_rewards) = (
        episode(new_env(game), 5, actions) for _ in range(2)
    )
    assert rewards == other_rewards
    np.testing.assert_array_equal(np.stack(obs), np.stack(other_obs))


# A resumed run replays the current episode alone. With some of these seeds, a sticky first step
# would repeat the last action of the episode before.
@pytest.mark.parametrize("game", GAMES)
def test_a_seed_and_actions_determine_an_episode_whatever_was_played_before(game: str) -> None:
    useful = GAMES[game][1]
    used, actions = make_env(config(game))[0], some_actions(60, useful)
    for seed in range(40):
        episode(used, 1000 + seed, [seed % useful] * 5)
        (obs, rewards), (other_obs, other_rewards) = (
            episode(env, seed, actions) for env in (used, new_env(game))
        )
        assert rewards == other_rewards
        np.testing.assert_array_equal(np.stack(obs), np.stack(other_obs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_boolean_observations_are_stored_as_bytes(dtype: str) -> None:
    env, spaces = make_env(config("Breakout"))
    assert env.observation_space.dtype == np.bool_
    assert observation_dtype(spaces, dtype) == np.uint8
    seeds = [[episode_seeds(0, "environment", i) for i in range(3)]]
    envs = Environments(config("Breakout", num_envs=3), seeds, dtype)
    step = envs.step(np.zeros((1, 3), np.int64))
    envs.close()
    for obs in (envs.obs, step.obs, step.final_obs):
        assert obs.shape == (1, 3, 10, 10, 4)
        assert obs.dtype == np.uint8
        assert set(np.unique(obs)) == {0, 1}
