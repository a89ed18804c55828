from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.agent.parameters import Parameter, views
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.grouping import group_key
from dqn_cli.runs.job import Job
from dqn_cli.runs.session import Session
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import CheckpointError, load_checkpoint, save_checkpoint, sha256
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=120", "learning_starts=20", "train_every=2", "updates_per_train=1",
    "network.widths=[8,6]", "eval.every=60", "eval.episodes=1", "eval.max_episode_steps=20",
    "replay.batch_size=4", "replay.capacity=80", "compile=false", "env.normalize=running",
    "replay=prioritised",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(settings_of: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run."""
    folder = tmp_path_factory.mktemp("trained")
    train_alone(Job(settings_of(*SMALL), folder, []))
    return folder


@pytest.fixture
def begun(settings_of: Compose, tmp_path: Path) -> Callable[..., Session]:
    """Builds the session of a new run."""

    def build(*words: str) -> Session:
        session = Session([Job(settings_of(*SMALL, *words), tmp_path, [])])
        session.run.envs.close()
        return session

    return build


Begun = Callable[..., Session]


def stored(run: Path, name: str = "last") -> dict[str, Any]:
    return load_checkpoint(run / "checkpoints" / name)


def line_of(session: Session) -> str:
    """The line that says what the run starts from."""
    (line,) = session.init_lines
    return line


@contextmanager
def refused(reason: str) -> Any:
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        yield
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_starts_from_the_best_policy_with_a_new_optimizer(
    begun: Begun, trained: Path
) -> None:
    session = begun(f"init={trained}", "optimizer.lr=0.5", "gamma=0.5")
    state, best = session.run.learner.state, stored(trained, "best")
    assert torch.equal(state.parameters[0], best["parameters"])
    assert torch.equal(state.target[0], best["parameters"])
    assert not state.moments.any()
    assert session.run.clocks[0].steps == 0
    path = trained / "checkpoints" / "best"
    assert session.recorders[0].origin == {
        "path": str(path),
        "sha256": sha256(path),
        "step": best["clock"][0],
        "env": "CartPole-v1",
    }
    step = f"{best['clock'][0]:,}"
    assert line_of(session) == f"init: weights of {path} (CartPole-v1, step {step})"


def test_layers_of_other_observations_and_actions_are_new_and_named(
    begun: Begun, trained: Path
) -> None:
    session = begun(f"init={trained}", "env=Acrobot-v1")
    layout, best = session.run.learner.layout, stored(trained, "best")
    line = line_of(session)
    for layer in ("torso.0 (4x8 there, 6x8 here)", "advantage.out (2x6 there, 3x6 here)"):
        assert layer in line
    assert "hidden" not in line
    own, theirs = (
        views(parameters, {name: Parameter(tuple(shape), 0, 0) for name, shape in shapes})
        for parameters, shapes in (
            (session.run.learner.state.parameters[0], [(k, p.shape) for k, p in layout.items()]),
            (best["parameters"], best["layout"]),
        )
    )
    assert torch.equal(own["advantage.hidden.weight"], theirs["advantage.hidden.weight"])
    assert own["advantage.out.bias"].shape == (3,)


def test_a_network_of_which_nothing_fits_is_refused(begun: Begun, trained: Path) -> None:
    with refused("no layer of its network fits the one of this run: torso.0 (4x8 there, 4x5 here)"):
        begun(f"init={trained}", "network.widths=[5,7]")


def test_the_optimizer_and_the_target_network_go_on_if_asked(begun: Begun, trained: Path) -> None:
    session = begun(f"init={trained}", "init_optimizer=true", "optimizer.lr=0.5")
    for name, values in session.run.learner.state._asdict().items():
        assert torch.equal(values[0], stored(trained)["learner"][name])
    assert "weights and optimizer of" in line_of(session)
    with refused("init_optimizer=true needs the same optimizer, Adam, as in"):
        begun(f"init={trained}", "init_optimizer=true", "optimizer=rmsprop")
    with refused("init_optimizer=true needs all layers as they are in"):
        begun(f"init={trained}", "init_optimizer=true", "head=qr")


def test_auxiliary_parts_are_new_and_go_on_with_the_optimizer(
    settings_of: Compose, begun: Begun, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    session = begun(f"init={trained}", "auxiliary=rnd")
    assert "drawn anew" not in line_of(session)
    model = session.run.learner.policy_parameters(0)
    assert torch.equal(model, stored(trained, "best")["parameters"])
    other = tmp_path_factory.mktemp("other")
    train_alone(Job(settings_of(*SMALL, "auxiliary=rnd"), other, []))
    kept = begun(f"init={other}", "init_optimizer=true", "auxiliary=rnd", "auxiliary.rnd.scale=0.3")
    parameters = kept.run.learner.state.parameters[0]
    assert torch.equal(parameters, stored(other)["learner"]["parameters"])
    with refused("init_optimizer=true needs the parts of auxiliary as they are in"):
        begun(f"init={other}", "init_optimizer=true")


def test_the_replay_goes_on_with_new_episodes_if_asked(begun: Begun, trained: Path) -> None:
    session = begun(f"init={trained}", "init_replay=true", "replay.batch_size=8")
    data, run = stored(trained), session.run
    count = int(data["stream"]["count"].sum())
    assert abs(run.stream.sizes.sum() - count) <= 1  # the running episode is cut
    run.stream.check_valid()
    head = int(run.stream.head[0])
    np.testing.assert_array_equal(run.stream.obs[0, head % run.stream.slots], run.envs.obs[0, 0])
    assert "weights and replay of" in line_of(session)
    with refused("init_replay=true needs replay.capacity=80"):
        begun(f"init={trained}", "init_replay=true", "replay.capacity=90")
    with refused("init_replay=true needs the spaces of"):
        begun(f"init={trained}", "init_replay=true", "env=Acrobot-v1")
    with refused("best holds its policy alone"):
        begun(f"init={trained / 'checkpoints' / 'best'}", "init_replay=true")


def test_a_running_normalization_goes_on_with_its_statistics(begun: Begun, trained: Path) -> None:
    session = begun(f"init={trained / 'checkpoints' / 'last'}")
    assert session.run.normalizer is not None
    ours, theirs = session.run.normalizer.statistics[0], stored(trained)["normalizer"].numpy()
    count, mean, squares = ours[0], ours[1:5], ours[5:]
    assert abs(count - theirs[0]) <= 60  # an episode's first observation takes no step
    np.testing.assert_allclose(mean, theirs[1:5], rtol=1e-5)
    np.testing.assert_allclose(squares / count, theirs[5:] / theirs[0], rtol=1e-4)
    assert "not used: normalization" in line_of(begun(f"init={trained}", "env.normalize=none"))


def test_a_resumed_run_does_not_read_the_checkpoint_again(
    settings_of: Compose, trained: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    save_checkpoint(copy, stored(trained, "best"))
    job = Job(settings_of(*SMALL, f"init={copy}", "stop.step=60"), tmp_path, [])
    origin = train_alone(job)["init"]
    assert origin["sha256"] == sha256(copy)
    copy.unlink()
    longer = Job(settings_of(*SMALL, f"init={copy}"), tmp_path, [], resumes=True)
    result = train_alone(longer)
    assert (result["init"], result["steps"]) == (origin, 120)


def test_members_of_a_population_start_from_one_checkpoint_each(
    settings_of: Compose, trained: Path, tmp_path: Path
) -> None:
    paths = [trained / "checkpoints" / name for name in ("best", "last")]
    jobs = []
    for number, path in enumerate(paths):
        (tmp_path / str(number)).mkdir()
        words = (f"init={path}", f"seed={number}")
        jobs.append(Job(settings_of(*SMALL, *words), tmp_path / str(number), [], number))
    assert len({group_key(job.settings) for job in jobs}) == 1
    session = Session(jobs, "jobs 0-1")
    session.run.envs.close()
    for member, path in enumerate(paths):
        parameters = load_checkpoint(path)["parameters"]
        assert torch.equal(session.run.learner.state.parameters[member], parameters)
        origin = session.recorders[member].origin
        assert origin is not None
        assert origin["path"] == str(path)
    kept = [settings_of(*SMALL, f"init={path}", "init_replay=true") for path in paths]
    assert len({group_key(settings) for settings in kept}) == 2


def test_a_checkpoint_that_can_not_be_used_is_refused(
    begun: Begun, trained: Path, tmp_path: Path
) -> None:
    with refused("no checkpoint or run at nowhere"):
        begun("init=nowhere")
    best = stored(trained, "best")
    older = tmp_path / "older"
    save_checkpoint(older, {key: value for key, value in best.items() if key != "layout"})
    with refused("was written by an older dqn-train"):
        begun(f"init={older}")
    damaged = tmp_path / "damaged"
    damaged.write_bytes(older.read_bytes()[:-1] + b"x")
    with refused("is damaged: its checksum does not match"):
        begun(f"init={damaged}")
    for layout, reason in (
        (best["layout"][1:], "is damaged: layout has"),
        (best["layout"][:-1] + best["layout"][:1], "is damaged: layout names a parameter twice"),
        ([("a", (-1,))], "is damaged: layout[0].shape[0] is -1"),
    ):
        save_checkpoint(older, best | {"layout": layout})
        with refused(reason):
            begun(f"init={older}")
    data = stored(trained)
    save_checkpoint(older, data | {"stream": {}, "sampler": {}})
    with refused("has no replay, because of checkpoint.replay=false"):
        begun(f"init={older}", "init_replay=true")


def test_keys_that_need_a_checkpoint_say_so(settings_of: Compose) -> None:
    for key in ("init_optimizer", "init_replay"):
        with refused(f"{key}=true keeps a part of a checkpoint: name one with init=CHECKPOINT"):
            settings_of(f"{key}=true")
    with refused("replay=rollout learns from its own latest steps"):
        settings_of("agent=pqn", "init=a", "init_replay=true")
