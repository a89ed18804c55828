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
def test_it_is_cartpole_seen_through_its_positions(seed: int, kwargs: dict[str, bool]) -> None:
    blind = gymnasium.make("PositionCartPole-v1", **kwargs)
    seeing = gymnasium.make("CartPole-v1", **kwargs)
    random = np.random.default_rng(seed)
    blind_obs, blind_info = blind.reset(seed=seed)
    obs, info = seeing.reset(seed=seed)
    assert blind_info == info
    steps, ended = 0, False
    while not ended:
        assert blind_obs.tolist() == [obs[0], obs[2]]
        action = random.integers(2)
        blind_obs, *blind_rest = blind.step(action)
        obs, *rest = seeing.step(action)
        assert blind_rest == rest
        steps, ended = steps + 1, rest[1] or rest[2]
    assert blind_obs.tolist() == [obs[0], obs[2]]
    assert steps > 5


def test_gymnasium_cuts_it_after_500_steps() -> None:
    env = gymnasium.make("PositionCartPole-v1")
    assert env.spec is not None
    assert env.spec.max_episode_steps == 500


def test_its_space_is_that_of_the_two_positions() -> None:
    space, whole = PositionCartPole().observation_space, gymnasium.make("CartPole-v1")
    assert isinstance(space, gymnasium.spaces.Box)
    assert isinstance(whole.observation_space, gymnasium.spaces.Box)
    assert space.shape == (2,)
    assert space.dtype == np.float32
    assert space.low.tolist() == whole.observation_space.low[[0, 2]].tolist()
    assert space.high.tolist() == whole.observation_space.high[[0, 2]].tolist()
    assert np.isfinite([space.low, space.high]).all()  # a table can cut them into bins


def test_observations_are_arrays_of_their_own_and_lie_in_the_space() -> None:
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


def test_it_can_be_filmed_and_sent_to_another_process() -> None:
    env = gymnasium.make("PositionCartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.ndim == 3
    assert "rgb_array" in env.metadata["render_modes"]
    assert pickle.loads(pickle.dumps(PositionCartPole)) is PositionCartPole
    env.close()
