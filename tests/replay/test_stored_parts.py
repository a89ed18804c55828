"""Observations of bytes and numbers are stored in two arrays, and sampled as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recorded_envs import (
    ACTIONS,
    IN_TENSORS,
    STATE,
    Envs,
    append,
    empty_stream,
    go_on_from,
    in_both_kinds,
    kept_of,
    newest_of,
    of_slots,
    recorded_envs,
    same_contents,
    starting_at,
    step_all,
)
from test_batches import Sum, check_sequences, check_transitions

from dqn_cli.agent.batch import Batch
from dqn_cli.arrays import Array
from dqn_cli.replay.batches import BatchSpec, build_batch
from dqn_cli.replay.stream import EnvStep, Stream
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import train

ONE = np.ones((1, 1))


def split_stream(
    envs: Envs, capacity: int, window: int = 1, masked: bool = False, device: str = "cpu"
) -> Stream:
    """A stream of recorded environments whose first element is a byte."""
    obs, mask = of_slots(envs, lambda slot: slot.obs), of_slots(envs, lambda slot: slot.mask)
    frames = envs[0][0].frames
    stream = Stream(capacity, obs, mask, masked, STATE, window, frames, byte_size=1, device=device)
    assert str(stream.obs.dtype).endswith("uint8")
    assert stream.obs.shape[2:] == stream.numbers.shape[2:] == (1,)
    return stream


@pytest.mark.parametrize("seed", range(24))
def test_what_is_sampled_is_what_was_emitted(seed: int) -> None:
    random = np.random.default_rng(seed)
    members, masked, frames = 1 + seed // 2 % 2, bool(seed % 2), [0, 1, 2, 4][seed // 4 % 4]
    chances = random.choice([0.0, 0.05, 0.3, 0.6]), random.choice([0.0, 0.2])
    how = Sum(int(random.integers(1, 5)), bool(random.random() < 0.5))
    burn_in, length = int(random.integers(3)), int(random.integers(1, 4))
    envs = recorded_envs(seed, members, int(random.integers(1, 4)), masked, *chances, frames)
    capacity, window = int(random.choice([1, 3, 8, 13])), burn_in + length + how.n_step - 1
    arrays, tensors = (
        split_stream(envs, capacity, window, masked, device) for device in ("cpu", IN_TENSORS)
    )
    for _ in range(15):
        step_all(envs, arrays, random, 3, tensors)
        arrays.check_valid()
        check_transitions(envs, arrays, how, tensors)
        check_sequences(envs, arrays, burn_in, length, how, tensors)
    newest = of_slots(envs, lambda slot: slot.obs)
    np.testing.assert_array_equal(newest_of(arrays, 1).reshape(newest.shape), newest)
    np.testing.assert_array_equal(newest_of(tensors, 1).reshape(newest.shape), newest)


@pytest.mark.parametrize("frames", [0, 3])
def test_an_episode_that_is_cut_begins_anew_with_both(frames: int) -> None:
    envs, random = recorded_envs(0, 1, 2, frames=frames), np.random.default_rng(0)
    stream, how = split_stream(envs, 9, 2), Sum(2, False)
    for _ in range(6):
        step_all(envs, stream, random, 4)
        slot = envs[0][1].restart()
        stream.begin_episode(0, 1, slot.obs, slot.mask)
        check_transitions(envs, stream, how)


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
@pytest.mark.parametrize("frames", [0, 2])
def test_a_checkpoint_restores_both(frames: int, device: str) -> None:
    envs, random = recorded_envs(1, 2, 2, end_chance=0.2, frames=frames), np.random.default_rng(0)
    stream = split_stream(envs, 9, device=device)
    step_all(envs, stream, random, 40)
    kept = kept_of(stream)
    assert all({"obs", "numbers"} <= stored.keys() for stored, _ in kept)
    again = split_stream(recorded_envs(7, 2, 2, frames=frames), 9, device=device)
    go_on_from(kept, again)
    assert same_contents(kept_of(again), kept)
    step_all(envs, stream, random, 10, again)
    check_transitions(envs, stream, Sum(1, False), again)


FRAMES = pytest.mark.parametrize("frames", [0, 4])


@FRAMES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_transition_takes_a_byte_for_each_byte(dtype: str, frames: int) -> None:
    sizes = {}
    for count in (0, 1000):
        shape = (1, 1, *[frames] * (frames > 0), count + 10)
        obs, mask = np.zeros(shape, dtype), np.ones((1, 1, ACTIONS), bool)
        stream = Stream(500, obs, mask, False, 0, 1, frames, byte_size=count)
        sizes[count] = stream.nbytes
    assert sizes[1000] - sizes[0] == 1000 * stream.slots
    widths = {}
    for count in (10, 11):
        shape = (1, 1, *[frames] * (frames > 0), count + 1000)
        stream = Stream(500, np.zeros(shape, dtype), mask, False, 0, 1, frames, byte_size=1000)
        widths[count] = stream.nbytes
    assert widths[11] - widths[10] == np.dtype(dtype).itemsize * stream.slots


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_all_bytes_and_numbers_keep_their_values_and_type(dtype: str, device: str) -> None:
    numbers = np.array([1 / 3, -2e9, 1e-9], dtype)
    obs = np.concatenate([np.arange(256, dtype=dtype), numbers])[None, None]
    after, mask = obs[..., ::-1].copy(), np.ones((1, 1, ACTIONS), bool)
    after[..., :256] = obs[..., 255::-1]
    after[..., 256:] = -numbers
    stream, false = Stream(3, obs, mask, False, 0, 1, byte_size=256, device=device), ONE == 0
    stream.append(np.zeros((1, 1)), EnvStep(ONE, false, false, false, after, mask, after, mask))
    batch = build_batch(
        stream.storage, starting_at(0), ONE, np.array([0.5]), BatchSpec(1, 3, 0, False)
    )
    assert isinstance(batch, Batch)
    for found, expected in ((batch.obs, obs), (batch.next_obs, after)):
        assert found.numpy().dtype == dtype
        np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_observations_of_one_kind_are_stored_as_they_are(dtype: str) -> None:
    obs, mask = np.zeros((1, 1, 5), dtype), np.ones((1, 1, ACTIONS), bool)
    stream = Stream(3, obs, mask, False, 0, 1, byte_size=5 if dtype == "u1" else 0)
    assert stream.obs.dtype == dtype
    assert stream.obs.shape[2:] == (5,)
    assert stream.numbers.shape[2:] == (0,)


@pytest.mark.parametrize(
    ("dtype", "stored", "given"),
    [("u1", "f4", None), ("f4", "f4", None), ("f8", "f8", None), ("u1", "f8", "float64")],
)
def test_rewards_have_the_runs_precision(dtype: str, stored: str, given: str | None) -> None:
    obs, mask = np.zeros((1, 1, 5), dtype), np.ones((1, 1, ACTIONS), bool)
    assert Stream(3, obs, mask, False, 0, 1, dtype=given).reward.dtype == stored


def rewards_of(scale: float, clip: bool, length: int = 0) -> Any:
    """Rewards of the first sample of four steps that pay 4, -3, 0.5 and 8."""
    spec = BatchSpec(3, ACTIONS, 0, clip, scale, 0, length)
    stream = empty_stream(1, 1, 9, spec.window, state_size=1)
    for to, reward in enumerate((4, -3, 0.5, 8)):
        append(stream, to, reward=reward)
    inputs: tuple[Any, ...] = (stream.storage, starting_at(0), ONE, np.array([0.5]))

    def build(*inputs: Any) -> Any:
        return build_batch(*inputs, spec)

    return in_both_kinds(build, *inputs).reward.flatten().tolist()


@pytest.mark.parametrize(
    ("scale", "clip", "first", "second"),
    [
        # 4 - 0.5 * 3 + 0.25 * 0.5, and -3 + 0.5 * 0.5 + 0.25 * 8
        (1.0, False, 2.625, -0.75),
        (0.5, False, 1.3125, -0.375),
        (100.0, False, 262.5, -75.0),
        # Each reward is scaled before it is clipped: 1, -1, 0.5, 1
        (1.0, True, 0.625, -0.5),
        # 0.4, -0.3, 0.05, 0.8
        (0.1, True, 0.2625, -0.075),
        # 1, -1, 1, 1
        (4.0, True, 0.75, -0.25),
    ],
)
def test_each_reward_is_scaled_before_it_is_clipped_and_summed(
    scale: float, clip: bool, first: float, second: float
) -> None:
    assert rewards_of(scale, clip) == pytest.approx([first])
    assert rewards_of(scale, clip, 2) == pytest.approx([first, second])


def test_rewards_of_returns_that_are_reported_are_not_scaled(settings_of: Any) -> None:
    words = (
        "network.widths=[4]", "replay.batch_size=4", "learning_starts=10", "steps=60",
        "train_every=1", "updates_per_train=1",
    )  # fmt: skip
    runs = []
    for scale in (1, 0.01):
        settings = settings_of(*words, f"env.reward_scale={scale}")
        _, run = build_run([settings])
        rewards = [report.step.reward.item() for report in train([settings], run)]
        run.envs.close()
        runs.append((rewards, run))
    (rewards, plain), (others, scaled) = runs
    assert set(rewards) == set(others) == {1.0}
    for run in (plain, scaled):
        assert set(run.stream.reward[run.stream.begins].tolist()) == {1.0}
    assert scaled.sampler.spec.reward_scale == 0.01
    start = plain.learner.state.parameters, scaled.learner.state.parameters
    assert not np.array_equal(*(values.numpy() for values in start))


@pytest.mark.parametrize("stack", [1, 3])
def test_a_run_on_parts_stores_one_frame_and_one_vector_a_step(
    settings_of: Any, stack: int
) -> None:
    side = 40
    settings = settings_of(
        "env=parts:Parts-v0", f"+env.kwargs.side={side}", f"env.preprocess.stack={stack}",
        "network.channels=[2,2,2]", "network.features=4", "network.widths=[4]",
        "replay.capacity=1000", "replay.batch_size=4", "steps=40", "learning_starts=20",
    )  # fmt: skip
    _, run = build_run([settings])
    emitted: list[Array] = [run.envs.obs[0, 0]]
    for report in train([settings], run):
        emitted.append(report.step.final_obs[0, 0])
        if report.ended[0][0]:
            emitted.append(report.step.obs[0, 0])
    run.envs.close()
    stored = np.concatenate([run.stream.obs[0], run.stream.numbers[0]], 1)[: len(emitted)]
    newest = [obs[-1] if stack > 1 else obs for obs in emitted]
    np.testing.assert_array_equal(stored, np.stack(newest))
    data = (side**2 + 3 * 4) * run.stream.slots
    assert data < run.stream.nbytes < 1.1 * data
