from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_cli.envs import native_atari
from dqn_cli.envs.env_config import EnvConfig, EnvironmentFailure, Vectorization
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.envs.preprocessing import Atari
from dqn_cli.replay.stream import EnvStep

pytest.importorskip("ale_py")
pytest.importorskip("cv2")

Array = NDArray[Any]

SEVERAL = 3  # rows


def rules(**changed: Any) -> Atari:
    """Nature's, but deterministic."""
    usual = {
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
    return Atari(**usual | changed)


CHANCE = {"noop_max": 30, "sticky": 0.25, "size": 42}


def environments(
    game: str = "Breakout",
    how: str = "native",
    rows: int = 1,
    places: list[EnvSnapshot] | None = None,
    longest: int | None = None,
    seeds: tuple[int, ...] = (7,),
    first: int = 0,
    **changed: Any,
) -> Environments:
    """Those of members with these seeds; a member's rows are numbered from `first` on."""
    config = EnvConfig(f"ALE/{game}-v5", {}, rows, Vectorization[how], rules(**changed))
    numbers = range(first, first + rows)
    seed_ofs = [[episode_seeds(seed, "environment", env) for env in numbers] for seed in seeds]
    return Environments(config, seed_ofs, "float32", places, longest)


def choices(envs: Environments, steps: int, seed: int = 0) -> Array:
    """Random actions [steps, members, envs]."""
    random = np.random.default_rng(seed)
    return random.integers(envs.spaces.actions, size=(steps, *envs.mask.shape[:2]))


def played(envs: Environments, actions: Array) -> list[EnvStep]:
    return [envs.step(action) for action in actions]


def equal(one: EnvStep, other: EnvStep, *but: str) -> None:
    for name, mine, yours in zip(EnvStep._fields, one, other, strict=True):
        if name not in but:
            np.testing.assert_array_equal(mine, yours, name)


@pytest.fixture
def soon_reseeded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A game of Breakout played at random takes some 170 steps: each second end brings a seed."""
    monkeypatch.setattr(native_atari, "STEPS_OF_A_SEED", 250)
    return


@pytest.mark.parametrize(
    ("game", "fire"), [("Breakout", True), ("Breakout", False), ("Pong", True), ("Seaquest", False)]
)
def test_games_are_those_of_gymnasiums_wrappers_pixel_for_pixel(game: str, fire: bool) -> None:
    native, wrapped = (
        environments(game, how, rows=2, fire_on_reset=fire) for how in ("native", "sync")
    )
    assert native.spaces == wrapped.spaces
    np.testing.assert_array_equal(native.obs, wrapped.obs)
    actions = choices(native, 1000)
    actions[:, 0, 0] *= game != "Pong"  # who never moves loses sooner
    ended = lost = 0
    for action in actions:
        mine, yours = native.step(action), wrapped.step(action)
        equal(mine, yours)
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
def test_where_frames_run_out_both_end_alike(changed: dict[str, Any]) -> None:
    native, wrapped = (environments(how=how, rows=2, **changed) for how in ("native", "sync"))
    assert native.spaces == wrapped.spaces
    cut = 0
    for action in choices(native, 230):
        mine, yours = native.step(action), wrapped.step(action)
        equal(mine, yours)
        cut += mine.truncated.sum()
    assert cut >= 4


def test_an_episode_is_cut_at_max_episode_steps() -> None:
    native, wrapped = (environments(how=how, longest=60) for how in ("native", "sync"))
    for number, action in enumerate(choices(native, 200), 1):
        mine, yours = native.step(action), wrapped.step(action)
        # Of the very last frame ale-py takes no picture, nor do Gymnasium's wrappers of a game's.
        equal(mine, yours, "final_obs")
        assert mine.truncated.item() == (number % 60 == 0)


@pytest.mark.parametrize("how", ["native", "sync"])
def test_what_an_episode_ended_with_is_told_apart_from_what_the_next_begins_with(how: str) -> None:
    envs = environments(how=how, max_frames=200)
    before = envs.obs
    for number, action in enumerate(choices(envs, 120), 1):
        step = envs.step(action)
        # Frames move up by one, also into the last observation.
        np.testing.assert_array_equal(step.final_obs[..., :3, :, :], before[..., 1:, :, :])
        if number % 50:
            np.testing.assert_array_equal(step.obs, step.final_obs)
        else:
            assert not step.obs[..., :3, :, :].any()
            assert step.obs[..., 3, :, :].any()
            assert step.final_obs[..., 0, :, :].any()
        before = step.obs
        np.testing.assert_array_equal(envs.obs, step.obs)


@pytest.mark.parametrize("how", ["native", "sync"])
@pytest.mark.parametrize("counts", [True, False])
def test_a_lost_life_ends_no_episode_and_counts_where_it_shall(how: str, counts: bool) -> None:
    envs = environments(how=how, loss_of_life=counts)
    lost, episodes = 0, []
    for step in played(envs, choices(envs, 600)):
        assert not (step.lost & step.ended).any()
        lost += int(step.lost.item())
        if step.ended.item():
            episodes.append(lost)
            lost = 0
    assert len(episodes) >= 3
    assert set(episodes) == {4 if counts else 0}  # and the fifth is the end


def test_the_last_life_is_an_end_and_no_lost_life_wherever_games_are_played() -> None:
    for how in ("native", "async", "sync"):
        envs = environments(how=how, size=20)
        steps = played(envs, choices(envs, 250))
        envs.close()
        assert any(step.terminated.any() for step in steps)
        assert not any((step.lost & step.ended).any() for step in steps)


def test_lives_that_count_change_nothing_else() -> None:
    one, other = (environments(loss_of_life=counts, **CHANCE) for counts in (True, False))
    for action in choices(one, 200):
        mine, yours = one.step(action), other.step(action)
        equal(mine, yours, "lost")
        assert not yours.lost.any()


@pytest.mark.parametrize("how", ["native", "sync"])
def test_rewards_are_those_of_the_game_and_never_clipped(how: str) -> None:
    envs = environments("Seaquest", how, clip_rewards=True, size=20)
    rewards = {step.reward.item() for step in played(envs, choices(envs, 150, seed=1))}
    assert rewards == {0, 20}


def test_a_seed_is_an_episode_and_another_seed_another() -> None:
    one, other = (environments(rows=2, **CHANCE) for _ in range(2))
    different = environments(rows=2, seeds=(8,), **CHANCE)
    actions = choices(one, 60)
    actions[:, :, 1] = actions[:, :, 0]
    for action in actions:
        equal(one.step(action), other.step(action))
        different.step(action)
    assert not (different.obs == one.obs).all()
    assert not (one.obs[:, 0] == one.obs[:, 1]).all()


def going_on(first: Environments, steps: int, **changed: Any) -> None:
    """Others built at the places of these do what these do."""
    rows = first.mask.shape[1]
    second = environments(rows=rows, places=first.places, **CHANCE, **changed)
    np.testing.assert_array_equal(first.obs, second.obs)
    for action in choices(first, steps, seed=5):
        equal(first.step(action), second.step(action))
    assert first.places == second.places


# 220 lies after a first end without a new seed, 450 after a second one with a new seed.
@pytest.mark.parametrize("before", [0, 1, 220, 450])
def test_others_go_on_exactly_where_these_were(soon_reseeded: None, before: int) -> None:
    first = environments(rows=SEVERAL, **CHANCE)
    ended = sum(step.ended.sum() for step in played(first, choices(first, before)))
    assert ended >= {220: 2, 450: 6}.get(before, 0)
    assert [place.episode for place in first.places] == [int(before == 450)] * SEVERAL
    assert len({len(place.actions) for place in first.places}) == 1 + (before == 450)
    going_on(first, 250)


def test_others_go_on_where_a_game_has_just_got_a_seed(soon_reseeded: None) -> None:
    first = environments(rows=SEVERAL, **CHANCE)
    for action in choices(first, 600):
        first.step(action)
        if any(not place.actions for place in first.places):
            break
    assert {bool(place.actions) for place in first.places} == {True, False}
    going_on(first, 200)


def test_others_go_on_before_a_cut(soon_reseeded: None) -> None:
    first = environments(rows=2, max_frames=200, **CHANCE)
    played(first, choices(first, 80))
    going_on(first, 60, max_frames=200)


def test_a_place_is_the_number_of_a_seed_and_the_actions_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native_atari, "STEPS_OF_A_SEED", 70)
    envs = environments(rows=2, max_frames=200, **CHANCE)
    actions = choices(envs, 230)
    played(envs, actions)
    # Episodes of 50 steps end at 50, 100 (a new seed), 150 and 200 (another one).
    assert envs.places == [
        EnvSnapshot(2, tuple(actions[200:, 0, row].tolist())) for row in range(2)
    ]


def test_a_new_seed_changes_no_other_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_atari, "STEPS_OF_A_SEED", 50)
    together = environments(rows=SEVERAL, **CHANCE)
    alone = [environments(first=row, **CHANCE) for row in range(SEVERAL)]
    moments = set()
    for number, action in enumerate(choices(together, 420)):
        step = together.step(action)
        for row, own in enumerate(alone):
            mine = own.step(action[:, row : row + 1])
            equal(mine, EnvStep(*(values[:, row : row + 1] for values in step)))
        if step.ended.any():
            assert not step.ended.all()
            moments.add(number)
    assert len(moments) >= 5
    assert [own.places[0] for own in alone] == together.places


def test_members_are_a_leading_axis() -> None:
    both = environments(rows=2, seeds=(7, 8), **CHANCE)
    alone = environments(rows=2, seeds=(8,), **CHANCE)
    assert both.obs.shape == (2, 2, 4, 42, 42)
    assert both.mask.shape == (2, 2, 4)
    for action in choices(both, 30):
        step, mine = both.step(action), alone.step(action[1:])
        equal(mine, EnvStep(*(values[1:] for values in step)))


def test_answers_stay_as_they_were(soon_reseeded: None) -> None:
    envs = environments(rows=SEVERAL, **CHANCE)
    kept: list[tuple[Array, Array]] = [(envs.obs, envs.obs.copy())]
    for step in played(envs, choices(envs, 400)):
        kept += [(values, values.copy()) for values in step]
    for values, copied in kept:
        np.testing.assert_array_equal(values, copied)


def test_masks_say_nothing() -> None:
    envs = environments()
    assert not envs.masked
    (step,) = played(envs, choices(envs, 1))
    assert envs.mask.all()
    assert step.mask.all()
    assert step.final_mask.all()


def test_all_actions_are_eighteen() -> None:
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
def test_observations_are_bytes_on_an_axis_of_time(
    changed: dict[str, Any], shape: tuple[int, ...]
) -> None:
    envs = environments(**changed)
    assert envs.obs.dtype == np.uint8
    assert envs.obs.shape == (1, 1, *shape)
    assert envs.spaces.observation_shape == shape
    assert envs.spaces.frames == shape[0]
    assert (envs.spaces.low, envs.spaces.high) == ((0.0,), (255.0,))
    assert not envs.spaces.one_hot


def test_no_ops_at_the_beginning_are_drawn_by_the_seed() -> None:
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


@pytest.mark.parametrize("how", ["native", "sync"])
def test_a_game_that_is_not_there_is_named(how: str) -> None:
    with pytest.raises(EnvironmentFailure, match="ALE/Nowhere-v5"):
        environments("Nowhere", how)
