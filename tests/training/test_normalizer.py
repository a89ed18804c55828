from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from side_by_side import changed, check_alike, without_twice
from side_by_side import trained as trained_members
from torch import Tensor

from dqn_cli.agent.normalization import EPSILON, OFFSET
from dqn_cli.agent.spaces import ONE_HOT, PICTURE, VECTOR, Part, Spaces
from dqn_cli.arrays import Array
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.runs.checkpoints import restore, run_data, snapshots_in
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.training.build_run import LearnerFactory, build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run, train
from dqn_cli.training.normalizer import Normalizer
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
PAIR = array_spaces((2,), (-1, -1), (1, 1), 3)
PICTURE_PART = Part("picture", PICTURE, (2, 3), (0.0,), (255.0,), True)
CHOICE = Part("choice", ONE_HOT, (3,), (0.0,), (1.0,), True)
ARM = Part("arm", VECTOR, (2,), (-1.0,), (1.0,), False)
DEPTH = Part("depth", PICTURE, (5, 5), (0.0,), (9.0,), False)
NESTED = Spaces((PICTURE_PART, CHOICE, ARM), 3)


def normalizer_of(spaces: Spaces, size: int, members: int = 1) -> tuple[Normalizer, Tensor, Tensor]:
    """A normalizer, and the parameters of both networks, which end in 2 * `size` numbers."""
    online = torch.full((members, 4 + 2 * size), 7.0, dtype=torch.float64)
    target = online.clone()
    return Normalizer(spaces, (online, target)), online, target


def observed(*numbers: float) -> Array:
    return np.array([[numbers]], float)


def test_three_observations_by_hand() -> None:
    normalizer, online, target = normalizer_of(PAIR, 2)
    normalizer.observe(observed(2, 5))
    # One observation: means 2 and 5, no deviation.
    assert online.tolist() == [[7] * 4 + [2, 5] + [EPSILON**-0.5] * 2]
    normalizer.observe(observed(4, 5))
    assert online[0, 4:6].tolist() == [3, 5]  # variance ((-1)^2 + 1^2) / 2 = 1
    assert online[0, 6:].tolist() == [(1 + EPSILON) ** -0.5, EPSILON**-0.5]
    normalizer.observe(observed(-3, 8))
    # means 1 and 6; variances (1 + 9 + 16) / 3 and (1 + 1 + 4) / 3
    assert online[0, 4:6].tolist() == [1, 6]
    assert online[0, 6:].tolist() == pytest.approx([(26 / 3) ** -0.5, 2**-0.5])
    assert torch.equal(target, online)
    assert online[0, :4].tolist() == [7] * 4
    assert normalizer.statistics.tolist() == [[3, 1, 6, 26, 6]]


def test_two_environments_by_hand() -> None:
    normalizer, online, _ = normalizer_of(PAIR, 2)
    normalizer.observe(np.array([[[1.0, 0.0], [3.0, 0.0]]]))
    normalizer.observe(np.array([[[5.0, 4.0], [7.0, 4.0]]]))
    # 1 3 5 7: mean 4, variance (9 + 1 + 1 + 9) / 4; 0 0 4 4: mean 2, variance 4
    assert online[0, 4:6].tolist() == [4, 2]
    assert online[0, 6:].tolist() == pytest.approx([5**-0.5, 0.5])


@pytest.mark.parametrize("frames", [0, 1, 3])
@pytest.mark.parametrize("envs", [1, 4])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    ("spaces", "size"), [(PAIR, 2), (NESTED, 2), (Spaces((DEPTH,), 3), 25)], ids=str
)
def test_it_is_the_mean_and_deviation_of_everything_seen(
    spaces: Spaces, size: int, members: int, envs: int, frames: int
) -> None:
    spaces = spaces._replace(frames=frames)
    random = np.random.default_rng(0)
    normalizer, online, target = normalizer_of(spaces, size, members)
    seen = []
    for _ in range(50):
        obs = 1e4 + 30 * random.normal(size=(members, envs, *spaces.observation_shape))
        normalizer.observe(obs)
        newest = obs[:, :, -1] if frames else obs  # each frame is seen once
        seen.append(newest.reshape(members, envs, -1)[..., -size:])
    rows = np.concatenate(seen, 1)  # [members, 50 * envs, size]
    np.testing.assert_allclose(online[:, 4 : 4 + size], rows.mean(1), rtol=1e-12)
    np.testing.assert_allclose(online[:, 4 + size :], 1 / rows.std(1), rtol=1e-9)
    assert (online[:, :4] == 7).all()
    assert torch.equal(target, online)


def test_a_large_offset_costs_no_precision() -> None:
    normalizer, online, _ = normalizer_of(PAIR, 2)
    values = 1e9 + np.random.default_rng(0).normal(size=(1000, 2))
    for row in values:
        normalizer.observe(row[None, None])
    np.testing.assert_allclose(online[0, 6:], 1 / values.std(0), rtol=1e-6)


def test_observations_of_bytes_and_of_float32_are_summed_in_float64() -> None:
    for dtype in (np.uint8, np.float32):
        normalizer, online, _ = normalizer_of(PAIR, 2)
        for number in (200, 100, 255, 255):
            normalizer.observe(np.full((1, 1, 2), number, dtype))
        assert online[0, 4:6].tolist() == [202.5, 202.5]


SMALL = (
    "network.widths=[8]", "replay.batch_size=8", "replay.capacity=200", "steps=150",
    "learning_starts=50", "train_every=1", "updates_per_train=1", "env.normalize=running",
)  # fmt: skip
RUNS = {
    "dqn": ("env=CartPole-v1",),
    "stack": ("env=CartPole-v1", "env.preprocess.stack=3", "env.num_envs=2"),
    "nested": ("env=parts:Parts-v0", "agent=rainbow", "head.v_min=-9", "head.v_max=9",
               "head.atoms=5", "network=multi",
               "network.channels=[2,2,2]", "network.features=4"),
    "drqn": ("env=CartPole-v1", "agent=drqn", "network.units=5", "network.length=4",
             "network.burn_in=2"),
    "pqn": ("env=CartPole-v1", "agent=pqn", "env.num_envs=3", "steps=480", "train_every=48",
            "updates_per_train=10", "learning_starts=0"),
    "resets": ("env=CartPole-v1", "reset.every=40", "network.widths=[6,5]"),
    "soft": ("env=CartPole-v1", "target=soft", "optimizer=adamw", "optimizer.weight_decay=0.1"),
    "rmsprop": ("env=CartPole-v1", "optimizer=rmsprop"),
    "momentum": ("env=CartPole-v1", "optimizer=sgd", "optimizer.momentum=0.9"),
}  # fmt: skip
EACH = pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)


def settings_for(settings_of: Compose, *words: str) -> Settings:
    return settings_of(*without_twice(*SMALL, *words))


def numbers_of(run: Run, obs: Array) -> Array:
    """What is normalized of observations [members, envs, *shape], [members, envs, n]."""
    newest = obs[:, :, -1] if run.envs.spaces.frames else obs
    return newest.reshape(*obs.shape[:2], -1)[..., run.envs.spaces.byte_size :].astype(float)


@EACH
def test_a_run_normalizes_by_all_that_it_acted_on(
    settings_of: Compose, words: tuple[str, ...]
) -> None:
    settings = settings_for(settings_of, *words)
    (agent,), run = build_run([settings])
    seen, updates = [numbers_of(run, run.envs.obs)], 0
    size = agent.layout[OFFSET].shape[0]
    for report in train([settings], run):
        seen.append(numbers_of(run, report.step.obs))
        updates += report.updates
        rows = np.concatenate(seen, 1)[0]
        for parameters in (run.learner.state.parameters, run.learner.state.target):
            offset, factor = parameters[0, -2 * size :].numpy().reshape(2, size)
            np.testing.assert_allclose(offset, rows.mean(0), rtol=1e-5, atol=1e-6)
            expected = 1 / np.sqrt(rows.var(0) + EPSILON)
            np.testing.assert_allclose(factor, expected, rtol=1e-5)
    run.envs.close()
    assert updates > 50
    assert not run.learner.state.moments[..., -2 * size :].any()


@pytest.mark.parametrize("name", ["dqn", "nested", "pqn"])
def test_members_have_statistics_of_their_own(settings_of: Compose, name: str) -> None:
    settings = settings_for(settings_of, *RUNS[name], "dtype=float64")
    members = [changed(settings, f"seed={seed}", f"gamma={0.9 + seed / 100}") for seed in (3, 4)]
    together = trained_members(*members)
    for member, own in zip(together, members, strict=True):
        (alone,) = trained_members(own)
        check_alike(member, alone)
    first, second = (member.learner["parameters"][-2:] for member in together)
    assert (first != second).all()


def test_acting_is_normalized_by_the_newest_statistics(settings_of: Compose) -> None:
    settings = settings_for(settings_of, "env=parts:Market-v0", "+env.kwargs.scale=1e4")
    (agent,), run = build_run([settings])
    for _, _ in zip(range(100), train([settings], run), strict=False):
        pass
    q, _ = run.learner.act(run.envs.obs, run.state, run.random.noise)
    run.envs.close()
    parameters = run.learner.state.parameters[0]
    offset, factor = parameters[-4:-2], parameters[-2:]
    assert offset[0] > 1e4
    obs = (torch.from_numpy(run.envs.obs[0]) - offset) * factor
    assert obs.abs().max() < 5
    plain = replace(agent.model, normalization=type(agent.normalization).none)
    expected = plain.q(parameters[:-4], obs, torch.zeros(0))
    torch.testing.assert_close(torch.from_numpy(q[0]), expected)


def tracker_of(run: Run) -> MetricsTracker:
    return MetricsTracker(run.envs.mask.shape[1], Stopwatch(), run.learner.metrics[0], 0)


@EACH
def test_a_run_resumes_with_the_bits_of_one_that_was_not_interrupted(
    settings_of: Compose, words: tuple[str, ...]
) -> None:
    settings = settings_for(settings_of, *words)
    _, whole = build_run([settings])
    kept: dict[str, Any] = {}
    for report in train([settings], whole):
        if not kept and report.now[0].steps >= 90:
            kept = deepcopy(run_data(settings, whole, 0, tracker_of(whole), False))
    whole.envs.close()
    assert kept["normalizer"][0] > 30
    _, again = build_run([settings], snapshots_in(kept))
    restore(kept, again, 0, tracker_of(again))
    for _ in train([settings], again):
        pass
    again.envs.close()
    assert again.normalizer is not None
    assert whole.normalizer is not None
    assert again.normalizer.statistics.tolist() == whole.normalizer.statistics.tolist()
    assert all(map(torch.equal, again.learner.state, whole.learner.state))


def test_a_checkpoint_holds_a_copy_of_the_statistics(settings_of: Compose) -> None:
    settings = settings_for(settings_of, *RUNS["dqn"])
    _, run = build_run([settings])
    data = run_data(settings, run, 0, tracker_of(run), False)
    before = data["normalizer"].clone()
    for _ in train([settings], run):
        pass
    run.envs.close()
    assert torch.equal(data["normalizer"], before)
    plain = settings_of(*without_twice(*SMALL, "env.normalize=none"))
    _, other = build_run([plain])
    other.envs.close()
    assert other.normalizer is None
    assert run_data(plain, other, 0, tracker_of(other), False)["normalizer"] is None


def test_bounds_never_change(settings_of: Compose) -> None:
    settings = settings_for(
        settings_of, "env=MountainCar-v0", "env.normalize=bounds", "optimizer=adamw"
    )
    _, run = build_run([settings])
    assert run.normalizer is None
    before = run.learner.state.parameters[0, -4:].clone()
    for _ in train([settings], run):
        pass
    run.envs.close()
    # Positions from -1.2 to 0.6, velocities from -0.07 to 0.07
    assert before.tolist() == pytest.approx([-0.3, 0, 2 / 1.8, 2 / 0.14])
    for parameters in (run.learner.state.parameters, run.learner.state.target):
        assert torch.equal(parameters[0, -4:], before)


def test_a_greedy_policy_keeps_the_statistics_it_was_made_with(settings_of: Compose) -> None:
    settings = settings_for(settings_of, *RUNS["dqn"])
    (agent,), run = build_run([settings])
    for _ in train([settings], run):
        pass
    run.envs.close()
    parameters = run.learner.state.parameters[0].clone()
    policy = GreedyPolicy(agent.model, parameters)
    obs = 100 * np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    mask, starts = np.ones((50, 2), bool), np.ones(50, bool)
    first = policy(obs, mask, starts).tolist()
    assert policy(obs, mask, starts).tolist() == first
    assert torch.equal(parameters, run.learner.state.parameters[0])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearnerFactory]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield partial(CompiledLearner, compiler=AheadOfTime(lambda line: None))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["dqn", "nested", "drqn", "pqn"])
def test_compiled_runs_normalize_the_same(
    settings_of: Compose, compiled: LearnerFactory, name: str
) -> None:
    settings = settings_for(settings_of, *RUNS[name], "dtype=float64")
    states = []
    for make_learner in (Learner, compiled):
        _, run = build_run([settings], None, make_learner)
        for _ in train([settings], run):
            pass
        run.envs.close()
        states.append(run.learner.state)
    for fast, plain in zip(*states, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)
