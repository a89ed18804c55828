from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from gymnasium import spaces
from numpy.typing import NDArray

from dqn_cli.envs import env_config, env_ids
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization, make_env
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.preprocessing import Atari, Images, Preprocess
from dqn_cli.training.settings import Settings

Array = NDArray[Any]

SHAPE = (20, 24, 3)
IMAGES = Images(stack=4, clip_rewards=False, frame_skip=1, size=12, grayscale=True)


class PlainImages(gymnasium.Env[Any, Any]):
    """Images of a single color, brighter with every second step; rewards count the steps."""

    action_space = spaces.Discrete(3)

    def __init__(self, shape: tuple[int, ...] = SHAPE, length: int = 7) -> None:
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self._length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._first = int(self.np_random.integers(100))
        self._steps = 0
        return self._image(), {}

    def step(self, action: Any) -> Any:
        self._steps += 1
        ended = self._steps >= self._length
        return self._image(), float(self._steps), ended, False, {}

    def _image(self) -> Array:
        # Dark in every other step, so that the brighter of two frames is known.
        bright = self._first + 10 * self._steps if self._steps % 2 else 1
        return np.full(self.observation_space.shape, bright, np.uint8)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gymnasium.register(id="PlainImages-v0", entry_point=PlainImages)
    yield
    del gymnasium.registry["PlainImages-v0"]


def config(
    env_id: str, preprocess: Preprocess, kind: str = "sync", rows: int = 1, **kwargs: Any
) -> EnvConfig:
    return EnvConfig(env_id, kwargs, rows, Vectorization[kind], preprocess, MaskSource.auto)


def environments(
    env_config: EnvConfig, snapshots: list[EnvSnapshot] | None = None, dtype: str = "float32"
) -> Environments:
    seed_functions = [[episode_seeds(7, "environment", env) for env in range(env_config.num_envs)]]
    return Environments(env_config, seed_functions, dtype, snapshots)


@pytest.fixture
def images() -> Callable[..., Environments]:
    """Returns a function that makes environments of images with other preprocessing."""
    pytest.importorskip("cv2")

    def make_images(kind: str = "sync", rows: int = 1, **changed: Any) -> Environments:
        return environments(config("PlainImages-v0", replace(IMAGES, **changed), kind, rows))

    return make_images


def brightness(frames: Array) -> list[int]:
    """Returns the brightness of frames [1, 1, frames, ...], each of a single color."""
    flat = frames[0, 0].reshape(frames.shape[2], -1)
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].tolist()


@pytest.mark.parametrize(
    ("changed", "shape"),
    [
        ({}, (4, 12, 12)),
        ({"grayscale": False}, (4, 12, 12, 3)),
        ({"stack": 1}, (1, 12, 12)),
        ({"stack": 1, "grayscale": False}, (1, 12, 12, 3)),
        ({"size": 30, "stack": 2}, (2, 30, 30)),
    ],
)
def test_images_are_resized_and_stacked(
    images: Callable[..., Environments], changed: dict[str, Any], shape: tuple[int, ...]
) -> None:
    envs = images(**changed)
    described = envs.spaces
    assert envs.obs.shape == (1, 1, *shape)
    assert envs.obs.dtype == np.uint8
    assert described.observation_shape == shape
    assert described.frames == shape[0]
    assert [set(bound) for bound in described.bounds] == [{0.0}, {255.0}]
    assert [len(bound) for bound in described.bounds] == [np.prod(shape)] * 2


def test_images_of_one_channel_stay_as_they_are() -> None:
    pytest.importorskip("cv2")
    _, described = make_env(config("PlainImages-v0", replace(IMAGES, size=20), shape=(20, 20, 1)))
    assert described.observation_shape == (4, 20, 20, 1)


def test_frames_before_an_episode_are_black_and_the_newest_is_the_last(
    images: Callable[..., Environments],
) -> None:
    envs = images(stack=3)
    first = brightness(envs.obs)
    assert first == [0, 0, 1]
    steps = [envs.step(np.array([[0]])) for _ in range(7)]
    seen = [brightness(step.final_obs) for step in steps]
    bright = seen[0][2]
    assert bright >= 10
    assert seen[:3] == [[0, 1, bright], [1, bright, 1], [bright, 1, bright + 20]]
    assert seen[6] == [bright + 40, 1, bright + 60]
    assert steps[6].terminated.item()
    assert brightness(steps[6].obs) == [0, 0, 1]


def test_rewards_of_skipped_frames_add_up_and_the_last_two_frames_are_merged(
    images: Callable[..., Environments],
) -> None:
    envs = images(frame_skip=4, stack=2)
    bright = brightness(envs.step(np.array([[0]])).final_obs)[1] - 30
    last = envs.step(np.array([[0]]))
    assert last.terminated.item()
    assert last.reward.item() == 5 + 6 + 7  # an episode of 7 frames ends within the second step
    again = envs.step(np.array([[0]]))
    assert again.reward.item() == 1 + 2 + 3 + 4
    assert brightness(again.final_obs)[0] == 1
    assert bright >= 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_images_are_the_same_with_and_without_processes(
    images: Callable[..., Environments], kind: str
) -> None:
    in_process, others = images(rows=2), images(kind, rows=2)
    try:
        np.testing.assert_array_equal(in_process.obs, others.obs)
        for _ in range(20):
            mine, yours = (envs.step(np.zeros((1, 2), int)) for envs in (in_process, others))
            for one, other in zip(mine, yours, strict=True):
                np.testing.assert_array_equal(one, other)
            assert mine.obs.dtype == yours.obs.dtype == np.uint8
            assert not mine.lost.any()
    finally:
        others.close()


def test_environments_continue_in_the_middle_of_an_episode(
    images: Callable[..., Environments],
) -> None:
    first = images()
    for _ in range(10):
        first.step(np.array([[1]]))
    assert first.snapshots == [EnvSnapshot(1, (1, 1, 1))]
    second = environments(config("PlainImages-v0", IMAGES), first.snapshots)
    np.testing.assert_array_equal(first.obs, second.obs)
    for _ in range(10):
        mine, yours = (envs.step(np.array([[0]])) for envs in (first, second))
        np.testing.assert_array_equal(mine.final_obs, yours.final_obs)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "Blackjack-v1"])
def test_observations_that_are_no_images_are_an_error_in_one_line(env_id: str) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(EnvironmentFailure) as caught:
        make_env(config(env_id, IMAGES))
    line = str(caught.value)
    assert line.startswith(f"env={env_id}: protocol=image needs images")
    assert "use protocol=none" in line
    assert "\n" not in line


def atari_protocol(settings_of: Callable[..., Settings], name: str) -> Atari:
    preprocess = settings_of(f"protocol={name}").env.preprocess
    assert isinstance(preprocess, Atari)
    return preprocess


@pytest.mark.parametrize("name", ["nature", "dopamine", "cleanrl", "btr"])
def test_atari_protocols_need_a_game_of_ale(
    settings_of: Callable[..., Settings], name: str
) -> None:
    pytest.importorskip("cv2")
    for env_id in ("CartPole-v1", "PlainImages-v0"):
        with pytest.raises(
            EnvironmentFailure, match=f"^env={env_id}: .*ALE.*protocol=image"
        ) as caught:
            make_env(config(env_id, atari_protocol(settings_of, name)))
        assert "\n" not in str(caught.value)


def test_each_protocol_has_the_settings_of_its_paper(settings_of: Callable[..., Settings]) -> None:
    nature = atari_protocol(settings_of, "nature")
    assert (nature.noop_max, nature.sticky, nature.loss_of_life) == (30, 0, True)
    assert (nature.frame_skip, nature.size, nature.stack) == (4, 84, 4)
    assert (nature.grayscale, nature.clip_rewards, nature.max_frames) == (True, True, 108_000)
    assert not nature.full_actions
    machado = {"noop_max": 0, "sticky": 0.25, "loss_of_life": False}
    assert atari_protocol(settings_of, "dopamine") == replace(nature, **machado)
    assert atari_protocol(settings_of, "cleanrl") == replace(nature, fire_on_reset=True)
    assert atari_protocol(settings_of, "btr") == replace(nature, sticky=0.25, loss_of_life=False)


@pytest.mark.parametrize(
    ("preprocess", "extra"), [(IMAGES, "image"), (PLAIN, "atari")], ids=["cv2", "ale_py"]
)
def test_a_missing_module_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, preprocess: Preprocess, extra: str
) -> None:
    for module in (env_config, env_ids):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    env_id = "CartPole-v1" if extra == "image" else "ALE/Pong-v5"
    with pytest.raises(EnvironmentFailure, match=rf"pip install 'dqn-train\[{extra}\]'"):
        make_env(config(env_id, preprocess))


STACKED = replace(PLAIN, stack=3)


def test_vectors_are_stacked_too() -> None:
    envs, alone = (
        environments(config("CartPole-v1", preprocess), dtype="float64")
        for preprocess in (STACKED, PLAIN)
    )
    assert envs.spaces.observation_shape == (3, 4)
    assert envs.spaces.frames == 3
    assert not envs.obs[0, 0, :2].any()
    frames = [np.zeros(4), np.zeros(4), alone.obs[0, 0]]
    ended = 0
    for number in range(40):
        action = np.array([[number % 3 > 0]], int)
        step, plain = envs.step(action), alone.step(action)
        frames.append(plain.final_obs[0, 0])
        np.testing.assert_array_equal(step.final_obs[0, 0], frames[-3:])
        if plain.ended.item():
            ended += 1
            frames += [np.zeros(4), np.zeros(4), plain.obs[0, 0]]
        np.testing.assert_array_equal(step.obs[0, 0], frames[-3:])
    assert ended >= 2


def test_discrete_observations_are_stacked_too() -> None:
    envs = environments(config("FrozenLake-v1", STACKED, is_slippery=False))
    assert envs.spaces.observation_shape == (3, 16)
    assert not envs.spaces.is_one_hot
    assert envs.spaces.bounds == ([0.0] * 48, [1.0] * 48)
    assert envs.obs[0, 0].sum(-1).tolist() == [0, 0, 1]  # before the first state there is none
    right, down = 2, 1
    envs.step(np.array([[right]]))
    step = envs.step(np.array([[right]]))
    assert step.obs[0, 0].argmax(-1).tolist() == [0, 1, 2]
    step = envs.step(np.array([[down]]))
    assert step.obs[0, 0].argmax(-1).tolist() == [1, 2, 6]


@pytest.mark.parametrize("clipped", [True, False])
def test_reported_rewards_are_never_clipped(clipped: bool) -> None:
    envs = environments(config("PlainImages-v0", Preprocess(stack=1, clip_rewards=clipped)))
    assert [envs.step(np.array([[0]])).reward.item() for _ in range(4)] == [1, 2, 3, 4]


def test_without_a_stack_there_is_no_axis_of_time() -> None:
    _, described = make_env(config("CartPole-v1", PLAIN))
    assert (described.observation_shape, described.frames) == ((4,), 0)
    _, described = make_env(config("PlainImages-v0", PLAIN))
    assert (described.observation_shape, described.frames) == (SHAPE, 0)


@pytest.mark.parametrize("kind", ["sync", "async", "native"])
def test_in_one_process_means_single_environments_in_one_process(kind: str) -> None:
    original = config("CartPole-v1", PLAIN, kind)
    expected = "sync"
    assert original.in_one_process == replace(original, vectorization=Vectorization[expected])
