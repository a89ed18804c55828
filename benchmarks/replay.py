"""Memory and speed of prioritised replay, beside cpprb's, which is written in C++.

pip install cpprb && python benchmarks/replay.py [ROUNDS]

One round samples 64 transitions with importance weights and updates their priorities, CALLS times
on each side; rounds alternate. Both sides give whole batches: observations, actions, rewards.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import cpprb
import numpy as np
import torch

from dqn_cli.replay.prioritised import Prioritised, PrioritisedSampler, Priority
from dqn_cli.replay.samplers import MemoryDevice
from dqn_cli.replay.stream import Step, Stream
from dqn_cli.replay.views import Look, transitions

BATCH, CALLS, ENVS, EPISODE = 64, 300, 50, 200
ALPHA, BETA = 0.6, 0.4
CARTPOLE, ACTIONS = 4, 2  # elements of an observation, and actions
GAMMA = np.array([0.99])


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    for capacity in (10**4, 10**6):
        sampler = filled(capacity)
        megabytes = (sampler.stream.nbytes + sampler.nbytes) / 1e6
        ours, theirs = our_round(sampler), their_round(capacity)
        ours(), theirs()
        times = np.array([(ours(), theirs()) for _ in range(rounds)]) * 1e6  # [rounds, 2], us
        ratio = np.sort(times[:, 0] / times[:, 1])
        mine, other = np.median(times, axis=0)
        print(
            f"{capacity:>9,} transitions: {megabytes:5.1f} MB; sample and update {BATCH}:"
            f" ours {mine:.0f} us, cpprb {other:.0f} us,"
            f" ratio {np.median(ratio):.2f} [{ratio[0]:.2f}, {ratio[-1]:.2f}]"
        )


def filled(capacity: int) -> PrioritisedSampler:
    """A full buffer of transitions like CartPole's, with random priorities."""
    random = np.random.default_rng(0)
    mask = np.ones((1, ENVS, ACTIONS), bool)
    obs = random.normal(size=(1, ENVS, CARTPOLE)).astype(np.float32)
    stream = Stream(capacity, obs, mask, masked=False, state_size=0, window=1)
    for count in range(stream.slots + EPISODE):
        ended = np.full((1, ENVS), count % EPISODE == EPISODE - 1)
        after = random.normal(size=obs.shape).astype(np.float32)
        never = ended & False
        step = Step(np.ones((1, ENVS)), ended, never, never, after, mask, after, mask)
        stream.append(random.integers(ACTIONS, size=(1, ENVS)), step)
    device, priority = MemoryDevice.cpu, Priority.td_error
    replay = Prioritised(capacity, BATCH, 1, device, ALPHA, BETA, 1.0, priority, 1e-6)
    view = partial(transitions, look=Look(1, ACTIONS, 0, False))
    sampler = PrioritisedSampler(replay, stream, view, GAMMA)
    for _ in range(2 * capacity // BATCH):
        sampler.draw(lambda size: random.random((1, size)), [0.0])
        errors = random.exponential(size=(1, BATCH))
        sampler.learned(errors, errors)
    return sampler


def our_round(sampler: PrioritisedSampler) -> Callable[[], float]:
    """Seconds that one of our calls takes."""
    random = np.random.default_rng(1)

    def timed() -> float:
        errors = random.exponential(size=(CALLS, 1, BATCH)).astype(np.float32)
        start = time.perf_counter()
        for error in errors:
            drawn = sampler.draw(lambda size: random.random((1, size)), [0.0])
            sampler.batch(sampler.sources, drawn)
            sampler.learned(error, error)
        return (time.perf_counter() - start) / CALLS

    return timed


def their_round(capacity: int) -> Callable[[], float]:
    """Seconds that one of cpprb's calls takes, on a buffer as full as ours."""
    random = np.random.default_rng(1)
    buffer = cpprb.PrioritizedReplayBuffer(
        capacity,
        {"obs": {"shape": CARTPOLE}, "act": {"dtype": np.int32}, "rew": {}, "done": {},
         "next_obs": {"shape": CARTPOLE}},
        alpha=ALPHA,
    )  # fmt: skip
    for _ in range(capacity // 1000):
        obs = random.normal(size=(1000, CARTPOLE)).astype(np.float32)
        act = random.integers(ACTIONS, size=1000)
        buffer.add(obs=obs, act=act, rew=np.ones(1000), done=np.zeros(1000), next_obs=obs)
    for _ in range(2 * capacity // BATCH):
        sample = buffer.sample(BATCH, beta=BETA)
        buffer.update_priorities(sample["indexes"], random.exponential(size=BATCH))

    def timed() -> float:
        errors = random.exponential(size=(CALLS, BATCH)).astype(np.float32)
        start = time.perf_counter()
        for error in errors:
            sample = buffer.sample(BATCH, beta=BETA)
            buffer.update_priorities(sample["indexes"], error)
        return (time.perf_counter() - start) / CALLS

    return timed


if __name__ == "__main__":
    main()
