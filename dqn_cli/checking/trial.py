"""A trial of an environment: random legal actions for some seconds."""

from __future__ import annotations

import hashlib
import time

import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.checking.seen import Record, Trial
from dqn_cli.checking.tasks import IN_RESET, MADE, Progress
from dqn_cli.envs.contract import EnvironmentFailure, describe_error
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.replay.stream import EnvStep, Stream

MAX_STEPS = 10_000
RECORDED_STEPS = 200
RECORDED_SECONDS = 0.4  # of steps, which are taken again later
RENEWALS = 3  # of the record of the latest seed
PURPOSE = "check"


def make_envs(config: EnvConfig, dtype: str, seed_number: int = 0, seed: int = 0) -> Environments:
    """Make the copies of a check, whose first episodes have seed number `seed_number`."""
    seeds = [episode_seeds(seed, PURPOSE, env) for env in range(config.num_envs)]
    snapshots = [EnvSnapshot(seed_number)] * config.num_envs
    return Environments(config, [seeds], dtype, snapshots)


def random_actions(envs: Environments, rng: np.random.Generator) -> Array:
    """Return random legal actions, [1, envs]."""
    if not envs.masked:
        return rng.integers(envs.spaces.actions, size=envs.mask.shape[:2])
    return np.array([[rng.choice(np.flatnonzero(row)) for row in envs.mask[0]]])


def digest_of(envs: Environments, step: EnvStep | None = None) -> bytes:
    """Return a digest of the observations, and of a step's rewards and ends."""
    digest = hashlib.blake2b(np.ascontiguousarray(envs.obs).tobytes(), digest_size=8)
    if step is not None:
        for values in (step.final_obs, step.reward, step.terminated, step.truncated):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.digest()


class Recorder:
    """Records the first steps after a seed."""

    def __init__(self, envs: Environments, seed_number: int) -> None:
        self._seed_number, self._seconds = seed_number, 0.0
        self._actions: list[tuple[int, ...]] = []
        self._digests = [digest_of(envs)]

    @property
    def is_full(self) -> bool:
        """True after enough steps."""
        return len(self._actions) >= RECORDED_STEPS or self._seconds >= RECORDED_SECONDS

    def add(self, action: Array, envs: Environments, step: EnvStep, seconds: float) -> None:
        """Record a step."""
        self._actions.append(tuple(action.ravel().tolist()))
        self._digests.append(digest_of(envs, step))
        self._seconds += seconds

    @property
    def record(self) -> Record:
        """Everything recorded so far."""
        return Record(self._seed_number, tuple(self._actions), tuple(self._digests))


class Ranges:
    """Least and most that was seen of each element of a frame."""

    def __init__(self, spaces: Spaces, obs: Array) -> None:
        self._spaces = spaces
        self.low = self._newest(obs).min(0)
        self.high = self.low.copy()
        self.add(obs)

    def add(self, obs: Array) -> None:
        """Take account of observations [1, envs, *shape]."""
        rows = self._newest(obs)
        np.minimum(self.low, rows.min(0), out=self.low)
        np.maximum(self.high, rows.max(0), out=self.high)

    def parts(self) -> list[tuple[Array, Array]]:
        """Return the least and most of each part's elements."""
        return [(self.low[part], self.high[part]) for part in self._spaces.part_slices]

    def _newest(self, obs: Array) -> Array:
        """Return the newest frames, [envs, elements]."""
        frames = max(self._spaces.frames, 1)
        return obs.reshape(obs.shape[1], frames, -1)[:, -1]


def try_out(config: EnvConfig, dtype: str, seconds: float, progress: Progress) -> Trial:
    """Take random legal actions until the time is over, and return what they led to."""
    progress.report(MADE)
    trial = Trial(0, None, (), (), (0, 0, 0), (), 0, 0, False, 0, 0, 0, 0, ())
    try:
        envs = make_envs(config, dtype)
    except BaseException as error:
        return trial._replace(failure=_text(error, progress))
    progress.report(IN_RESET)
    return _Play(envs, config, dtype, progress).run(seconds)


class _Play:
    """Counts of a trial that is under way."""

    def __init__(
        self, envs: Environments, config: EnvConfig, dtype: str, progress: Progress
    ) -> None:
        self._envs, self._progress, self._dtype = envs, progress, dtype
        self._rng, self._ranges = np.random.default_rng(0), Ranges(envs.spaces, envs.obs)
        self._rewards: list[float] = []
        self._lengths: list[int] = []
        self._running = np.zeros(config.num_envs, int)
        self._terminated = self._truncated = 0
        self._seconds = self._longest = self._legal = 0.0
        self._calls = self._renewals = 0
        self._first, self._latest = Recorder(envs, 0), Recorder(envs, 0)
        self._is_single = config.num_envs == 1 and not config.is_native_vector

    def run(self, seconds: float) -> Trial:
        end, failure = time.perf_counter() + seconds, ""
        try:
            while len(self._rewards) < MAX_STEPS and time.perf_counter() < end:
                self._step()
        except BaseException as error:  # the environment may even raise SystemExit
            failure = _text(error, self._progress)
        return self._trial(failure)

    def _step(self) -> None:
        envs = self._envs
        actions, legal = random_actions(envs, self._rng), float(envs.mask.sum(2).mean())
        self._calls += 1
        self._progress.report(self._calls)
        start = time.perf_counter()
        step = envs.step(actions)
        took = time.perf_counter() - start
        self._seconds += took
        self._longest = max(self._longest, took)
        self._legal += legal
        is_reset = step.is_reset if step.is_reset is not None else np.zeros_like(step.ended)
        self._rewards += step.reward[~is_reset].tolist()
        self._ranges.add(step.final_obs)
        if step.obs is not step.final_obs:
            self._ranges.add(step.obs)
        for recorder in (self._first, self._latest):
            if not recorder.is_full:
                recorder.add(actions, envs, step, took)
        self._running += ~is_reset[0]
        if step.ended.any():
            self._count_ends(step)

    def _count_ends(self, step: EnvStep) -> None:
        ended = step.ended[0]
        self._lengths += self._running[ended].tolist()
        self._running[ended] = 0
        self._terminated += int(step.terminated.sum())
        self._truncated += int((step.truncated & ~step.terminated).sum())
        if self._is_single and self._renewals < RENEWALS:
            snapshot = self._envs.snapshots[0]
            if not snapshot.actions:  # a seed begins with this episode
                self._latest = Recorder(self._envs, snapshot.seed_number)
                self._renewals += 1

    def _trial(self, failure: str) -> Trial:
        rewards = np.array(self._rewards or [0.0])
        parts = self._ranges.parts()
        records = [recorder.record for recorder in (self._first, self._latest)]
        return Trial(
            steps=len(self._rewards),
            spaces=self._envs.spaces,
            ranges=tuple((float(low.min()), float(high.max())) for low, high in parts),
            changing=tuple(bool((low != high).any()) for low, high in parts),
            rewards=(float(rewards.min()), float(rewards.max()), float(rewards.mean())),
            lengths=tuple(self._lengths),
            terminated=self._terminated,
            truncated=self._truncated,
            masked=self._envs.masked,
            legal=self._legal / max(self._calls, 1),
            seconds=self._seconds,
            longest=self._longest,
            transition_bytes=_transition_bytes(self._envs, self._dtype),
            records=tuple(record for record in records if record.actions),
            failure=failure,
        )


def _transition_bytes(envs: Environments, dtype: str) -> float:
    """Return the memory of one transition in a long replay stream."""
    frames, size = envs.spaces.frames, envs.spaces.byte_size
    common = (envs.obs, envs.mask, envs.masked, 0, 1, frames, size, dtype)
    small, large = Stream(8 * envs.mask.shape[1], *common), Stream(16 * envs.mask.shape[1], *common)
    grown: int = large.nbytes - small.nbytes
    return float(grown / (large.capacity - small.capacity) / small.envs)


def _text(error: BaseException, progress: Progress) -> str:
    """Return an error in one line; those of the contract are such a line."""
    if isinstance(error, EnvironmentFailure):
        return str(error)
    return f"it raised {describe_error(error)} {progress.place}"
