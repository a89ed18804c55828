from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_cli.agent.batch import Batch
from dqn_cli.replay.stream import Step, Stream

Array = NDArray[Any]
ACTIONS = 3


@dataclass
class Transition:
    """One step of an environment; `place` is how many observations came before its first."""

    place: int
    obs: Array
    mask: Array
    action: int
    reward: float
    terminated: bool
    truncated: bool
    final_obs: Array
    final_mask: Array


@dataclass
class FakeEnv:
    """Emits observations that never repeat, and keeps the record that a stream is held to."""

    ring: int
    random: np.random.Generator
    masked: bool
    end_chance: float
    emitted: int = 0
    record: list[Transition] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.obs, self.mask = self._emit()

    def _emit(self) -> tuple[Array, Array]:
        self.emitted += 1
        mask = self.random.random(ACTIONS) < 0.5 if self.masked else np.ones(ACTIONS, bool)
        return np.array([self.ring, self.emitted], np.float64), mask

    def step(self, action: int) -> Transition:
        place, obs, mask = self.emitted - 1, self.obs, self.mask
        ends = self.random.random(2) < self.end_chance  # sometimes both at once
        reward = float(self.random.normal())
        final_obs, final_mask = self.obs, self.mask = self._emit()
        if ends.any():
            self.obs, self.mask = self._emit()
        taken = Transition(place, obs, mask, action, reward, *ends.tolist(), final_obs, final_mask)
        self.record.append(taken)
        return taken

    def reachable(self, capacity: int, n_step: int) -> list[int]:
        """Positions in the record: n observations followed, and no slot was needed again."""
        newest = self.emitted - 1
        places = range(max(newest - capacity - n_step, 0), newest - n_step + 1)
        return [i for i, taken in enumerate(self.record) if taken.place in places][-capacity:]

    def window(self, position: int, n_step: int) -> list[Transition]:
        """The transition and what followed, over n steps or up to the episode's end."""
        window = self.record[position : position + n_step]
        ends = [k for k, taken in enumerate(window, 1) if taken.terminated or taken.truncated]
        return window[: ends[0]] if ends else window


def stacked(rows: Sequence[Sequence[FakeEnv | Transition]], name: str) -> Array:
    return np.array([[getattr(item, name) for item in row] for row in rows])


def fake_envs(
    seed: int, members: int, envs: int, masked: bool, end_chance: float
) -> list[list[FakeEnv]]:
    def env(ring: int) -> FakeEnv:
        return FakeEnv(ring, np.random.default_rng([seed, ring]), masked, end_chance)

    return [[env(member * envs + nth) for nth in range(envs)] for member in range(members)]


def stream_of(envs: list[list[FakeEnv]], capacity: int, n_step: int, masked: bool) -> Stream:
    return Stream(capacity, n_step, stacked(envs, "obs"), stacked(envs, "mask"), masked)


def step_all(envs: list[list[FakeEnv]], stream: Stream, random: np.random.Generator) -> None:
    action = random.integers(ACTIONS, size=(len(envs), len(envs[0])))
    taken = [
        [env.step(int(a)) for env, a in zip(*pair, strict=True)]
        for pair in zip(envs, action, strict=True)
    ]
    names = ("reward", "terminated", "truncated", "final_obs", "final_mask")
    answers = (stacked(taken, name) for name in names)
    stream.append(action, Step(*answers, stacked(envs, "obs"), stacked(envs, "mask")))


def check_sample(batch: Batch, at: tuple[int, int], window: list[Transition], gamma: float) -> None:
    first, last = window[0], window[-1]
    assert batch.obs[at].tolist() == first.obs.tolist()
    assert batch.action[at] == first.action
    assert batch.mask[at].tolist() == first.mask.tolist()
    reward = sum(gamma**k * transition.reward for k, transition in enumerate(window))
    assert batch.reward[at].item() == pytest.approx(reward, abs=1e-12)
    discount = 0.0 if last.terminated else gamma ** len(window)
    assert batch.discount[at].item() == pytest.approx(discount, abs=1e-12)
    assert batch.next_obs[at].tolist() == last.final_obs.tolist()
    assert batch.next_mask[at].tolist() == last.final_mask.tolist()


def check_everything(envs: list[list[FakeEnv]], stream: Stream) -> None:
    """Every transition that can be sampled is the one that the record has in its place."""
    stream.check_valid()
    gamma = np.array([0.9, 0.5])[: len(envs)]
    kept = [[env.reachable(stream.capacity, stream.n_step) for env in row] for row in envs]
    assert stream.sizes.tolist() == [[len(positions) for positions in row] for row in kept]
    ring = np.arange(stream.members * stream.envs).repeat(stream.capacity)
    ring = ring.reshape(stream.members, -1)  # [members, envs * capacity]
    nth = np.arange(ring.size).reshape(ring.shape) % stream.capacity
    weight = np.random.default_rng(0).random(ring.shape)
    batch = stream.batch(stream.locate(ring, nth), weight, gamma)
    assert batch.weight.tolist() == weight.tolist()
    for member, column in np.ndindex(ring.shape):
        env, oldness = divmod(column, stream.capacity)
        if oldness < len(kept[member][env]):
            window = envs[member][env].window(kept[member][env][oldness], stream.n_step)
            check_sample(batch, (member, column), window, float(gamma[member]))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_sampled_is_what_the_environments_emitted(seed: int) -> None:
    random = np.random.default_rng(seed)
    members, n_step, masked = 1 + seed // 2 % 2, int(random.integers(1, 6)), bool(seed % 2)
    end_chance = random.choice([0.0, 0.05, 0.3, 0.6])
    envs = fake_envs(seed, members, int(random.integers(1, 4)), masked, end_chance)
    capacity = int(random.choice([1, 2, 3, 5, 8, 13]))
    stream = stream_of(envs, capacity, n_step, masked)
    for step in range(45):
        step_all(envs, stream, random)
        check_everything(envs, stream)
        if step in (3, 30):  # before and after the rings are full
            others = fake_envs(99, members, stream.envs, masked, 0)
            state = copy.deepcopy(stream.state())
            stream = stream_of(others, capacity, n_step, masked)
            stream.load(state)
            check_everything(envs, stream)


@pytest.mark.parametrize(("capacity", "envs", "each"), [(6, 3, 2), (7, 3, 3), (1, 3, 1), (5, 1, 5)])
def test_a_members_environments_share_its_capacity_rounded_up(
    capacity: int, envs: int, each: int
) -> None:
    fakes = fake_envs(0, 2, envs, False, 0.0)
    stream = stream_of(fakes, capacity, 1, False)
    for _ in range(10):
        step_all(fakes, stream, np.random.default_rng(0))
    assert stream.sizes.tolist() == [[each] * envs] * 2
    check_everything(fakes, stream)


@pytest.mark.parametrize("seed", range(10))
def test_a_buffer_of_one_always_holds_the_latest_transition_alone(seed: int) -> None:
    envs = fake_envs(seed, 1, 1, True, 0.3)
    stream, random = stream_of(envs, 1, 1, True), np.random.default_rng(seed)
    zero = np.zeros((1, 1), np.int64)
    for _ in range(40):
        step_all(envs, stream, random)
        assert stream.sizes.item() == 1
        batch = stream.batch(stream.locate(zero, zero), np.ones((1, 1)), np.array([0.9]))
        check_sample(batch, (0, 0), envs[0][0].record[-1:], 0.9)


def append(stream: Stream, reward: float, to: float, end: str = "", then: float = 0.0) -> None:
    """One step of the only environment to observation `to`; after an `end` a new episode begins."""
    mask = np.ones((1, 1, ACTIONS), bool)
    values = (reward, end == "terminated", end == "truncated", to, then if end else to)
    number, terminated, truncated, final_obs, obs = (np.array([[value]]) for value in values)
    action = np.zeros((1, 1), np.int64)
    stream.append(action, Step(number, terminated, truncated, final_obs, mask, obs, mask))


@pytest.mark.parametrize(("end", "discount"), [("terminated", 0.0), ("truncated", 0.25)])
def test_three_steps_by_hand_with_an_end_after_two(end: str, discount: float) -> None:
    stream = Stream(10, 3, np.array([[100.0]]), np.ones((1, 1, ACTIONS), bool), False)
    append(stream, 1.0, 101.0)
    append(stream, 2.0, 102.0, end, then=200.0)
    for k in range(3):
        append(stream, 4.0 * 2**k, 201.0 + k)
    nth = np.arange(3)[None]
    assert stream.sizes.item() == 3
    batch = stream.batch(stream.locate(nth * 0, nth), np.ones((1, 3)), np.array([0.5]))
    assert batch.obs.tolist() == [[100, 101, 200]]
    # 1 + 0.5 * 2; 2 alone; 4 + 0.5 * 8 + 0.25 * 16. Truncation keeps gamma^2 and gamma.
    assert batch.reward.tolist() == [[2, 2, 12]]
    assert batch.discount.tolist() == [[discount, 2 * discount, 0.125]]
    assert batch.next_obs.tolist() == [[102, 102, 203]]


@pytest.mark.parametrize(("stored", "numbers"), [("u1", "f4"), ("f4", "f4"), ("f8", "f8")])
def test_observations_keep_their_dtype_and_numbers_follow_it(stored: str, numbers: str) -> None:
    obs, mask = np.full((1, 1, 2, 2), 255, stored), np.ones((1, 1, 10_000), bool)
    stream = Stream(3, 1, obs, mask, False)
    number, false = np.ones((1, 1)), np.zeros((1, 1), bool)
    stream.append(np.array([[9999]]), Step(number / 3, false, false, obs, mask, obs, mask))
    zero = np.zeros((1, 1), np.int64)
    batch = stream.batch(stream.locate(zero, zero), number, np.array([0.9]))
    assert batch.obs.numpy().dtype == batch.next_obs.numpy().dtype == stored
    assert batch.obs.tolist() == obs.tolist()
    for name in ("reward", "discount", "weight"):
        assert getattr(batch, name).numpy().dtype == numbers
    assert batch.reward.item() == np.dtype(numbers).type(1 / 3)
    assert (batch.action.numpy().dtype, batch.action.item()) == (np.int64, 9999)


def test_a_state_leaves_out_what_was_never_written_and_masks_that_say_nothing() -> None:
    envs = fake_envs(0, 1, 2, False, 0.0)
    stream = stream_of(envs, 1000, 1, False)
    for _ in range(4):
        step_all(envs, stream, np.random.default_rng(0))
    assert stream.state()["obs"].shape == (2, 5, 2)  # two rings; four steps, five observations
    assert stream.mask.nbytes == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"queue": [[3, 2, 4]]}, "order"),
        ({"head": [7]}, "overwritten"),  # the oldest of slots 2 to 4, in a ring of five
        ({"head": [4]}, "complete"),
        ({"begins": [[False] * 5]}, "only transitions"),
    ],
)
def test_check_valid_finds_what_must_not_be_sampled(change: dict[str, Any], complaint: str) -> None:
    envs = fake_envs(0, 1, 1, False, 0.0)
    stream = stream_of(envs, 3, 1, False)
    for _ in range(5):
        step_all(envs, stream, np.random.default_rng(0))
    stream.check_valid()
    stream.load(stream.state() | {name: np.array(value) for name, value in change.items()})
    with pytest.raises(AssertionError, match=complaint):
        stream.check_valid()
