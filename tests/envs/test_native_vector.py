from __future__ import annotations

from dataclasses import replace
from functools import partial
from multiprocessing import active_children
from typing import Any

import numpy as np
import pytest
import recorded_vector
from dying import Dying
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from native_envs import MODES, config, random_actions, record_vectors, started, take
from recorded_vector import RecordedVector
from scripted import Scripted

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import Vectorization
from dqn_cli.envs.environments import Environments, read_spaces
from dqn_cli.envs.episode_seeds import EnvSnapshot
from dqn_cli.replay.stream import EnvStep, Stream

ENDS = ((3, 1, 5), (1,), (2, 7, 3, 4))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return record_vectors(monkeypatch)


class Follower:
    """Follows every copy step by step, and knows what must come next."""

    def __init__(self, envs: Environments, lengths: tuple[int, ...]) -> None:
        self.envs, self.lengths = envs, lengths
        self.transitions = self.episodes = 0
        for copy, obs in enumerate(envs.obs[0]):
            assert obs.tolist() == [copy, 0, 0, 0]

    def step(self, action: Any) -> EnvStep:
        before = self.envs.obs[0].copy()
        step = self.envs.step(action[None])
        for copy, (number, episode, time, _) in enumerate(before.tolist()):
            assert number == copy
            length = self.lengths[int(copy + episode) % len(self.lengths)]
            now, reward = step.obs[0, copy].tolist(), step.reward[0, copy]
            if step.is_reset is not None and step.is_reset[0, copy]:
                assert time == length
                assert (now, reward) == ([copy, episode + 1, 0, 0], 0)
                assert not step.ended[0, copy]
                continue
            self.transitions += 1
            final = [copy, episode, time + 1, action[copy]]
            assert step.final_obs[0, copy].tolist() == final
            assert reward == time + 1
            assert step.ended[0, copy] == (time + 1 == length)
            self.episodes += int(step.ended[0, copy])
            has_begun = step.ended[0, copy] and now != final
            assert now == ([copy, episode + 1, 0, 0] if has_begun else final)
        assert self.envs.obs is step.obs
        return step


@pytest.mark.parametrize("lengths", ENDS)
@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize(
    ("mode", "final"), [*((mode, "objects") for mode in MODES), ("SAME_STEP", "dense")]
)
def test_every_step_is_what_the_copies_emitted(
    made: list[RecordedVector], mode: str, final: str, truncates: bool, lengths: tuple[int, ...]
) -> None:
    options = {"mode": mode, "final": final, "truncates": truncates, "lengths": lengths}
    envs = started(config(**options))
    follower = Follower(envs, lengths)
    for number in range(60):
        step = follower.step(random_actions(number, 4))
        ends, others = step.terminated, step.truncated
        if truncates:
            ends, others = others, ends
        assert not others.any()
        assert ends.tolist() == step.ended.tolist()
        assert not step.lost.any()
        if mode != "NEXT_STEP":
            assert step.is_reset is None
    (vector,) = made
    assert follower.transitions == vector.transitions
    assert follower.episodes > 20
    assert vector.steps == 60


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("copies", [3, 40])
def test_the_stream_holds_every_transition_and_nothing_else(
    made: list[RecordedVector], mode: str, copies: int
) -> None:
    envs = started(config(mode=mode), copies)
    stream = Stream(copies * 200, envs.obs, envs.mask, False, 0, 1)
    for number in range(50):
        action = random_actions(number, copies)[None]
        stream.append(action, envs.step(action))
    stream.check_valid()
    for ring in range(copies):
        slots = stream.queue[ring, : stream.count[ring]]
        before, after = stream.obs[ring, slots], stream.obs[ring, slots + 1]
        np.testing.assert_array_equal(after[:, :3] - before[:, :3], [[0, 0, 1]] * len(slots))
        np.testing.assert_array_equal(after[:, 3], stream.action[ring, slots])
        np.testing.assert_array_equal(after[:, 2], stream.reward[ring, slots])
        length = np.array((3, 1, 5))[(ring + before[:, 1].astype(int)) % 3]
        np.testing.assert_array_equal(stream.terminated[ring, slots], after[:, 2] == length)
    assert stream.count.sum() == made[0].transitions


@pytest.mark.parametrize("mode", MODES)
def test_earlier_steps_are_never_overwritten(mode: str) -> None:
    envs = started(config(mode=mode, masked=True))
    kept = []
    for number in range(12):
        step = envs.step(random_actions(number, 4)[None])
        kept += [(values, values.copy()) for values in step[:8]]
    for values, copied in kept:
        np.testing.assert_array_equal(values, copied)


def test_parts_are_encoded_as_those_of_single_environments() -> None:
    envs = started(config(kind="dict"), dtype="float64")
    step = envs.step(np.array([[1, 2, 0, 1]]))
    # The byte comes first.
    assert step.final_obs[0, 1].tolist() == [1, 1, 0, 1, 2]
    assert [part.name for part in envs.spaces.parts] == ["byte", "box"]


def test_choices_and_actions_have_their_own_starts() -> None:
    envs = started(config(kind="discrete"))
    assert envs.obs[0].tolist() == [[1, *[0] * 8]] * 4
    step = envs.step(np.array([[0, 1, 2, 0]]))  # the vector takes 4 to 6
    assert step.final_obs[0].tolist() == [[0, 1, *[0] * 7]] * 4


def test_parts_can_be_dropped() -> None:
    envs = started(replace(config(kind="dict"), drop=["box"]))
    assert envs.spaces.observation_shape == (1,)
    assert envs.obs.dtype == np.uint8


class Copied(Scripted):
    """Overwrites no observation; Gymnasium's vectors would lose the final ones."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(**options)
        return obs.copy(), info

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        obs, *rest = super().step(action)
        return obs.copy(), *rest  # type: ignore[return-value]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("masks", [None, [[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]]])
def test_gymnasiums_vectors_give_what_single_environments_give(
    monkeypatch: pytest.MonkeyPatch, mode: str, masks: Any
) -> None:
    makers = [partial(Copied, length, masks=masks) for length in (1, 3, 2)]

    def make(num_envs: int) -> SyncVectorEnv:
        return SyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode[mode])

    monkeypatch.setattr(recorded_vector, "make", make)
    envs = started(config(), 3)
    assert envs.masked == (masks is not None)
    times, episodes = np.zeros(3, int), np.zeros(3, int)
    for _ in range(20):
        step = envs.step(np.zeros((1, 3), int))
        for row, length in enumerate((1, 3, 2)):
            if step.is_reset is not None and step.is_reset[0, row]:
                times[row], episodes[row] = 0, episodes[row] + 1
                assert step.obs[0, row].tolist()[:2] == [episodes[row], 0]
                continue
            if mode != "NEXT_STEP" and times[row] == length:
                times[row], episodes[row] = 0, episodes[row] + 1
            times[row] += 1
            assert step.final_obs[0, row].tolist()[:2] == [episodes[row], times[row]]
            assert step.reward[0, row] == times[row]
            assert step.ended[0, row] == (times[row] == length)
            if masks is not None and times[row] < 3:
                assert step.final_mask[0, row].astype(int).tolist() == masks[times[row]]


def test_a_vector_is_not_restored(made: list[RecordedVector]) -> None:
    first = started(config(), 3)
    for number in range(5):
        first.step(random_actions(number, 3)[None])
    assert first.snapshots == [EnvSnapshot()] * 3
    kept = [snapshot._replace(obs=np.zeros(4)) for snapshot in first.snapshots]
    second = started(config(), 3, snapshots=kept)
    assert list(second.not_restored) == [0, 1, 2]
    assert "vector environment" in second.not_restored[0]
    assert second.snapshots == [EnvSnapshot(1)] * 3
    assert made[0].seeds != made[1].seeds


@pytest.mark.parametrize("mode", MODES)
def test_scalars_of_info_are_those_of_the_step(mode: str) -> None:
    envs = started(config(mode=mode), info_names=("time", "nothing"))
    for number in range(10):
        step = envs.step(random_actions(number, 4)[None])
        resets = False if step.is_reset is None else step.is_reset
        expected = np.where(resets, np.nan, step.final_obs[..., 2])
        np.testing.assert_array_equal(step.info["time"], expected)
        assert np.isnan(step.info["nothing"]).all()


@pytest.mark.parametrize("mode", MODES)
def test_evaluation_cuts_each_copys_first_episode(mode: str) -> None:
    envs = started(config(mode=mode, lengths=(9,)), max_episode_steps=4)
    steps = [envs.step(np.zeros((1, 4), int)) for _ in range(4)]
    assert [step.truncated.all() for step in steps] == [False, False, False, True]
    assert steps[3].final_obs[0, 0].tolist() == [0, 0, 4, 0]
    if mode == "DISABLED":
        assert steps[3].obs[0, 0].tolist() == [0, 1, 0, 0]


def test_an_end_before_the_cut_is_no_cut() -> None:
    envs = started(config(lengths=(3,)), max_episode_steps=4)
    steps = [envs.step(np.zeros((1, 4), int)) for _ in range(8)]
    assert [step.terminated.all() for step in steps] == [False, False, True] + [False] * 3 + [
        True,
        False,
    ]
    assert not any(step.truncated.any() for step in steps)


@pytest.mark.parametrize("name", ["limited", "make"])
def test_a_limit_of_steps_is_kept(name: str) -> None:
    options = {} if name == "limited" else {"lengths": (9,), "mode": "DISABLED"}
    envs = started(replace(config(name, **options), max_episode_steps=3))
    ended = [envs.step(np.zeros((1, 4), int)).truncated.all() for _ in range(3)]
    assert ended == [False, False, True]


def test_a_registered_limit_is_replaced() -> None:
    limited = replace(config("CartPole-v1"), max_episode_steps=3)
    envs = started(limited)
    ended = [envs.step(np.array([[0, 1, 0, 1]])).truncated.all() for _ in range(3)]
    assert ended == [False, False, True]


def test_a_limit_that_cannot_be_kept_is_refused() -> None:
    refused = replace(config("silent"), max_episode_steps=3)
    with pytest.raises(EnvironmentFailure, match="autoreset_mode"):
        started(refused)
    with pytest.raises(EnvironmentFailure, match=r"env\.max_episode_steps can't be kept"):
        started(replace(config("unlimited"), max_episode_steps=3))


def test_a_limit_that_is_ignored_is_an_error() -> None:
    ignoring = replace(config("ignoring"), max_episode_steps=3)
    envs = started(ignoring)
    take(envs, 3)
    with pytest.raises(EnvironmentFailure, match=r"goes on after env\.max_episode_steps=3"):
        take(envs, 1)


@pytest.mark.parametrize(("wrong", "word"), [("nan", "observation"), ("nan reward", "reward")])
def test_numbers_that_are_not_finite_end_the_run(wrong: str, word: str) -> None:
    envs = started(config(wrong=wrong, lengths=(20,)))
    take(envs, 2)
    with pytest.raises(EnvironmentFailure, match=f"gave a {word} that is not a finite number"):
        take(envs, 1)


def test_spaces_are_read_from_one_that_is_closed(made: list[RecordedVector]) -> None:
    assert read_spaces(config()).observation_shape == (4,)
    assert [vector.closed for vector in made] == [True]


def test_evaluation_of_an_id_has_single_environments_and_of_a_function_has_vectors() -> None:
    assert config("CartPole-v1").in_one_process.vectorization is Vectorization["sync"]
    assert config().in_one_process.vectorization is Vectorization.native


@pytest.mark.parametrize(
    ("way", "end"),
    [
        ("exit", "its process ended with exit code 7 "),
        ("kill", "its process was killed by SIGKILL "),
        ("deaf", r"did not answer in 0.5 s \(env.timeout\) "),
    ],
)
def test_a_process_of_a_vector_that_dies_or_hangs_is_named_and_ended(
    monkeypatch: pytest.MonkeyPatch, way: str, end: str
) -> None:
    # The first copy is made in this process too, to read its spaces.
    makers = [Dying, partial(Dying, way, at=2)]
    monkeypatch.setattr(recorded_vector, "make", lambda num_envs: AsyncVectorEnv(makers))
    others = active_children()
    envs = started(replace(config(), timeout=0.5), 2)
    envs.step(np.zeros((1, 2), int))
    with pytest.raises(EnvironmentFailure, match=f"{end}.*in step 2 of the vector"):
        envs.step(np.zeros((1, 2), int))
    envs.close(0.2)
    assert active_children() == others
