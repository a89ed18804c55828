from __future__ import annotations

import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import dqn_cli.envs  # noqa: F401  (registers PositionCartPole-v1)
from dqn_cli.envs.position_cartpole import PositionCartPole


@pytest.mark.parametrize("kwargs", [{}, {"sutton_barto_reward": True}])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_cartpole_without_velocities(seed: int, kwargs: dict[str, bool]) -> None:
    partial = gymnasium.make("PositionCartPole-v1", **kwargs)
    full = gymnasium.make("CartPole-v1", **kwargs)
    random = np.random.default_rng(seed)
    partial_obs, partial_info = partial.reset(seed=seed)
    obs, info = full.reset(seed=seed)
    assert partial_info == info
    steps, ended = 0, False
    while not ended:
        assert partial_obs.tolist() == [obs[0], obs[2]]
        action = random.integers(2)
        partial_obs, *partial_rest = partial.step(action)
        obs, *rest = full.step(action)
        assert partial_rest == rest
        steps, ended = steps + 1, rest[1] or rest[2]
    assert partial_obs.tolist() == [obs[0], obs[2]]
    assert steps > 5


def test_an_episode_is_truncated_after_500_steps() -> None:
    env = gymnasium.make("PositionCartPole-v1")
    assert env.spec is not None
    assert env.spec.max_episode_steps == 500


def test_its_space_is_that_of_the_two_positions() -> None:
    space, cartpole = PositionCartPole().observation_space, gymnasium.make("CartPole-v1")
    assert isinstance(space, gymnasium.spaces.Box)
    assert isinstance(cartpole.observation_space, gymnasium.spaces.Box)
    assert space.shape == (2,)
    assert space.dtype == np.float32
    assert space.low.tolist() == cartpole.observation_space.low[[0, 2]].tolist()
    assert space.high.tolist() == cartpole.observation_space.high[[0, 2]].tolist()
    assert np.isfinite([space.low, space.high]).all()  # so a table can discretize them


def test_observations_are_new_arrays_within_the_space() -> None:
    env = PositionCartPole()
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second, *_ = env.step(1)
    assert first.dtype == second.dtype == np.float32
    assert first in env.observation_space
    assert second in env.observation_space
    assert first.tolist() == kept.tolist() != second.tolist()


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_gymnasiums_own_checks_pass() -> None:
    check_env(PositionCartPole(), skip_render_check=True)


def test_it_renders_images_and_can_be_pickled() -> None:
    env = gymnasium.make("PositionCartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.ndim == 3
    assert "rgb_array" in env.metadata["render_modes"]
    assert pickle.loads(pickle.dumps(PositionCartPole)) is PositionCartPole
    env.close()
