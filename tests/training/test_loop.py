from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from side_by_side import CASES, check_alike, gone_on, members_of, trained

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.clock import Clock
from dqn_cli.agent.metrics import Metrics
from dqn_cli.agent.parameters import initial, views
from dqn_cli.replay.batches import observations
from dqn_cli.replay.prioritised import PrioritisedSampler
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import (
    Run,
    StepReport,
    current_epsilon,
    train,
    updates_due,
)
from dqn_cli.training.progress import is_lockstep
from dqn_cli.training.randomness import Randomness
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
STATES, ACTIONS, GAMMA = 6, 3, 0.9
# A tabular learner whose tables are exact: each update moves one value halfway to its target.
TABULAR = (
    "network=table",
    "target=none",
    "optimizer=sgd",
    "optimizer.lr=0.25",
    "head.loss=squared",
    "optimizer.max_grad_norm=null",
    "exploration=constant",
    "exploration.start=1",
    "learning_starts=0",
    f"gamma={GAMMA}",
)


class RandomMdp(gymnasium.Env[np.int64, np.int64]):
    """Known transitions; the last state ends an episode; action 2 is illegal in state 0."""

    observation_space = gymnasium.spaces.Discrete(STATES)
    action_space = gymnasium.spaces.Discrete(ACTIONS)
    next_state = np.random.default_rng(5).integers(0, STATES, (STATES, ACTIONS))
    reward = np.random.default_rng(6).uniform(-1, 1, (STATES, ACTIONS))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(STATES - 1))
        return np.int64(self.state), self.info()

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        assert self.info()["action_mask"][action], "an illegal action was taken"
        reward = float(self.reward[self.state, action])
        self.state = int(self.next_state[self.state, action])
        return np.int64(self.state), reward, self.state == STATES - 1, False, self.info()

    def info(self) -> dict[str, Any]:
        mask = np.ones(ACTIONS, np.int8)
        mask[2] = self.state != 0
        return {"action_mask": mask}


class Endless(gymnasium.Env[np.int64, np.int64]):
    """One state, reward 1 for ever; only a time limit ends an episode."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        return np.int64(0), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        return np.int64(0), 1.0, False, False, {}


@pytest.fixture(autouse=True)
def environments() -> Iterator[None]:
    gymnasium.register("RandomMdp-v0", RandomMdp, max_episode_steps=4)
    gymnasium.register("Endless-v0", Endless, max_episode_steps=5)
    yield
    del gymnasium.registry["RandomMdp-v0"], gymnasium.registry["Endless-v0"]


def optimal_q() -> NDArray[np.float64]:
    """Return the fixed point of value iteration; a time limit truncates, so it changes nothing."""
    q = np.zeros((STATES, ACTIONS))
    legal = np.ones((STATES, ACTIONS), bool)
    legal[0, 2] = False
    for _ in range(500):
        value = np.where(legal, q, -np.inf).max(1)
        value[STATES - 1] = 0  # nothing follows the end
        q = RandomMdp.reward + GAMMA * value[RandomMdp.next_state]
    return q


def learned_q(settings: Settings) -> NDArray[np.float64]:
    _, run = build_run([settings])
    for _ in train([settings], run):
        pass
    run.envs.close()
    states = np.eye(run.envs.spaces.observation_size, dtype=settings.dtype.name)
    return run.learner.values(states[None], run.random.noise)[0]


@pytest.mark.parametrize(
    "words",
    [
        ("replay.capacity=1", "replay.batch_size=1", "steps=2000"),
        ("replay.batch_size=32", "steps=3000", "target=hard", "target.every=20"),
        ("replay.batch_size=32", "steps=2500", "target=soft", "target.tau=0.2"),
        ("replay.batch_size=32", "steps=2000", "update=double", "env.num_envs=3"),
        ("replay.batch_size=32", "steps=1500", "network=mlp", "network.dueling=true",
         "network.widths=[32]", "optimizer=adam", "optimizer.lr=5e-3", "optimizer.schedule=linear",
         "target=hard", "target.every=20"),
    ],
)  # fmt: skip
def test_learns_the_optimal_values_of_a_known_mdp(settings_of: Compose, words: list[str]) -> None:
    settings = settings_of("env=RandomMdp-v0", *TABULAR, "dtype=float64", *words)
    q, best = learned_q(settings), optimal_q()
    legal = np.ones((STATES, ACTIONS), bool)
    legal[STATES - 1] = legal[0, 2] = False  # never taken, so never learned
    np.testing.assert_allclose(q[legal], best[legal], atol=0.05)


def test_truncation_does_not_cut_the_bootstrap(settings_of: Compose) -> None:
    # 1 + gamma + gamma^2 + ... = 10; had the time limit counted as an end, at most 4.1.
    q = learned_q(settings_of("env=Endless-v0", *TABULAR, "steps=1000", "replay.batch_size=8"))
    np.testing.assert_allclose(q, 10, rtol=0.01)


def test_termination_cuts_the_bootstrap(settings_of: Compose) -> None:
    settings = settings_of("env=RandomMdp-v0", *TABULAR, "steps=1000", "gamma=0.5")
    q = learned_q(settings)
    ends = RandomMdp.next_state == STATES - 1
    ends[STATES - 1] = ends[0, 2] = False
    np.testing.assert_allclose(q[ends], RandomMdp.reward[ends], atol=0.01)


def reports(settings: Settings) -> list[StepReport]:
    _, run = build_run([settings])
    seen = list(train([settings], run))
    run.envs.close()
    return seen


def test_updates_begin_after_learning_starts_and_come_in_rounds(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=40", "learning_starts=10", "train_every=4", "updates_per_train=3",
        "replay.batch_size=2", "network.widths=[4]",
    )  # fmt: skip
    trained = [report.now[0].steps for report in reports(settings) if report.updates]
    assert trained == [12, 16, 20, 24, 28, 32, 36, 40]
    assert all(report.updates in (0, 3) for report in reports(settings))


def test_there_is_no_update_before_a_batch_is_stored(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=30", "learning_starts=0", "train_every=1", "updates_per_train=1",
        "replay.batch_size=20", "replay.n_step=1", "network.widths=[4]",
    )  # fmt: skip
    assert next(report.now[0].steps for report in reports(settings) if report.updates) == 20


def test_several_environments_cross_several_multiples(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=40", "env.num_envs=5", "learning_starts=10", "train_every=2",
        "updates_per_train=1", "replay.batch_size=2", "replay.n_step=1", "network.widths=[4]",
    )  # fmt: skip
    seen = reports(settings)
    assert [report.now[0].steps for report in seen] == [5, 10, 15, 20, 25, 30, 35, 40]
    # In (10, 15] lie 12 and 14, in (15, 20] lie 16, 18 and 20.
    assert [report.updates for report in seen] == [0, 0, 2, 3, 2, 3, 2, 3]


def test_a_run_ends_at_steps_or_episodes_whichever_is_first(settings_of: Compose) -> None:
    by_steps = reports(settings_of("steps=30", "episodes=100"))
    by_episodes = reports(settings_of("env=Endless-v0", "steps=1000", "episodes=3"))
    assert by_steps[-1].now[0].steps == 30
    assert by_episodes[-1].now == [Clock(steps=15, updates=0, episodes=3)]


def test_epsilon_is_one_until_learning_starts_then_follows_its_schedule(
    settings_of: Compose,
) -> None:
    settings = settings_of(
        "steps=40", "learning_starts=10", "exploration.start=0.8", "exploration.end=0.2",
        "exploration.duration=20", "replay.batch_size=2",
    )  # fmt: skip
    seen = [report.epsilon.item() for report in reports(settings)]
    assert seen[:9] == [1.0] * 9  # after the first step, the second, ...
    assert seen[9] == pytest.approx(0.8)
    assert seen[19] == pytest.approx(0.5)
    assert seen[29:] == pytest.approx([0.2] * 11)


@pytest.mark.parametrize("falls", [True, False])
def test_the_learning_rate_follows_its_schedule_over_the_run(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, falls: bool
) -> None:
    schedule = f"optimizer.schedule={'linear' if falls else 'constant'}"
    settings = settings_of(
        "steps=24", "learning_starts=20", "train_every=1", "updates_per_train=1",
        "replay.batch_size=2", "network.widths=[4]", schedule,
    )  # fmt: skip
    _, run = build_run([settings])
    seen, update = list[float](), run.learner.update

    def recorded(draw: Any, noise: Any, lr_factors: list[float]) -> Any:
        seen.extend(lr_factors)
        return update(draw, noise, lr_factors)

    monkeypatch.setattr(run.learner, "update", recorded)
    list(train([settings], run))
    assert seen == pytest.approx([(1 - step / 24) if falls else 1 for step in (21, 22, 23, 24)])


def test_the_clock_counts_every_environment(settings_of: Compose) -> None:
    settings = settings_of("steps=60", "env=Endless-v0", "env.num_envs=4")
    assert reports(settings)[-1].now == [Clock(steps=60, updates=0, episodes=12)]


def test_no_update_is_due_between_rounds(settings_of: Compose) -> None:
    settings = settings_of("learning_starts=0", "train_every=10", "replay.batch_size=1")
    _, run = build_run([settings])
    run.clocks = [Clock(steps=9)]
    assert updates_due(settings, run, Clock(steps=8)) == 0
    assert current_epsilon([settings], run).item() < 1
    run.envs.close()
    assert torch.isfinite(run.learner.state.parameters).all()


def test_a_batch_as_large_as_the_buffer_is_learned_from_with_short_episodes(
    settings_of: Compose,
) -> None:
    words = (
        "replay.capacity=32",
        "replay.batch_size=32",
        "learning_starts=0",
        "network.widths=[4]",
    )
    seen = reports(settings_of("env=RandomMdp-v0", "steps=200", *words))
    assert seen[-1].updates == 1


def run_to_the_end(settings: Settings) -> Run:
    _, run = build_run([settings])
    for _ in train([settings], run):
        pass
    run.envs.close()
    return run


def initial_parameters(settings: Settings) -> torch.Tensor:
    _, run = build_run([settings])
    run.envs.close()
    return run.learner.state.parameters[0]


def drawn_parameters(agents: Sequence[Agent], weights: Randomness) -> torch.Tensor:
    """Draw the parameters of new networks, [members, size], float64."""
    pairs = zip(agents, weights, strict=True)
    return torch.stack([initial(agent.layout, random) for agent, random in pairs])


def test_a_run_revives_dormant_units_of_its_threshold(settings_of: Compose) -> None:
    # Every unit is below a threshold this high, and the rate is too small to change anything else.
    words = (
        "steps=60", "learning_starts=10", "train_every=2", "updates_per_train=1",
        "network.widths=[6,5]", "optimizer=sgd", "optimizer.lr=1e-30", "replay.batch_size=4",
        "dtype=float64",
    )  # fmt: skip
    every = settings_of(*words, "reset.dormant=40", "reset.threshold=1000")
    none = settings_of(*words, "reset.dormant=40", "reset.threshold=0")
    before, run = initial_parameters(every), run_to_the_end(every)
    layout = build_run([every])[0][0].layout
    old, new = views(before, layout), views(run.learner.state.parameters[0], layout)
    assert not (old["torso.0.weight"] == new["torso.0.weight"]).any()
    assert new["advantage.out.weight"].abs().max() < 1e-20
    same = run_to_the_end(none).learner.state.parameters[0]
    assert (same == before).float().mean() > 0.5


def test_no_layer_is_reset_where_the_last_episode_ends(settings_of: Compose) -> None:
    # Episodes of five steps: the third ends at step 15.
    words = ("env=Endless-v0", "episodes=3", "learning_starts=100", "network.widths=[4]")
    for every, resets in ((14, True), (15, False)):
        settings = settings_of("steps=100", f"reset.every={every}", *words)
        run = run_to_the_end(settings)
        assert run.clocks[0].steps == 15
        changed = not torch.equal(run.learner.state.parameters[0], initial_parameters(settings))
        assert changed is resets


@pytest.mark.parametrize(
    ("every", "resets"), [(20, 2), (25, 2), (30, 1), (58, 1), (60, 0), (61, 0)]
)
@pytest.mark.parametrize("envs", [1, 2])
def test_a_run_with_resets_draws_its_last_layers_anew(
    settings_of: Compose, every: int, resets: int, envs: int
) -> None:
    # The learning rate is too small to change parameters, so only resets do.
    settings = settings_of(
        "steps=60", f"reset.every={every}", "learning_starts=10", "train_every=2",
        "updates_per_train=1", "network.widths=[6,5]", "optimizer=sgd", "optimizer.lr=1e-30",
        "replay.batch_size=4", "target=hard", "target.every=7", "dtype=float64",
        f"env.num_envs={envs}",
    )  # fmt: skip
    before, run = initial_parameters(settings), run_to_the_end(settings)
    agents, other = build_run([settings])
    other.envs.close()
    expected, layout = before, agents[0].layout
    for _ in range(resets):
        expected = drawn_parameters(agents, other.random.resets)[0]
    if 60 % every == 0:
        # The reset at the end of the run draws too, but the finished member is spared.
        drawn_parameters(agents, other.random.resets)
    for parameters in (run.learner.state.parameters[0], run.learner.state.target[0]):
        torso, streams = views(before, layout), views(expected, layout)
        for name, tensor in views(parameters, layout).items():
            assert torch.equal(tensor, (torso if "torso" in name else streams)[name]), name
    assert run.random.resets.state(0) == other.random.resets.state(0)


def test_a_run_without_resets_draws_none(settings_of: Compose) -> None:
    settings = settings_of("steps=30", "learning_starts=10", "network.widths=[4]")
    _, fresh = build_run([settings])
    fresh.envs.close()
    assert run_to_the_end(settings).random.resets.state(0) == fresh.random.resets.state(0)


RECURRENT = (
    "network.widths=[6,5]", "network.units=4", "network.burn_in=2", "network.length=3",
    "replay.batch_size=4", "learning_starts=0",
)  # fmt: skip


@pytest.mark.parametrize("network", ["gru", "lstm"])
@pytest.mark.parametrize("envs", [1, 3])
def test_the_recurrent_state_is_zero_when_an_episode_begins_and_stored_with_each_observation(
    settings_of: Compose, network: str, envs: int
) -> None:
    words = ("env=RandomMdp-v0", f"network={network}", f"env.num_envs={envs}", "steps=90")
    settings = settings_of(*words, *RECURRENT)
    _, run = build_run([settings])
    assert not run.state.any()
    reports = train([settings], run)
    next(reports)
    before = run.state.astype(np.float32)
    for report in reports:
        ended = report.step.ended
        newest = run.stream.state[np.arange(envs), run.stream.head % run.stream.slots][None]
        assert not newest[ended].any()
        np.testing.assert_array_equal(newest[~ended], before[~ended])
        # The next action is chosen already, and it changes the state.
        before = run.state.astype(np.float32)
        assert before.any(-1).all()
    run.envs.close()
    assert report.now[0].episodes > 5


def test_the_recurrent_state_is_that_of_the_episode_so_far_also_when_actions_are_random(
    settings_of: Compose,
) -> None:
    # Before learning starts all actions are random, but the network is unrolled all the same.
    words = ("env=RandomMdp-v0", "network=gru", "steps=40", "dtype=float64")
    settings = settings_of(*words, *RECURRENT, "learning_starts=40")
    (agent,), run = build_run([settings])
    for _ in train([settings], run):
        pass
    run.envs.close()
    stream = run.stream
    starts, state = 0, torch.zeros(1, 4, dtype=torch.float64)
    for slot in range(int(stream.head[0])):
        obs = torch.from_numpy(stream.obs[0, slot])[None].to(state)
        stored = torch.from_numpy(stream.state[0, slot])[None].to(torch.float64)
        if slot == 0 or not stream.begins[0, slot - 1]:
            state, starts = torch.zeros_like(state), starts + 1
        if stream.begins[0, slot]:
            torch.testing.assert_close(stored, state, rtol=1e-6, atol=1e-7)
            inputs = (run.learner.state.parameters[0], obs, state, torch.empty(0))
            state = agent.model.act(*inputs)[1]
    assert starts > 5


def test_sequences_are_learned_from_once_their_window_is_there(settings_of: Compose) -> None:
    # A window of 1 + 2 + 3 - 1 = 5 slots follows each of 3 sequences: slots 0 to 2 are followed by
    # 5 when slot 7 is there, after 7 steps; the slot for the end after 5 steps is not counted.
    words = ("env=Endless-v0", "network=gru", "steps=20", *RECURRENT, "replay.batch_size=3")
    seen = reports(settings_of(*words))
    assert next(report.now[0].steps for report in seen if report.updates) == 7


def test_a_batch_without_any_transition_spoils_neither_parameters_nor_metrics(
    settings_of: Compose,
) -> None:
    # With one slot to learn from, a small batch may hold only the ends of episodes.
    words = ("env=RandomMdp-v0", "network=gru", "steps=60", *RECURRENT, "replay.batch_size=1")
    settings = settings_of(*words, "network.burn_in=1", "network.length=1")
    _, run = build_run([settings])
    assert any(report.updates for report in train([settings], run))
    run.envs.close()
    assert torch.isfinite(run.learner.state.parameters).all()
    assert torch.isfinite(run.learner.metrics).all()


@pytest.mark.parametrize("replay", ["uniform", "prioritised"])
def test_a_rollout_is_announced_once_and_the_errors_of_each_update_are_returned_to_replay(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, replay: str
) -> None:
    settings = settings_of(
        f"replay={replay}", "steps=40", "learning_starts=10", "train_every=20",
        "updates_per_train=2", "replay.batch_size=5", "network.widths=[4]",
    )  # fmt: skip
    _, run = build_run([settings])
    stream, sampler = run.stream, run.sampler
    on_rollout, draw, update = sampler.on_rollout, sampler.draw, sampler.update_priorities
    calls: list[tuple[str, Any]] = []

    def recorded_on_rollout(values: Any) -> None:
        newest = stream.newest(1)
        obs = observations(stream.storage, newest.ring, newest.slot, stream.frames)
        calls.append(("on_rollout", values(obs).shape))
        on_rollout(values)

    def recorded_draw(uniforms: Any, progress: Sequence[float]) -> Any:
        calls.append(("draw", progress))
        return draw(uniforms, progress)

    def recorded_update(storage: Any, samples: Any, errors: Any) -> None:
        calls.append(("update_priorities", tuple(error.shape for error in errors)))
        update(storage, samples, errors)

    monkeypatch.setattr(sampler, "on_rollout", recorded_on_rollout)
    monkeypatch.setattr(sampler, "draw", recorded_draw)
    monkeypatch.setattr(sampler, "update_priorities", recorded_update)
    for _ in train([settings], run):
        pass
    run.envs.close()
    shape = (1, 5)
    first = [("draw", [0.5]), ("update_priorities", (shape, shape))]
    second = [("draw", [1.0]), ("update_priorities", (shape, shape))]
    rollout = [("on_rollout", (1, 1, 2))]
    assert calls == [*rollout, *first * 2, *rollout, *second * 2]


def test_prioritised_replay_learns_priorities(settings_of: Compose) -> None:
    settings = settings_of(
        "agent=per", "steps=80", "learning_starts=10", "train_every=1", "updates_per_train=1",
        "network.widths=[4]", "replay.batch_size=8",
    )  # fmt: skip
    run = run_to_the_end(settings)
    assert isinstance(run.sampler, PrioritisedSampler)
    run.sampler.catch_up()
    priorities = run.sampler.priorities.tree.leaves[0]
    assert (priorities > 0).sum() == run.stream.sizes.item()
    assert len(np.unique(priorities[priorities > 0])) > 20


def test_rollouts_are_learned_from_when_they_are_full(settings_of: Compose) -> None:
    settings = settings_of(
        "agent=pqn", "env.num_envs=4", "train_every=32", "updates_per_train=4",
        "replay.batch_size=8", "steps=128", "network.widths=[8]",
    )  # fmt: skip
    seen = reports(settings)
    trained = [(report.now[0].steps, report.updates) for report in seen if report.updates]
    assert trained == [(32, 4), (64, 4), (96, 4), (128, 4)]


def test_the_next_action_is_chosen_before_learning(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(
        "steps=30", "learning_starts=10", "train_every=2", "updates_per_train=1",
        "replay.batch_size=4", "network.widths=[4]", "exploration=constant", "exploration.start=0",
    )  # fmt: skip
    _, run = build_run([settings])
    order = list[str]()

    def record(owner: Any, method: str) -> None:
        function = getattr(owner, method)

        def recorded(*arguments: Any) -> Any:
            order.append(method)
            return function(*arguments)

        monkeypatch.setattr(owner, method, recorded)

    record(run.envs, "step")
    record(run.learner, "act")
    record(run.learner, "update")
    for report in train([settings], run):
        if report.now[0].steps == 14:
            order.clear()
        if report.now[0].steps == 18:
            break
    run.envs.close()
    assert order == ["step", "act", "step", "act", "update"] * 2


@pytest.mark.parametrize(
    ("words", "moves"),
    [
        (("agent=dqn",), False),
        (("agent=qr",), False),
        (("agent=noisy",), True),
        (("agent=iqn", "exploration=constant", "exploration.start=1"), False),
    ],
)
def test_acting_draws_noise_only_for_noisy_layers(
    settings_of: Compose, words: tuple[str, ...], moves: bool
) -> None:
    small = ("network.widths=[4]", "replay.batch_size=4")
    settings = settings_of(*words, *small, "steps=20", "learning_starts=15", "train_every=100")
    _, run = build_run([settings])
    before = run.random.noise.state(0)
    for report in train([settings], run):
        # Random actions need no network. The action after this step is chosen already.
        assert (run.random.noise.state(0) != before) is (moves and report.now[0].steps >= 15)
    run.envs.close()


def test_a_report_has_the_epsilon_of_each_environment(settings_of: Compose) -> None:
    settings = settings_of(
        "exploration=ladder", "exploration.start=0.5", "exploration.spread=1", "env.num_envs=3",
        "steps=30", "learning_starts=15", "network.widths=[4]", "replay.batch_size=4",
    )  # fmt: skip
    seen = [report.epsilon.tolist() for report in reports(settings)]
    assert seen[:4] == [[[1.0]]] * 4
    assert len(seen[4:]) == 6
    for (epsilon,) in seen[4:]:
        assert epsilon == pytest.approx([0.5, 0.5**1.5, 0.5**2])


def test_each_environment_explores_with_its_own_epsilon(settings_of: Compose) -> None:
    settings = settings_of(
        "env=Endless-v0", "exploration=ladder", "exploration.start=0.9", "exploration.spread=40",
        "env.num_envs=2", "steps=800", "learning_starts=0", "network=table", "train_every=10000",
    )  # fmt: skip
    run = run_to_the_end(settings)
    # All values are 0, so the first action is preferred; half of the random actions are the other.
    other = run.stream.action[:, :400].mean(1)
    assert other[0] == pytest.approx(0.45, abs=0.1)
    assert other[1] == pytest.approx(0.9**41 / 2, abs=0.02)


def test_the_same_seed_gives_the_same_run(settings_of: Compose) -> None:
    settings = settings_of(
        "agent=rainbow", "steps=80", "learning_starts=20", "train_every=2",
        "updates_per_train=1", "network.widths=[6]", "head.atoms=5", "replay.batch_size=8",
        "reset.every=30",
    )  # fmt: skip
    first, second = run_to_the_end(settings), run_to_the_end(settings)
    other = run_to_the_end(replace(settings, seed=1))
    assert all(map(torch.equal, first.learner.state, second.learner.state))
    assert not torch.equal(first.learner.state.parameters, other.learner.state.parameters)


def test_only_heads_with_a_fixed_support_have_edge_mass(settings_of: Compose) -> None:
    words = (
        "steps=60", "learning_starts=50", "train_every=1", "updates_per_train=1",
        "network.widths=[6]", "replay.batch_size=8",
    )  # fmt: skip
    for agent, has_edges in (("c51", True), ("qr", False), ("iqn", False), ("dqn", False)):
        run = run_to_the_end(settings_of(f"agent={agent}", *words))
        (sums,) = run.learner.metrics
        assert (Metrics(*sums).edge_mass.item() > 0) is has_edges


def test_the_clock_counts_updates_one_by_one(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=40", "learning_starts=10", "train_every=5", "updates_per_train=3",
        "replay.batch_size=2", "network.widths=[4]",
    )  # fmt: skip
    for before, after in pairwise(reports(settings)):
        assert after.before == before.now
        assert after.now[0].updates == before.now[0].updates + after.updates


@pytest.mark.parametrize("case", CASES)
def test_members_side_by_side_end_as_each_does_alone(settings_of: Compose, case: str) -> None:
    if case == "minatar":
        pytest.importorskip("minatar")
    settings = members_of(settings_of, case)
    together = trained(*settings)
    for member, settings_of_member in zip(together, settings, strict=True):
        check_alike(member, trained(settings_of_member)[0])
    learned = torch.stack([member.learner["parameters"] for member in together])
    assert together[0].clock.updates >= 70
    assert len(learned.unique(dim=0)) == len(settings)


def test_a_run_goes_on_until_its_last_member_has_finished(settings_of: Compose) -> None:
    # Episodes of five steps.
    limits = ("episodes=3", "episodes=5", "episodes=null")
    settings = [settings_of("env=Endless-v0", "steps=40", limit) for limit in limits]
    _, run = build_run(settings)
    seen = list(train(settings, run))
    run.envs.close()
    expected = [[steps >= end for end in (15, 25, 40)] for steps in range(1, 41)]
    assert [report.finished for report in seen] == expected
    assert seen[-1].now == [Clock(steps=40, updates=0, episodes=8)] * 3
    assert not list(train(settings, run))


def test_members_that_have_finished_are_spared_by_resets_while_others_go_on(
    settings_of: Compose,
) -> None:
    # Nothing is learned, so only resets change parameters. The first two members finish at steps 15
    # and 35, so they have none and two of the resets at 15, 30, 45, 60, 75 and 90.
    words = ("env=Endless-v0", "steps=100", "reset.every=15", "learning_starts=100")
    own = (("episodes=3", "seed=4"), ("episodes=7", "seed=5"), ("episodes=null", "seed=6"))
    settings = [settings_of(*words, "network.widths=[6,5]", *member) for member in own]
    agents, run = build_run(settings)
    _, fresh = build_run(settings)
    fresh.envs.close()
    before, layout = run.learner.state.parameters.clone(), agents[0].layout
    draws = [drawn_parameters(agents, fresh.random.resets).to(before) for _ in range(6)]
    after_resets = [before, *draws]
    for _ in train(settings, run):
        pass
    run.envs.close()
    for member, resets in enumerate((0, 2, 6)):
        torso = views(before[member], layout)
        streams = views(after_resets[resets][member], layout)
        for name, tensor in views(run.learner.state.parameters[member], layout).items():
            assert torch.equal(tensor, (torso if "torso" in name else streams)[name]), name


@pytest.mark.parametrize("env", ["Endless-v0", "RandomMdp-v0"])
def test_the_first_update_does_not_depend_on_where_episodes_end(
    settings_of: Compose, env: str
) -> None:
    # The first of 20 transitions has its three steps after 3 of them, the last after 22.
    settings = settings_of(
        f"env={env}", "steps=40", "learning_starts=0", "replay.batch_size=20", "replay.n_step=3",
        "network.widths=[4]", "train_every=1", "updates_per_train=1",
    )  # fmt: skip
    assert next(report.now[0].steps for report in reports(settings) if report.updates) == 22


def test_members_in_lockstep_end_as_they_do_when_each_schedule_is_computed(
    settings_of: Compose,
) -> None:
    settings = members_of(settings_of, "rainbow in lockstep")
    assert is_lockstep(settings)
    _, run = build_run(settings)
    assert run.lockstep
    run.lockstep = False
    for member, expected in zip(trained(*settings), gone_on(settings, run), strict=True):
        check_alike(member, expected)
        assert all(
            torch.equal(values, expected.learner[name]) for name, values in member.learner.items()
        )


@pytest.mark.parametrize(
    "words",
    [
        ("agent=dqn",),
        ("agent=drqn", "network.units=5", "network.length=4", "network.burn_in=2"),
        ("agent=pqn", "env.num_envs=2", "train_every=32", "updates_per_train=2"),
    ],
    ids=lambda words: words[0],
)
def test_a_run_takes_no_more_memory_from_step_to_step(
    settings_of: Compose, words: tuple[str, ...]
) -> None:
    structure = (
        "steps=100000", "learning_starts=0", "network.widths=[8]", "replay.batch_size=8",
        "replay.capacity=200", "exploration=constant", "exploration.start=0",
    )  # fmt: skip
    settings = [settings_of(*structure, *words)]
    run = build_run(settings)[1]
    reports = train(settings, run)
    taken = []
    tracemalloc.start()
    try:
        for steps in (300, 700):
            for _ in range(steps):
                next(reports)
            gc.collect()
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        run.envs.close()
    # Random numbers are drawn by the block, and an episode's actions are kept until it ends.
    assert taken[1] - taken[0] < 30_000
