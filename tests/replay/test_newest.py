from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from recorded_envs import (
    append,
    empty_stream,
    go_on_from,
    kept_of,
    next_transitions,
    numbers,
    recorded_envs,
    same,
    step_all,
    stream_of,
    transitions_spec,
)

from dqn_cli.agent.batch import Batch
from dqn_cli.arrays import Array
from dqn_cli.replay.newest import Newest, NewestSampler
from dqn_cli.replay.stream import EnvStep, Stream

GAMMA = np.array([0.9, 0.5])
UNIFORMS = numbers(np.random.default_rng(0), 2)


def sampler_of(stream: Stream) -> NewestSampler:
    replay = Newest(capacity=2, batch_size=1, n_step=1)
    spec = transitions_spec(frames=stream.frames)._replace(starts=True)
    sampler = replay.sampler(stream, spec, GAMMA[: stream.members])
    assert isinstance(sampler, NewestSampler)
    return sampler


def newest(sampler: NewestSampler, uniforms: Callable[..., Array]) -> Batch:
    sampler.on_rollout(lambda obs: obs)
    return next_transitions(sampler, uniforms)


@pytest.mark.parametrize("frames", [0, 3])
def test_each_transition_is_sampled_once_as_it_was_emitted(frames: int) -> None:
    recorded = recorded_envs(5, 2, 1, True, 0.3, 0.1, frames)
    stream = stream_of(recorded, 2, masked=True)
    sampler, random = sampler_of(stream), np.random.default_rng(1)
    for _ in range(60):
        places = [len(env.slots) - 1 for (env,) in recorded]
        step_all(recorded, stream, random)
        batch = newest(sampler, UNIFORMS)
        for member, ((env,), place) in enumerate(zip(recorded, places, strict=True)):
            slot, taken = env.slots[place], env.begins(place)
            assert batch.obs[member, 0].tolist() == slot.obs.tolist()
            assert batch.next_obs[member, 0].tolist() == env.slots[place + 1].obs.tolist()
            assert batch.action[member, 0] == taken.action
            assert batch.reward[member, 0].item() == pytest.approx(taken.reward)
            discount = 0 if taken.ends_life else GAMMA[member]
            assert batch.discount[member, 0].item() == pytest.approx(discount)
            is_first = place == 0 or env.slots[place - 1].taken is None
            assert batch.starts[member, 0] == is_first
            assert batch.weight[member, 0] == 1


def test_a_step_that_only_begins_an_episode_has_weight_0() -> None:
    stream = empty_stream(1, 1, 2)
    sampler = sampler_of(stream)
    append(stream, 1)
    assert newest(sampler, UNIFORMS).weight.tolist() == [[1]]
    obs, mask, no = np.zeros((1, 1, 1)), np.ones((1, 1, 3), bool), np.zeros((1, 1), bool)
    reset = EnvStep(np.zeros((1, 1)), no, no, no, obs, mask, obs, mask, is_reset=~no)
    stream.append(np.zeros((1, 1), np.int64), reset)
    assert newest(sampler, UNIFORMS).weight.tolist() == [[0]]
    append(stream, 2)
    assert newest(sampler, UNIFORMS).weight.tolist() == [[1]]


def test_a_draw_that_is_thrown_away_changes_nothing() -> None:
    stream = empty_stream(1, 1, 2)
    sampler = sampler_of(stream)
    append(stream, 1)
    sampler.on_rollout(lambda obs: obs)
    thrown_away = sampler.draw(UNIFORMS, [0.0])
    assert thrown_away.numbers.tolist() == sampler.draw(UNIFORMS, [0.0]).numbers.tolist() == [[1]]


def test_a_sampler_goes_on_from_what_it_kept() -> None:
    recorded = recorded_envs(3, 2, 1, True, 0.2)
    stream = stream_of(recorded, 2, masked=True)
    sampler, random = sampler_of(stream), np.random.default_rng(2)
    step_all(recorded, stream, random, 7)
    newest(sampler, UNIFORMS)
    other = stream_of(recorded_envs(9, 2, 1, True), 2, masked=True)
    resumed = sampler_of(other)
    go_on_from(kept_of(stream, sampler), other, resumed)
    assert newest(resumed, UNIFORMS).weight.tolist() == [[0], [0]]
    newest(sampler, UNIFORMS)
    step_all(recorded, stream, random, 1, other)
    assert same(newest(resumed, UNIFORMS), newest(sampler, UNIFORMS))


@pytest.mark.parametrize("ends", [-1, 100])
def test_a_place_outside_of_the_stream_is_a_problem(ends: int) -> None:
    stream = empty_stream(1, 1, 2)
    append(stream, 1)
    contents = stream.contents(0)
    problem = sampler_of(stream).find_problem({"ends": np.array([ends])}, contents)
    assert problem == ("sampler.ends", "is not in the stream's queue")
    assert sampler_of(stream).find_problem({"ends": np.array([1])}, contents) is None
