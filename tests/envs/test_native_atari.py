from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scripted import arrays_of

from dqn_cli.agent.spaces import PICTURE
from dqn_cli.envs import native_atari
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.preprocessing import Atari
from dqn_cli.replay.stream import EnvStep

pytest.importorskip("ale_py")
pytest.importorskip("cv2")

Array = NDArray[Any]

ROWS = 3


def protocol(**changed: Any) -> Atari:
    """Returns the protocol of Nature's DQN, but deterministic."""
    nature = {
        "stack": 4,
        "clip_rewards": True,
        "frame_skip": 4,
        "size": 84,
        "grayscale": True,
        "noop_max": 0,
        "fire_on_reset": False,
        "loss_of_life": True,
        "sticky": 0.0,
        "full_actions": False,
        "max_frames": 108_000,
    }
    return Atari(**nature | changed)


STOCHASTIC = {"noop_max": 30, "sticky": 0.25, "size": 42}


def environments(
    game: str = "Breakout",
    kind: str = "native",
    rows: int = 1,
    snapshots: list[EnvSnapshot] | None = None,
    max_episode_steps: int | None = None,
    seeds: tuple[int, ...] = (7,),
    first: int = 0,
    **changed: Any,
) -> Environments:
    """Makes environments for members with these seeds, whose rows are numbered from `first` on."""
    config = EnvConfig(
        f"ALE/{game}-v5", {}, rows, Vectorization[kind], protocol(**changed), MaskSource.auto
    )
    numbers = range(first, first + rows)
    seed_functions = [
        [episode_seeds(seed, "environment", env) for env in numbers] for seed in seeds
    ]
    return Environments(config, seed_functions, "float32", snapshots, max_episode_steps)


def random_actions(envs: Environments, steps: int, seed: int = 0) -> Array:
    """Returns random actions [steps, members, envs]."""
    random = np.random.default_rng(seed)
    return random.integers(envs.spaces.actions, size=(steps, *envs.mask.shape[:2]))


def take(envs: Environments, actions: Array) -> list[EnvStep]:
    return [envs.step(action) for action in actions]


def assert_equal(actual: EnvStep, expected: EnvStep, *ignored: str) -> None:
    for name, value, expected_value in zip(EnvStep._fields, actual, expected, strict=True):
        if name not in ignored:
            np.testing.assert_array_equal(value, expected_value, name)


@pytest.fixture
def frequent_seeds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Random games of Breakout take about 170 steps, so every second one gets a new seed."""
    monkeypatch.setattr(native_atari, "MIN_STEPS_PER_SEED", 250)
    return


@pytest.mark.parametrize(
    ("game", "fire"), [("Breakout", True), ("Breakout", False), ("Pong", True), ("Seaquest", False)]
)
def test_games_equal_gymnasiums_wrappers_pixel_for_pixel(game: str, fire: bool) -> None:
    native, wrapped = (
        environments(game, kind, rows=2, fire_on_reset=fire) for kind in ("native", "sync")
    )
    assert native.spaces == wrapped.spaces
    np.testing.assert_array_equal(native.obs, wrapped.obs)
    actions = random_actions(native, 1000)
    actions[:, 0, 0] *= game != "Pong"  # a player that never moves loses sooner
    ended = lost = 0
    for action in actions:
        mine, yours = native.step(action), wrapped.step(action)
        assert_equal(mine, yours)
        ended, lost = ended + mine.ended.sum(), lost + mine.lost.sum()
    assert ended >= {"Breakout": 6, "Pong": 1, "Seaquest": 2}[game]
    assert (lost > 0) == (game != "Pong")
    native.close()


@pytest.mark.parametrize(
    "changed",
    [
        {"max_frames": 400},
        {"max_frames": 402},
        {"max_frames": 300, "frame_skip": 3, "grayscale": False, "stack": 2, "size": 40},
        {"max_frames": 90, "frame_skip": 1, "stack": 1, "full_actions": True},
    ],
)
def test_episodes_end_alike_where_frames_run_out(changed: dict[str, Any]) -> None:
    native, wrapped = (environments(kind=kind, rows=2, **changed) for kind in ("native", "sync"))
    assert native.spaces == wrapped.spaces
    truncated = 0
    for action in random_actions(native, 230):
        mine, yours = native.step(action), wrapped.step(action)
        assert_equal(mine, yours)
        truncated += mine.truncated.sum()
    assert truncated >= 4


def test_an_episode_is_truncated_at_max_episode_steps() -> None:
    native, wrapped = (environments(kind=kind, max_episode_steps=60) for kind in ("native", "sync"))
    for number, action in enumerate(random_actions(native, 200), 1):
        mine, yours = native.step(action), wrapped.step(action)
        # ale-py leaves out the last frame before a truncation, the wrappers the last one of a game.
        assert_equal(mine, yours, "final_obs")
        assert mine.truncated.item() == (number % 60 == 0)


@pytest.mark.parametrize("kind", ["native", "sync"])
def test_the_final_observation_differs_from_the_next_episodes_first_one(kind: str) -> None:
    envs = environments(kind=kind, max_frames=200)
    before = envs.obs
    for number, action in enumerate(random_actions(envs, 120), 1):
        step = envs.step(action)
        # Frames move up by one, also in the final observation.
        np.testing.assert_array_equal(step.final_obs[..., :3, :, :], before[..., 1:, :, :])
        if number % 50:
            np.testing.assert_array_equal(step.obs, step.final_obs)
        else:
            assert not step.obs[..., :3, :, :].any()
            assert step.obs[..., 3, :, :].any()
            assert step.final_obs[..., 0, :, :].any()
        before = step.obs
        np.testing.assert_array_equal(envs.obs, step.obs)


@pytest.mark.parametrize("kind", ["native", "sync"])
@pytest.mark.parametrize("counts", [True, False])
def test_a_lost_life_ends_no_episode_and_counts_if_asked_for(kind: str, counts: bool) -> None:
    envs = environments(kind=kind, loss_of_life=counts)
    lost, episodes = 0, []
    for step in take(envs, random_actions(envs, 600)):
        assert not (step.lost & step.ended).any()
        lost += int(step.lost.item())
        if step.ended.item():
            episodes.append(lost)
            lost = 0
    assert len(episodes) >= 3
    assert set(episodes) == {4 if counts else 0}  # the fifth ends the game


def test_the_last_life_is_an_end_and_not_a_lost_life() -> None:
    for kind in ("native", "async", "sync"):
        envs = environments(kind=kind, size=20)
        steps = take(envs, random_actions(envs, 250))
        envs.close()
        assert any(step.terminated.any() for step in steps)
        assert not any((step.lost & step.ended).any() for step in steps)


def test_counting_lives_changes_nothing_else() -> None:
    one, other = (environments(loss_of_life=counts, **STOCHASTIC) for counts in (True, False))
    for action in random_actions(one, 200):
        mine, yours = one.step(action), other.step(action)
        assert_equal(mine, yours, "lost")
        assert not yours.lost.any()


@pytest.mark.parametrize("kind", ["native", "sync"])
def test_rewards_are_those_of_the_game_and_never_clipped(kind: str) -> None:
    envs = environments("Seaquest", kind, clip_rewards=True, size=20)
    rewards = {step.reward.item() for step in take(envs, random_actions(envs, 150, seed=1))}
    assert rewards == {0, 20}


def test_the_seed_determines_the_episode() -> None:
    first, same = (environments(rows=2, **STOCHASTIC) for _ in range(2))
    different = environments(rows=2, seeds=(8,), **STOCHASTIC)
    actions = random_actions(first, 60)
    actions[:, :, 1] = actions[:, :, 0]
    for action in actions:
        assert_equal(first.step(action), same.step(action))
        different.step(action)
    assert not (different.obs == first.obs).all()
    assert not (first.obs[:, 0] == first.obs[:, 1]).all()


def check_continuation(first: Environments, steps: int, **changed: Any) -> None:
    """Environments made from snapshots of `first` do the same as `first`."""
    rows = first.mask.shape[1]
    second = environments(rows=rows, snapshots=first.snapshots, **STOCHASTIC, **changed)
    np.testing.assert_array_equal(first.obs, second.obs)
    for action in random_actions(first, steps, seed=5):
        assert_equal(first.step(action), second.step(action))
    assert first.snapshots == second.snapshots


# Step 220 follows a first end, without a new seed, and step 450 a second one, with a new seed.
@pytest.mark.parametrize("before", [0, 1, 220, 450])
def test_games_continue_from_snapshots(frequent_seeds: None, before: int) -> None:
    first = environments(rows=ROWS, **STOCHASTIC)
    ended = sum(step.ended.sum() for step in take(first, random_actions(first, before)))
    assert ended >= {220: 2, 450: 6}.get(before, 0)
    assert [snapshot.seed_number for snapshot in first.snapshots] == [int(before == 450)] * ROWS
    assert len({len(snapshot.actions) for snapshot in first.snapshots}) == 1 + (before == 450)
    check_continuation(first, 250)


def test_games_continue_right_after_a_new_seed(frequent_seeds: None) -> None:
    first = environments(rows=ROWS, **STOCHASTIC)
    for action in random_actions(first, 600):
        first.step(action)
        if any(not snapshot.actions for snapshot in first.snapshots):
            break
    assert {bool(snapshot.actions) for snapshot in first.snapshots} == {True, False}
    check_continuation(first, 200)


def test_games_continue_before_a_truncation(frequent_seeds: None) -> None:
    first = environments(rows=2, max_frames=200, **STOCHASTIC)
    take(first, random_actions(first, 80))
    check_continuation(first, 60, max_frames=200)


def test_a_snapshot_is_the_number_of_a_seed_and_the_actions_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native_atari, "MIN_STEPS_PER_SEED", 70)
    envs = environments(rows=2, max_frames=200, **STOCHASTIC)
    actions = random_actions(envs, 230)
    take(envs, actions)
    # Episodes of 50 steps end at 50, 100 (a new seed), 150 and 200 (another one).
    assert envs.snapshots == [
        EnvSnapshot(2, tuple(actions[200:, 0, row].tolist())) for row in range(2)
    ]


def test_a_new_seed_changes_no_other_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_atari, "MIN_STEPS_PER_SEED", 50)
    together = environments(rows=ROWS, **STOCHASTIC)
    alone = [environments(first=row, **STOCHASTIC) for row in range(ROWS)]
    end_steps = set()
    for number, action in enumerate(random_actions(together, 420)):
        step = together.step(action)
        for row, envs in enumerate(alone):
            mine = envs.step(action[:, row : row + 1])
            assert_equal(mine, EnvStep(*(values[:, row : row + 1] for values in arrays_of(step))))
        if step.ended.any():
            assert not step.ended.all()
            end_steps.add(number)
    assert len(end_steps) >= 5
    assert [envs.snapshots[0] for envs in alone] == together.snapshots


def test_members_are_a_leading_axis() -> None:
    both = environments(rows=2, seeds=(7, 8), **STOCHASTIC)
    alone = environments(rows=2, seeds=(8,), **STOCHASTIC)
    assert both.obs.shape == (2, 2, 4, 42, 42)
    assert both.mask.shape == (2, 2, 4)
    for action in random_actions(both, 30):
        step, mine = both.step(action), alone.step(action[1:])
        assert_equal(mine, EnvStep(*(values[1:] for values in arrays_of(step))))


def test_returned_arrays_are_never_overwritten(frequent_seeds: None) -> None:
    envs = environments(rows=ROWS, **STOCHASTIC)
    kept: list[tuple[Array, Array]] = [(envs.obs, envs.obs.copy())]
    for step in take(envs, random_actions(envs, 400)):
        kept += [(values, values.copy()) for values in arrays_of(step)]
    for values, copied in kept:
        np.testing.assert_array_equal(values, copied)


def test_games_have_no_masks() -> None:
    envs = environments()
    assert not envs.masked
    (step,) = take(envs, random_actions(envs, 1))
    assert envs.mask.all()
    assert step.mask.all()
    assert step.final_mask.all()


def test_full_actions_are_eighteen() -> None:
    assert environments("Breakout").spaces.actions == 4
    assert environments("Breakout", full_actions=True).spaces.actions == 18
    assert environments("Seaquest").spaces.actions == 18


@pytest.mark.parametrize(
    ("changed", "shape"),
    [
        ({}, (4, 84, 84)),
        ({"stack": 1}, (1, 84, 84)),
        ({"stack": 2, "size": 40, "grayscale": False}, (2, 40, 40, 3)),
    ],
)
def test_observations_are_bytes_with_an_axis_of_time(
    changed: dict[str, Any], shape: tuple[int, ...]
) -> None:
    envs = environments(**changed)
    assert envs.obs.dtype == np.uint8
    assert envs.obs.shape == (1, 1, *shape)
    assert envs.spaces.observation_shape == shape
    assert envs.spaces.frames == shape[0]
    (part,) = envs.spaces.parts
    assert (part.kind, part.low, part.high, part.is_bytes) == (PICTURE, (0.0,), (255.0,), True)


def test_the_number_of_first_no_ops_depends_on_the_seed() -> None:
    drawn, none = (environments("Freeway", rows=8, noop_max=most) for most in (30, 0))
    assert len({row.tobytes() for row in drawn.obs[0]}) > 4
    assert len({row.tobytes() for row in none.obs[0]}) == 1


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_closing_ends_the_threads() -> None:
    before = threads()
    envs = environments(rows=2)
    assert threads() > before
    envs.close()
    assert threads() == before


@pytest.mark.parametrize("kind", ["native", "sync"])
def test_an_unknown_game_is_named(kind: str) -> None:
    with pytest.raises(EnvironmentFailure, match="ALE/Nowhere-v5"):
        environments("Nowhere", kind)
