from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

import dqn_cli
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.multi import Multi
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import size
from dqn_cli.agent.recurrent import Gru
from dqn_cli.agent.spaces import Spaces
from dqn_cli.deployed_policy import Policy
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.masks import MaskSource, with_mask_in_info
from dqn_cli.envs.observation_encoder import Channels, ObservationEncoder
from dqn_cli.envs.space_adapter import adapt_spaces
from dqn_cli.evaluation.greedy_policy import GreedyPolicy

Typed = Callable[..., int]
Space = spaces.Space[Any]
PLAIN = (False, False, False, False, 0.5)
MLP, GRU = Mlp([8], *PLAIN), Gru([], *PLAIN, [2, 2], 3, 6, 0, 1)
MULTI = Multi([8], *PLAIN, [2, 2], 3)
SCALAR = Scalar(Loss.huber)
SMALL = ("steps=150", "eval.episodes=2", "network.widths=[8]", "hydra.run.dir=run")


class Declared(gymnasium.Env[Any, Any]):
    """Declares spaces."""

    def __init__(self, observation_space: Space, action_space: Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space


def adapted(observations: Space, actions: Space, frames: int = 0, **words: Any) -> Spaces:
    """The spaces of training, as a checkpoint restores them."""
    env = with_mask_in_info(Declared(observations, actions), "Declared", MaskSource.auto)
    return Spaces.restore(adapt_spaces(env, frames, **words)[1].plain())


def greedy(described: Spaces, network: Mlp = MLP, seed: int = 1) -> GreedyPolicy:
    model = Model(described, network, SCALAR)
    parameters = torch.randn(size(model.layout), generator=torch.Generator().manual_seed(seed))
    return GreedyPolicy(model, parameters)


def policy_of(
    observations: Space,
    actions: Space,
    network: Mlp = MLP,
    frames: int = 0,
    seed: int = 1,
    **words: Any,
) -> Policy:
    described = adapted(observations, actions, frames, **words)
    return Policy(greedy(described, network, seed), **words)


def sampled(space: Space, count: int, seed: int = 0) -> list[Any]:
    space.seed(seed)
    return [space.sample() for _ in range(count)]


def together(space: Space, items: Sequence[Any]) -> Any:
    """Several items as a vector environment returns them."""
    return concatenate(space, items, create_empty_array(space, len(items)))


def plain(value: Any) -> Any:
    """Actions as lists, numbers and dicts, which can be compared."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return np.asarray(value).tolist()


def rows_of(value: Any, count: int) -> list[Any]:
    """Actions of a vector environment, one by one, as `plain` has them."""
    if isinstance(value, dict):
        parts = {key: rows_of(part, count) for key, part in value.items()}
        return [{key: part[row] for key, part in parts.items()} for row in range(count)]
    if isinstance(value, tuple):
        return list(zip(*(rows_of(part, count) for part in value), strict=True))
    return [plain(value[row]) for row in range(count)]


NESTED = spaces.Dict(
    unsorted=spaces.Tuple([spaces.Discrete(3, start=-1), spaces.MultiBinary([2, 2])]),
    choices=spaces.MultiDiscrete([2, 3], start=[1, 5]),
    arm=spaces.Box(-1, 1, (2, 2), np.float64),
    camera=spaces.Box(0, 255, (6, 5, 3), np.uint8),
)
OBSERVATIONS: dict[str, Space] = {
    "vector": spaces.Box(-1, 1, (4,), np.float32),
    "one number": spaces.Box(-1, 1, (), np.float32),
    "matrix": spaces.Box(-9, 9, (3, 2), np.float64),
    "whole numbers": spaces.Box(-100, 100, (3,), np.int16),
    "bytes": spaces.Box(0, 255, (3,), np.uint8),
    "picture": spaces.Box(0, 255, (7, 6, 3), np.uint8),
    "channels first": spaces.Box(0, 255, (3, 7, 6), np.uint8),
    "choice": spaces.Discrete(5),
    "choice with a start": spaces.Discrete(5, start=-2),
    "choices": spaces.MultiDiscrete([2, 3], start=[1, 5]),
    "table of choices": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "flags": spaces.MultiBinary(3),
    "tuple": spaces.Tuple([spaces.Discrete(3, start=2), spaces.Box(0, 1, (2,), np.float32)]),
    "nested": NESTED,
    "lone part": spaces.Dict(only=spaces.Box(-1, 1, (3,), np.float32)),
    # Gymnasium sorts the keys of a dict, but neither these nor those of keywords.
    "unsorted": spaces.Dict([(key, spaces.Box(-1, 1, (2,), np.float32)) for key in "zab"]),
}
ACTIONS: dict[str, Space] = {
    "discrete": spaces.Discrete(4),
    "start": spaces.Discrete(4, start=-3),
    "flags": spaces.MultiBinary(3),
    "table of flags": spaces.MultiBinary([2, 2]),
    "choices": spaces.MultiDiscrete([2, 3], start=[4, -1]),
    "tuple": spaces.Tuple([spaces.Discrete(2, start=1), spaces.MultiBinary(2)]),
    "nested": spaces.Dict(
        turn=spaces.Discrete(3, start=-1),
        arm=spaces.Tuple([spaces.MultiDiscrete([2, 2]), spaces.Discrete(2)]),
    ),
}
EACH_OBSERVATION = pytest.mark.parametrize("space", OBSERVATIONS.values(), ids=OBSERVATIONS)


def expected_of(
    space: Space, actions: Space, network: Mlp, rows: Sequence[Any], seed: int = 1
) -> list[Any]:
    """Greedy actions for the encoding that training has."""
    encode, decode = ObservationEncoder(space), ActionDecoder(actions)
    policy, chosen = greedy(adapted(space, actions), network, seed), []
    for row in rows:
        obs = np.asarray(encode(row), np.float32)[None]
        mask = np.ones((1, policy.model.spaces.actions), bool)
        chosen.append(plain(decode(int(policy(obs, mask, np.ones(1, bool))[0]))))
    return chosen


@EACH_OBSERVATION
@pytest.mark.parametrize("network", [MLP, MULTI], ids=["mlp", "multi"])
def test_it_acts_as_in_training_on_one_observation_and_on_several(
    space: Space, network: Mlp
) -> None:
    actions, rows, differ = ACTIONS["start"], sampled(space, 20), False
    for seed in range(6):
        policy = policy_of(space, actions, network, seed=seed)
        expected = expected_of(space, actions, network, rows, seed)
        assert [plain(policy(row)) for row in rows] == expected
        differ |= len(set(expected)) > 1
        for count in (1, 2, 3, 5, 7, 20):
            found = policy(together(space, rows[:count]))
            assert found.shape == (count,)
            assert found.tolist() == expected[:count]
    assert differ


@pytest.mark.parametrize("actions", ACTIONS.values(), ids=ACTIONS)
def test_actions_are_as_the_environment_takes_them(actions: Space) -> None:
    space = OBSERVATIONS["vector"]
    policy, rows = policy_of(space, actions), sampled(space, 20)
    expected = expected_of(space, actions, MLP, rows)
    taken = [policy(row) for row in rows]
    assert all(action in actions for action in taken)
    assert [plain(action) for action in taken] == expected
    assert len({str(action) for action in expected}) > 1
    several = policy(together(space, rows))
    assert rows_of(several, 20) == expected
    batch = gymnasium.vector.utils.batch_space(actions, 20)
    assert several in batch


@pytest.mark.parametrize("states", [3, 5, 16])
def test_as_many_choices_as_there_are_values_are_no_one_hot_array(states: int) -> None:
    space, actions = spaces.Discrete(states), spaces.Discrete(4)
    policy = policy_of(space, actions)
    rows = np.arange(states)
    expected = expected_of(space, actions, MLP, rows)
    assert policy(rows).tolist() == expected
    ones = np.ones(states, np.int64)
    assert policy(ones).tolist() == [expected[1]] * states


@pytest.mark.parametrize("name", ["nested", "unsorted"])
def test_a_vector_environment_is_played_as_its_environments_are(name: str) -> None:
    space, actions = OBSERVATIONS[name], ACTIONS["nested"]

    class Sampling(gymnasium.Env[Any, Any]):
        observation_space, action_space = space, actions

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.observation_space.seed(seed)
            return self.observation_space.sample(), {}

        def step(self, action: Any) -> Any:
            assert action in self.action_space
            return self.observation_space.sample(), 0.0, False, False, {}

    envs = gymnasium.vector.SyncVectorEnv([Sampling] * 3)
    policy, single = policy_of(space, actions), policy_of(space, actions)
    observations, _ = envs.reset(seed=4)
    for _ in range(3):
        taken = policy(observations)
        rows = list(gymnasium.vector.utils.iterate(envs.observation_space, observations))
        assert rows_of(taken, 3) == [plain(single(row)) for row in rows]
        observations, *_ = envs.step(taken)


VECTOR, FOUR = OBSERVATIONS["vector"], ACTIONS["discrete"]


def test_masks_are_obeyed_row_by_row() -> None:
    policy, rows = policy_of(VECTOR, FOUR), np.stack(sampled(VECTOR, 4))
    assert policy(rows, np.eye(4)).tolist() == [0, 1, 2, 3]
    assert policy(rows, np.eye(4, dtype=bool)[::-1]).tolist() == [3, 2, 1, 0]
    for action in range(4):
        assert policy(rows[0], np.eye(4)[action]) == action
        assert policy(rows[0], [action == index for index in range(4)]) == action
    legal = np.random.default_rng(0).random((4, 4)) < 0.6
    legal[:, 0] = True
    assert [policy(row, mask) for row, mask in zip(rows, legal, strict=True)] == (
        policy(rows, legal).tolist()
    )


def test_a_mask_in_a_dict_is_found_and_another_one_goes_before_it() -> None:
    space = spaces.Dict(position=VECTOR, action_mask=spaces.MultiBinary(4))
    policy, rows = policy_of(space, FOUR), np.stack(sampled(VECTOR, 4))
    masks = np.eye(4, dtype=np.int8)
    for row, mask in zip(rows, masks, strict=True):
        assert policy({"position": row, "action_mask": mask}) == mask.argmax()
    several = {"position": rows, "action_mask": masks}
    assert policy(several).tolist() == [0, 1, 2, 3]
    assert policy(several, masks[::-1]).tolist() == [3, 2, 1, 0]
    without = policy({"position": rows[0]}), policy({"position": rows})
    assert without[0] == without[1][0]


def test_dropped_parts_may_be_there_and_need_not_be_right() -> None:
    space = spaces.Dict(mission=spaces.Text(9), aim=VECTOR, note=spaces.Graph(VECTOR, None))
    policy = policy_of(space, FOUR, drop=["mission", "note"])
    lone, rows = policy_of(spaces.Dict(aim=VECTOR), FOUR), sampled(VECTOR, 8)
    taken = [policy({"mission": "go", "aim": row, "note": None}) for row in rows]
    assert taken == [lone({"aim": row}) for row in rows]
    several = {"mission": ("go",) * 8, "aim": np.stack(rows), "note": (None,) * 8}
    assert policy(several).tolist() == taken


@pytest.mark.parametrize("channels", list(Channels))
def test_the_axis_of_colors_is_that_of_training(channels: Channels) -> None:
    space = spaces.Box(0, 255, (6, 7, 8), np.uint8)
    policy = policy_of(space, FOUR, MULTI, channels=channels)
    encode = ObservationEncoder(space, channels=channels)
    trained = greedy(adapted(space, FOUR, channels=channels), MULTI)
    rows = sampled(space, 20)
    obs = np.stack([encode(row) for row in rows]).astype(np.float32)
    expected = trained(obs, np.ones((20, 4), bool), np.ones(20, bool)).tolist()
    assert [policy(row) for row in rows] == expected
    assert policy(np.stack(rows)).tolist() == expected


def stacks(rows: Sequence[Any], frames: int) -> list[Any]:
    """Stacks of the newest frames; those before the first are zeros."""
    before = [np.zeros_like(rows[0])] * (frames - 1)
    padded = [*before, *rows]
    return [np.stack(padded[k : k + frames]) for k in range(len(rows))]


@pytest.mark.parametrize("name", ["vector", "picture", "choice", "nested", "channels first"])
def test_frames_are_stacked_inside(name: str) -> None:
    space, network = OBSERVATIONS[name], MULTI
    rows, encode, differ = sampled(space, 12), ObservationEncoder(space), False
    obs = np.stack(stacks([encode(row) for row in rows], 3)).astype(np.float32)
    for seed in range(30):
        policy = policy_of(space, FOUR, network, frames=3, seed=seed)
        trained = greedy(adapted(space, FOUR, frames=3), network, seed)
        expected = trained(obs, np.ones((12, 4), bool), np.ones(12, bool)).tolist()
        assert [policy(row) for row in rows] == expected
        differ |= [policy(row) for row in rows] != expected  # frames of the episode before
        for _ in range(2):
            policy.reset()
            assert [policy(row) for row in rows] == expected
    assert differ


def test_stacks_may_be_made_outside_and_come_several_at_once() -> None:
    space = spaces.Box(0, 255, (6, 5), np.uint8)
    inside, outside = (policy_of(space, FOUR, MULTI, frames=3) for _ in range(2))
    rows = sampled(space, 12)
    expected = [inside(row) for row in rows]
    assert [outside(stack) for stack in stacks(rows, 3)] == expected
    outside.reset()
    assert outside(np.stack(stacks(rows, 3))).tolist() == expected


def test_stacks_of_floats_are_no_stacks_of_bytes() -> None:
    policy = policy_of(spaces.Box(0, 255, (6, 5), np.uint8), FOUR, MULTI, frames=3)
    for frames in (np.full((3, 6, 5), 0.5), np.full((2, 3, 6, 5), 0.5), np.full((6, 5), 0.5)):
        with pytest.raises(ValueError, match="which uint8 can't hold"):
            policy(frames)


def recurrent_policy() -> Policy:
    """A policy of 5 actions, which depend on all observations before."""
    return Policy(greedy(array_spaces((2,), (-1, -1), (1, 1), 5), GRU))


def choices(policy: Policy, observations: Any) -> list[int]:
    return [int(np.asarray(policy(obs))) for obs in observations]


def test_reset_clears_the_state_of_a_recurrent_policy() -> None:
    policy, observations = recurrent_policy(), np.random.default_rng(0).normal(size=(20, 2))
    first = choices(policy, observations)
    assert choices(policy, observations) != first  # the state depends on the observations before
    for _ in range(2):
        policy.reset()
        assert choices(policy, observations) == first
    policy.reset()
    policy.reset()
    assert choices(policy, observations) == first


@pytest.mark.parametrize("ended", [None, True, False, [True], [False]])
def test_resetting_a_new_policy_changes_nothing(ended: Any) -> None:
    observations = np.random.default_rng(1).normal(size=(20, 2))
    new, reset = recurrent_policy(), recurrent_policy()
    reset.reset(ended)
    assert choices(new, observations) == choices(reset, observations)


def test_resetting_a_feedforward_policy_changes_nothing() -> None:
    policy = Policy(greedy(array_spaces((2,), (-1, -1), (1, 1), 3)))
    observations = np.random.default_rng(2).normal(size=(20, 2))
    first = choices(policy, observations)
    assert choices(policy, observations) == first
    policy.reset()
    assert choices(policy, observations) == first


@pytest.mark.parametrize("actions", [FOUR, ACTIONS["nested"]], ids=["discrete", "nested"])
def test_each_row_has_a_state_of_its_own_and_resets_where_it_ended(actions: Space) -> None:
    rows = np.random.default_rng(0).normal(size=(25, 3, 4)).astype(np.float32)
    ended = np.random.default_rng(1).random((25, 3)) < 0.2
    singles = [policy_of(VECTOR, actions, GRU) for _ in range(3)]
    several = policy_of(VECTOR, actions, GRU)
    for step in range(25):
        if step:
            several.reset(ended[step])
            for single, over in zip(singles, ended[step], strict=True):
                if over:
                    single.reset()
        expected = [plain(single(row)) for single, row in zip(singles, rows[step], strict=True)]
        assert rows_of(several(rows[step]), 3) == expected
    assert ended.any(0).all()


def test_rows_that_ended_are_remembered_until_the_next_observations() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 2, 4)).astype(np.float32)
    twice, once = policy_of(VECTOR, FOUR, GRU), policy_of(VECTOR, FOUR, GRU)
    for policy in (twice, once):
        policy(rows[0])
    twice.reset([True, False])
    twice.reset([False, False])
    once.reset([True, False])
    for row in rows[1:]:
        assert twice(row).tolist() == once(row).tolist()
    twice.reset()
    twice.reset([False, True])  # an episode begins in both rows anyway
    new = policy_of(VECTOR, FOUR, GRU)
    for row in rows:
        assert twice(row).tolist() == new(row).tolist()


@pytest.mark.parametrize(("network", "frames"), [(GRU, 0), (MLP, 3)], ids=["gru", "frames"])
def test_another_number_of_rows_needs_a_reset(network: Mlp, frames: int) -> None:
    policy = policy_of(VECTOR, FOUR, network, frames=frames)
    rows = np.zeros((5, *([3] * (frames > 0)), 4), np.float32)
    policy(rows[:3])
    with pytest.raises(ValueError, match="there are 5 observations, and there were 3 before"):
        policy(rows)
    with pytest.raises(ValueError, match="there are 1 observations, and there were 3 before"):
        policy(rows[0])
    policy.reset()
    assert policy(rows).shape == (5,)


def test_a_policy_without_memory_takes_any_number_of_rows() -> None:
    policy, rows = policy_of(VECTOR, FOUR), np.stack(sampled(VECTOR, 5))
    taken = [policy(rows[:count]).tolist() for count in (3, 5, 1)]
    assert taken == [taken[1][:3], taken[1], taken[1][:1]]
    assert policy(rows[0]) == taken[1][0]


BOTH = spaces.Dict(aim=VECTOR, choice=spaces.Discrete(3, start=-1))


@pytest.mark.parametrize(
    ("space", "observation", "reason"),
    [
        (VECTOR, np.zeros(3), "has shape [3]; declared is [4]"),
        (VECTOR, np.zeros((2, 3)), "has shape [2, 3]; declared is [4]"),
        (VECTOR, "text", "declared is [4]"),
        (VECTOR, {"aim": np.zeros(4)}, "declared is [4]"),
        (BOTH, np.zeros(7), "declared are the parts ['aim', 'choice']"),
        (BOTH, {"aim": np.zeros(4)}, "is ['aim']; declared are the parts ['aim', 'choice']"),
        (BOTH, {}, "declared are the parts ['aim', 'choice']"),
        (
            BOTH,
            {"aim": np.zeros(4), "choice": 2},
            "part choice is 2; declared is Discrete(3, start=-1)",
        ),
        (
            BOTH,
            {"aim": np.zeros((2, 4)), "choice": np.array([0, 2])},
            "part aim has shape [2, 4]; declared is [4]",
        ),
        (
            BOTH,
            {"aim": np.zeros((2, 4)), "choice": np.array([0])},
            "part aim has shape [2, 4]; declared is [4]",
        ),
        (
            spaces.MultiDiscrete([2, 3]),
            np.array([[0, 2], [2, 0]]),
            "declared is MultiDiscrete([2 3])",
        ),
        (spaces.Box(0, 255, (3,), np.uint8), np.array([0.5, 1, 2]), "which uint8 can't hold"),
        (spaces.Box(0, 255, (6, 5), np.uint8), np.full((2, 6, 5), 0.5), "which uint8 can't hold"),
        (spaces.Box(0, 255, (3, 6, 5), np.uint8), np.full((6, 5, 3), 0.5), "uint8 can't hold"),
    ],
)
def test_observations_that_do_not_fit_are_refused(
    space: Space, observation: Any, reason: str
) -> None:
    policy = policy_of(space, FOUR)
    with pytest.raises(ValueError, match=f"the observation .*{re.escape(reason)}"):
        policy(observation)
    with pytest.raises(ValueError, match=r"this policy takes observations .* and 4 actions"):
        policy(observation)


@pytest.mark.parametrize("mask", [np.ones(3), np.ones((2, 4)), np.ones(5)])
def test_a_mask_of_another_size_is_refused(mask: Any) -> None:
    with pytest.raises(ValueError, match="4"):
        policy_of(VECTOR, FOUR)(np.zeros(4), mask)


def test_a_network_of_another_space_refuses_it() -> None:
    policy = Policy(greedy(array_spaces((2,), (-1, -1), (1, 1), 3)))
    assert policy([0.5, -0.5]) in range(3)
    assert policy(np.zeros((4, 2))).shape == (4,)
    with pytest.raises(ValueError, match="has another shape; this policy takes observations"):
        policy(np.zeros(3))


class Matching(gymnasium.Env[Any, Any]):
    """Pays for the action with the number that a nested, masked observation shows."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            rest=spaces.Tuple([spaces.Box(-1, 1, (2,), np.float64), spaces.Discrete(3, start=-1)]),
            action_mask=spaces.MultiBinary(4),
        )
        self.action_space = spaces.Discrete(4, start=5)

    def answer(self) -> tuple[Any, dict[str, Any]]:
        self.number = int(self.np_random.integers(3))
        noise = self.np_random.uniform(-1, 1, 2)
        mask = np.array([1, 1, 1, 0], np.int8)
        return {"rest": (noise, np.int64(self.number - 1)), "action_mask": mask}, {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.answer()

    def step(self, action: Any) -> Any:
        assert action in (5, 6, 7), "an illegal action was taken"
        reward = float(action - 5 == self.number)
        self.steps += 1
        obs, info = self.answer()
        return obs, reward, False, self.steps >= 10, info


@pytest.fixture
def matching() -> Iterator[None]:
    gymnasium.register("Matching-v0", Matching)
    yield
    del gymnasium.registry["Matching-v0"]


def test_a_policy_takes_what_the_environment_emits(type_train: Typed, matching: None) -> None:
    words = ("learning_starts=100", "optimizer.lr=3e-3", "network.widths=[32]", "compile=false")
    assert type_train("env=Matching-v0", *words, "steps=1500", "hydra.run.dir=run") == 0
    policy, env, total = dqn_cli.load_policy("run"), Matching(), 0.0
    obs, _ = env.reset(seed=3)
    for _ in range(10):
        action = policy(obs)
        assert action in (5, 6, 7)
        obs, reward, *_ = env.step(action)
        total += reward
    assert total == 10.0
    flat = spaces.flatten(spaces.Dict(rest=env.observation_space["rest"]), {"rest": obs["rest"]})
    with pytest.raises(ValueError, match=r"this policy takes observations rest.1 \[3\], rest.0"):
        policy(np.asarray(flat), action_mask=obs["action_mask"])


def test_a_policy_refuses_observations_that_do_not_fit(type_train: Typed, matching: None) -> None:
    assert type_train("env=Matching-v0", *SMALL) == 0
    policy = dqn_cli.load_policy("run")
    with pytest.raises(ValueError, match=r"part rest.1 is 2; declared is Discrete\(3, start=-1\)"):
        policy({"rest": (np.zeros(2), 2)})
