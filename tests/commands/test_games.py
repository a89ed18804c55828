"""Runs on pixels: games of Atari, and pictures of any environment."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import dqn_cli
from dqn_cli import memory
from dqn_cli.envs import env_config, native_atari
from dqn_cli.envs.environments import Environments
from dqn_cli.evaluation import play as play_module
from dqn_cli.evaluation.atari_scores import human_normalised_score
from dqn_cli.runs.job import Job
from dqn_cli.runs.session import Session
from dqn_cli.storage import load_checkpoint, save_checkpoint
from dqn_cli.training.settings import Settings

Typed = Callable[..., int]

PONG, BREAKOUT = "env=ALE/Pong-v5", "env=ALE/Breakout-v5"
SMALL = (
    "env.preprocess.size=40", "network.widths=[8]", "steps=60", "learning_starts=20",
    "replay.capacity=200", "replay.batch_size=4", "eval.episodes=1", "eval.max_episode_steps=5",
    "threads=1", "hydra.run.dir=run",
)  # fmt: skip
# What a preset needs to be small and soon done.
OWN = {
    "pqn": ("env.num_envs=2", "train_every=16", "updates_per_train=2"),
    "drqn": ("network.length=3", "network.burn_in=1", "network.units=4"),
}


def written(path: str) -> Any:
    return json.loads(Path(path).read_text())


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


# Those whose replay or network is a world of its own; what else makes presets differ sees no game.
@pytest.mark.parametrize("preset", ["dqn", "rainbow", "pqn", "drqn", "btr"])
def test_every_kind_of_agent_learns_from_a_game(
    type_train: Typed, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    channels = () if preset == "drqn" else ("network.channels=[2,2,2]",)
    assert type_train(PONG, f"agent={preset}", *SMALL, *channels, *OWN.get(preset, ())) == 0
    result = written("run/result.json")
    assert result["status"] == "finished"
    assert result["updates"] >= 2
    assert result["preprocess"]["type"] == "Atari"
    assert result["preprocess"]["size"] == 40
    for name in ("best", "final"):
        score = result[name]
        assert score["human_normalised"] == human_normalised_score("ALE/Pong-v5", score["mean"])
    data = load_checkpoint(Path("run/checkpoints/last"))
    # A frame is stored once, though each observation has four.
    assert data["stream"]["obs"].shape[2:] == (40, 40)
    assert data["stream"]["obs"].dtype == torch.uint8


@pytest.mark.parametrize(
    "words",
    [
        ("network=impala", "network.channels=[2,3]", "network.pool=3"),
        ("network=impala", "network.channels=[2]", "network.spectral_norm=true", "network.scale=2"),
        ("network=nature", "network.channels=[2,2]", "network.bfloat16=true"),
        ("network=mlp", "env.preprocess.grayscale=false", "env.preprocess.stack=2"),
        ("network=nature", "network.channels=[2,2]", "env.preprocess.grayscale=false"),
        ("protocol=btr", "network.channels=[2,2]", "env.num_envs=3", "train_every=3"),
        ("protocol=dopamine", "network.channels=[2]", "env.vectorization=sync"),
        ("protocol=cleanrl", "network.channels=[2]", "env.vectorization=async", "env.num_envs=2"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_networks_and_rules_go_together(type_train: Typed, words: tuple[str, ...]) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    assert type_train(BREAKOUT, *SMALL, *words) == 0
    assert written("run/result.json")["updates"] >= 2


class Cut(KeyboardInterrupt):
    """Ends a run as a kill does: nothing is saved any more."""


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int, how: str) -> Callable[[], None]:
    """Ends the run in this step of its environments; what is returned takes that back."""
    real, taken = Environments.step, [0]

    def stepped(self: Environments, action: Any) -> Any:
        taken[0] += 1
        if taken[0] == step:
            if how == "killed":
                raise Cut
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, action)

    monkeypatch.setattr(Environments, "step", stepped)
    return lambda: monkeypatch.setattr(Environments, "step", real)


RUN = (
    BREAKOUT, "env.num_envs=3", "env.preprocess.size=36", "env.preprocess.sticky=0.25",
    "network.channels=[2]", "network.widths=[8]", "steps=1200", "learning_starts=90",
    "train_every=6", "replay.capacity=600", "replay.batch_size=4", "eval.episodes=1",
    "eval.max_episode_steps=5", "eval.every=10000", "checkpoint.every=300", "log.every=150",
    "target.every=120", "threads=1",
)  # fmt: skip


def check_same_bits(one: str, other: str) -> None:
    whole, parts = (load_checkpoint(Path(name, "checkpoints/last")) for name in (one, other))
    assert whole["clock"] == parts["clock"]
    assert whole["snapshots"] == parts["snapshots"]
    assert whole["tracker"]["returns"] == parts["tracker"]["returns"]
    assert len(whole["tracker"]["returns"]) >= 5
    for part in ("learner", "stream", "sampler", "random"):
        assert whole[part].keys() == parts[part].keys()
        for name, values in whole[part].items():
            if isinstance(values, torch.Tensor):
                assert torch.equal(values, parts[part][name]), (part, name)
            else:
                assert values == parts[part][name], (part, name)
    best = [load_checkpoint(Path(name, "checkpoints/best")) for name in (one, other)]
    assert torch.equal(best[0]["parameters"], best[1]["parameters"])


def test_a_run_that_was_cut_goes_on_to_the_same_bits(
    type_train: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    monkeypatch.setattr(native_atari, "MIN_STEPS_PER_SEED", 150)
    agents = ("agent=per", "replay.n_step=3", "network.noisy=true")
    assert type_train(*RUN, *agents, "hydra.run.dir=whole") == 0
    for how, code, step in (("stopped", 143, 1011), ("killed", 130, 900)):
        give_back = cut_at(monkeypatch, 337, how)
        assert type_train(*RUN, *agents, f"hydra.run.dir={how}") == code
        give_back()
        before = load_checkpoint(Path(how, "checkpoints/last"))
        assert before["clock"][0] == step
        assert max(seed_number for seed_number, _ in before["snapshots"]) > 0
        assert len({len(actions) for _, actions in before["snapshots"]}) > 1
        assert type_train(f"resume={how}") == 0
        check_same_bits("whole", how)


def test_side_by_side_each_learns_what_it_learns_alone(
    settings_of: Callable[..., Settings], in_folder: Path
) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    settings = settings_of(*RUN, "steps=300", "agent=double")

    def job(name: str, seed: int) -> Job:
        Path(name).mkdir(parents=True)
        return Job(replace(settings, seed=seed), Path(name), [], seed)

    Session([job(f"together/{seed}", seed) for seed in (0, 1)], "jobs")()
    for seed in (0, 1):
        Session([job(f"alone/{seed}", seed)])()
        mine, yours = (
            load_checkpoint(Path(how, str(seed), "checkpoints/last"))
            for how in ("together", "alone")
        )
        assert mine["clock"] == yours["clock"]
        for name in ("obs", "action", "reward"):
            assert torch.equal(mine["stream"][name], yours["stream"][name])
        torch.testing.assert_close(mine["parameters"], yours["parameters"])


def test_evaluating_more_often_changes_nothing(type_train: Typed) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    words = (*RUN, "steps=240")
    assert type_train(*words, "hydra.run.dir=seldom") == 0
    assert type_train(*words, "eval.every=60", "log.every=30", "hydra.run.dir=often") == 0
    one, other = (load_checkpoint(Path(name, "checkpoints/last")) for name in ("seldom", "often"))
    assert torch.equal(one["parameters"], other["parameters"])


@pytest.fixture
def game(type_train: Typed) -> str:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    assert type_train(BREAKOUT, *SMALL, "network.channels=[2]", "env.preprocess.sticky=0.25") == 0
    return "run"


def test_a_game_is_evaluated_by_its_own_rules(
    game: str, type_eval: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play_module, "MAX_PARALLEL_ENVS", 2)
    assert type_eval(f"checkpoint={game}", "episodes=3") == 0
    found = written("run/checkpoints/evaluation.json")
    assert found["env"] == "ALE/Breakout-v5"
    assert found["protocol"]["preprocess"] == written("run/result.json")["preprocess"]
    assert found["protocol"]["preprocess"]["sticky"] == 0.25
    assert found["protocol"]["max_episode_steps"] == 5
    assert found["lengths"] == [5, 5, 5]
    assert found["human_normalised"] == human_normalised_score("ALE/Breakout-v5", found["mean"])


def test_environments_other_than_games_have_no_human_score(
    type_train: Typed, type_eval: Typed
) -> None:
    words = ("network.widths=[4]", "steps=60", "eval.episodes=1", "hydra.run.dir=run")
    assert type_train(*words) == 0
    assert type_eval("checkpoint=run", "episodes=2") == 0
    assert written("run/checkpoints/evaluation.json")["human_normalised"] is None
    result = written("run/result.json")
    plain = {"type": "Preprocess", "stack": 1, "clip_rewards": False, "channels": "auto"}
    assert result["preprocess"] == plain
    assert result["final"].get("human_normalised") is None


def test_a_loaded_policy_takes_what_the_wrappers_give(game: str) -> None:
    policy = dqn_cli.load_policy("run")
    assert policy(np.zeros((4, 40, 40), np.uint8)) in range(4)
    for other in ((40, 40, 4), (210, 160, 3)):
        with pytest.raises(
            ValueError,
            match=re.escape(f"shape {list(other)}; declared is [40, 40]; this policy takes"),
        ):
            policy(np.zeros(other, np.uint8))


def test_a_checkpoint_of_other_pictures_is_refused(
    game: str, type_eval: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    best = Path("run/checkpoints/best")
    data = load_checkpoint(best)
    data["settings"]["env"]["preprocess"]["size"] = 44
    save_checkpoint(best, data)
    assert type_eval("checkpoint=run", "episodes=1") == 1
    assert "44" in last_line(capsys)


def test_a_game_can_be_recorded(game: str, type_eval: Typed) -> None:
    moviepy = pytest.importorskip("moviepy")
    assert type_eval("checkpoint=run", "episodes=1", "video=true") == 0
    (film,) = Path("run").rglob("*.mp4")
    with moviepy.VideoFileClip(str(film)) as clip:
        picture = clip.get_frame(0)
    assert picture.shape == (210, 160, 3)
    assert picture.std() > 1


class Meadow(gymnasium.Env[Any, Any]):
    """A spot in a picture that an action moves; right is paid."""

    observation_space = spaces.Box(0, 255, (20, 24, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._spot = int(self.np_random.integers(8, 16))
        return self._picture(), {}

    def step(self, action: Any) -> Any:
        self._spot += 2 * int(action) - 1
        return self._picture(), float(action), not 0 < self._spot < 23, False, {}

    def _picture(self) -> Any:
        picture = np.zeros((20, 24, 3), np.uint8)
        picture[:, self._spot] = 255
        return picture


@pytest.fixture
def meadow() -> Iterator[str]:
    gymnasium.register("Meadow-v0", Meadow, max_episode_steps=30)
    yield "env=Meadow-v0"
    del gymnasium.registry["Meadow-v0"]


@pytest.mark.parametrize(
    "words",
    [
        ("network=nature", "network.channels=[2,2]"),
        ("network=impala", "network.channels=[2,2]", "env.preprocess.grayscale=false"),
        ("network=nature", "network.channels=[2]", "env.preprocess.stack=1"),
        ("network=mlp", "env.preprocess.frame_skip=2"),
        ("network=gru", "network.length=3", "network.burn_in=1", "network.units=4"),
        ("network=nature", "network.channels=[2]", "env.vectorization=async", "env.num_envs=2"),
    ],
    ids=lambda words: " ".join(words),
)
def test_pictures_of_any_environment_are_learned_from(
    type_train: Typed, type_eval: Typed, meadow: str, words: tuple[str, ...]
) -> None:
    pytest.importorskip("cv2")
    assert type_train(meadow, "protocol=image", *words, *SMALL) == 0
    result = written("run/result.json")
    assert result["updates"] >= 2
    assert result["preprocess"]["type"] == "Images"
    assert type_eval("checkpoint=run", "episodes=2") == 0


def test_a_run_on_pictures_goes_on_to_the_same_bits(type_train: Typed, meadow: str) -> None:
    pytest.importorskip("cv2")
    words = (*SMALL[:-1], "network=nature", "network.channels=[2]", "exploration.duration=50")
    words = (meadow, "protocol=image", *words, "optimizer.schedule=constant")
    assert type_train(*words, "steps=120", "hydra.run.dir=whole") == 0
    assert type_train(*words, "steps=77", "hydra.run.dir=parts") == 0
    assert type_train("resume=parts", "steps=120") == 0
    whole, parts = (load_checkpoint(Path(name, "checkpoints/last")) for name in ("whole", "parts"))
    assert torch.equal(whole["parameters"], parts["parameters"])
    assert torch.equal(whole["stream"]["obs"], parts["stream"]["obs"])


def test_pictures_without_a_protocol_are_learned_from_too(
    type_train: Typed, meadow: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_train(meadow, "network=nature", "network.channels=[2]", *SMALL[1:]) == 0
    data = load_checkpoint(Path("run/checkpoints/last"))
    assert data["stream"]["obs"].shape[2:] == (20, 24, 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["protocol=image"], "protocol=image needs images"),
        ([PONG, "env.preprocess.size=20"], "needs larger images"),
        ([PONG, "network.channels=[2,2,2,2]"], "nature has at most 3"),
    ],
)
def test_impossible_settings_are_one_line(
    type_train: Typed, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    assert type_train("steps=200", *words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    assert told in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_a_network_that_knows_no_frames_refuses_them(
    type_train: Typed, meadow: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2")
    words = ("network=minatar", "network.channels=[2]")
    assert type_train(meadow, "protocol=image", *words, *SMALL) == 1
    assert "network=minatar" in last_line(capsys)


def test_without_opencv_it_says_what_to_install(
    type_train: Typed,
    meadow: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(env_config, "find_spec", lambda name: None)
    assert type_train(meadow, "protocol=image", "steps=50") == 1
    assert "pip install 'dqn-train[image]'" in last_line(capsys)


@pytest.mark.parametrize("words", [(PONG, "network.channels=[2]"), ()], ids=["frames", "vectors"])
def test_a_buffer_that_does_not_fit_is_refused_with_a_number_that_does(
    type_train: Typed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    small = ("network.widths=[8]", "steps=20", "eval.episodes=1", "eval.max_episode_steps=5")
    monkeypatch.setattr(memory, "free_bytes", lambda device="cpu": 20_000_000)
    assert type_train(*words, *small, "replay.capacity=1e7") == 1
    line = last_line(capsys)
    found = re.search(r"replay\.capacity=(\d+) fits", line)
    assert found is not None
    assert line.startswith("error: replay.capacity=10000000 needs ")
    assert int(found[1]) > 1000
    assert type_train(*words, *small, f"replay.capacity={found[1]}") == 0


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize(
    "words", [(PONG, "env.num_envs=2"), ("env.vectorization=async",)], ids=["native", "async"]
)
def test_nothing_is_left_running_after_a_refusal(type_train: Typed, words: tuple[str, ...]) -> None:
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    gc.collect()
    running = threads()
    assert type_train(*words, "network=nature", "network.channels=[1,1,1,1]") == 1
    assert threads() <= running
    assert not multiprocessing.active_children()
