"""Compare memory and speed of prioritised replay with cpprb, which is written in C++.

pip install cpprb && python benchmarks/replay.py [ROUNDS]

A round samples 64 transitions with importance weights and updates their priorities, CALLS times on
each side. Rounds alternate. Batches hold observations, actions and rewards. Our side runs compiled
and uncompiled.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import cpprb
import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.prioritised import Prioritised, PrioritisedSampler, Priority
from dqn_cli.replay.samplers import Draw, ReplayDevice, ReplayStorage
from dqn_cli.replay.stream import EnvStep, Stream

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
        print(f"{capacity:,} transitions in {megabytes:.1f} MB; sample and update {BATCH}:")
        calls = [our_call_time(sampler, is_compiled) for is_compiled in (True, False)]
        calls.append(cpprb_call_time(capacity))
        for call_time in calls:
            call_time()
        times = np.array([[call_time() for call_time in calls] for _ in range(rounds)])
        times *= 1e6  # [rounds, 3], us
        for name, mine in zip(("compiled", "uncompiled"), times.T, strict=False):
            ratio = np.sort(mine / times[:, 2])
            print(
                f"  {name}: {np.median(mine):.0f} us, cpprb {np.median(times[:, 2]):.0f} us,"
                f" ratio {np.median(ratio):.2f} [{ratio[0]:.2f}, {ratio[-1]:.2f}]"
            )


def filled(capacity: int) -> PrioritisedSampler:
    """Return a full buffer of transitions like CartPole's, with random priorities."""
    random = np.random.default_rng(0)
    mask = np.ones((1, ENVS, ACTIONS), bool)
    obs = random.normal(size=(1, ENVS, CARTPOLE)).astype(np.float32)
    stream = Stream(capacity, obs, mask, masked=False, state_size=0, window=1)
    for count in range(stream.slots + EPISODE):
        ended = np.full((1, ENVS), count % EPISODE == EPISODE - 1)
        after = random.normal(size=obs.shape).astype(np.float32)
        never = ended & False
        step = EnvStep(np.ones((1, ENVS)), ended, never, never, after, mask, after, mask)
        stream.append(random.integers(ACTIONS, size=(1, ENVS)), step)
    device, priority = ReplayDevice.cpu, Priority.td_error
    replay = Prioritised(capacity, BATCH, 1, device, ALPHA, BETA, 1.0, priority, 1e-6)
    sampler = PrioritisedSampler(replay, stream, BatchSpec(1, ACTIONS, 0, False), GAMMA)
    for _ in range(2 * capacity // BATCH):
        draw = sampler.draw(lambda size: random.random((1, size)), [0.0])
        error = torch.from_numpy(random.exponential(size=(1, BATCH)))
        sample_and_update(sampler, sampler.storage, draw, error)
    return sampler


def sample_and_update(
    sampler: PrioritisedSampler, storage: ReplayStorage, draw: Draw, error: Tensor
) -> tuple[Tensor, ...]:
    """Return a batch and set its priorities by the errors [members, batch]."""
    samples = sampler.sample(storage, draw)
    batch = sampler.batch(storage, samples)
    sampler.update_priorities(storage, samples, SampleErrors(error, error))
    return tuple(batch)


def our_call_time(sampler: PrioritisedSampler, is_compiled: bool) -> Callable[[], float]:
    """Return a function that measures the seconds of one of our calls."""
    random = np.random.default_rng(1)
    call = partial(sample_and_update, sampler, sampler.storage)
    if is_compiled:
        call = AheadOfTime()(partial(sample_and_update, sampler), (sampler.storage,))

    def timed() -> float:
        errors = torch.from_numpy(random.exponential(size=(CALLS, 1, BATCH)).astype(np.float32))
        start = time.perf_counter()
        for error in errors:
            call(sampler.draw(lambda size: random.random((1, size)), [0.0]), error)
        return (time.perf_counter() - start) / CALLS

    return timed


def cpprb_call_time(capacity: int) -> Callable[[], float]:
    """Return a function that measures the seconds of one of cpprb's calls, with a full buffer."""
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
