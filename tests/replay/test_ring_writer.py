from __future__ import annotations

import numpy as np
import pytest
from recorded_envs import (
    ACTIONS,
    IN_TENSORS,
    Envs,
    empty_stream,
    kept_of,
    recorded_envs,
    same_contents,
    step_all,
    stream_of,
)

from dqn_cli.replay import ring_writer
from dqn_cli.replay.stream import EnvStep, Stream

WAYS = [1, 10_000]  # of MANY_RINGS: all rings at once, and each alone


def filled(envs: Envs, stream: Stream, seed: int) -> Stream:
    step_all(envs, stream, np.random.default_rng(seed), 40)
    stream.check_valid()
    return stream


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
@pytest.mark.parametrize("seed", range(20))
def test_both_ways_write_the_same(monkeypatch: pytest.MonkeyPatch, seed: int, device: str) -> None:
    random = np.random.default_rng(seed)
    members, envs, masked = int(random.integers(1, 3)), int(random.integers(1, 5)), bool(seed % 2)
    capacity, window = int(random.choice([1, 3, 8, 99])), int(random.choice([1, 2, 5]))
    frames = [0, 1, 4][seed % 3]
    kept = []
    for way in WAYS:
        monkeypatch.setattr(ring_writer, "MANY_RINGS", way)
        emitted = recorded_envs(seed, members, envs, masked, 0.2, 0.2, frames)
        stream = stream_of(emitted, capacity, window, masked, device)
        kept.append(kept_of(filled(emitted, stream, seed)))
    assert same_contents(*kept)


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
def test_bytes_and_numbers_are_written_apart_in_both_ways(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    obs = np.array([[[7, 8, 0.25], [9, 255, -1e9]]], np.float32)
    mask, number = np.ones((1, 2, 2), bool), np.ones((1, 2))
    none = np.zeros((1, 2), bool)
    kept = []
    for way in WAYS:
        monkeypatch.setattr(ring_writer, "MANY_RINGS", way)
        stream = Stream(4, obs * 0, mask, False, 0, 1, byte_size=2, device=device)
        step = EnvStep(number, none, none, none, obs, mask, obs, mask)
        stream.append(np.zeros((1, 2), int), step)
        assert np.asarray(stream.obs)[:, 1].tolist() == [[7, 8], [9, 255]]
        assert np.asarray(stream.numbers)[:, 1].tolist() == [[0.25], [-1e9]]
        kept.append(kept_of(stream))
    assert same_contents(*kept)


@pytest.mark.parametrize("way", WAYS)
def test_a_step_that_only_begins_an_episode_is_no_transition(
    monkeypatch: pytest.MonkeyPatch, way: int
) -> None:
    monkeypatch.setattr(ring_writer, "MANY_RINGS", way)
    stream = empty_stream(1, 2, 20, state_size=1)
    mask, none = np.ones((1, 2, ACTIONS), bool), np.zeros((1, 2), bool)
    first = np.array([[True, False]])

    def append(obs: list[float], ended: bool, begun: bool) -> None:
        values = np.array([[[number] for number in obs]])  # [1, 2, 1]
        step = EnvStep(
            np.array([obs]), first & ended, none, none, values, mask, values, mask,
            is_reset=first if begun else None,
        )  # fmt: skip
        stream.append(np.zeros((1, 2), int), step, values)

    append([1, 10], ended=False, begun=False)
    append([2, 20], ended=True, begun=False)
    append([-3, 30], ended=False, begun=True)
    append([4, 40], ended=False, begun=False)
    stream.check_valid()
    assert stream.head.tolist() == [4, 4]
    # The first ring has 0 1 2 | -3 4, where 2 is an episode's last observation.
    assert stream.obs[0, :5].ravel().tolist() == [0, 1, 2, -3, 4]
    assert stream.obs[1, :5].ravel().tolist() == [0, 10, 20, 30, 40]
    assert stream.begins[:, :5].astype(int).tolist() == [[1, 1, 0, 1, 0], [1, 1, 1, 1, 0]]
    assert stream.reward[0, [0, 1, 3]].tolist() == [1, 2, 4]
    assert stream.terminated[0, :5].astype(int).tolist() == [0, 1, 0, 0, 0]
    assert stream.state[0, [1, 3, 4]].ravel().tolist() == [1, -3, 4]
    assert stream.sizes.tolist() == [[3, 4]]
