from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PRESETS
from hydra.core.object_type import ObjectType

from dqn_cli.agent.optimizers import Schedule
from dqn_cli.config.errors import explain
from dqn_cli.config.gymnasium_source import register_source
from dqn_cli.config.paths import config_folder
from dqn_cli.config.tuned_source import ANY, TunedSource
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
FOLDER = config_folder() / "tuned"
FILES = sorted(
    path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/*.yaml")
)
# What an environment is, how long it is trained on, and how it is judged.
ENV_KEYS = {"defaults", "env", "steps", "episodes", "eval", "checkpoint", "log"}


@pytest.fixture
def own_folder(tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    """Writes a file of the user's own, and gives the word that names its folder."""

    def write(name: str, text: str) -> str:
        file = tmp_path / "tuned" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# @package _global_\n{text}")
        register_source([f"file://{tmp_path}"])
        return f"hydra.searchpath=[file://{tmp_path}]"

    yield write
    register_source()


def source() -> TunedSource:
    return TunedSource("dqn-train", "tuned://")


def test_a_pair_without_a_file_has_the_settings_of_any_agent(settings_of: Compose) -> None:
    double = settings_of("agent=double", "env=CartPole-v1")
    numbers = (double.train_every, double.updates_per_train, double.replay.n_step)
    assert numbers == (256, 128, 5)
    assert (double.optimizer.lr, double.optimizer.schedule) == (2.3e-3, Schedule.linear)
    assert double.tuned == "CartPole-v1/any"


@pytest.mark.parametrize("agent", ["rainbow", "rainbow_iqn", "btr"])
def test_an_agent_whose_paper_has_three_steps_keeps_them(settings_of: Compose, agent: str) -> None:
    settings = settings_of(f"agent={agent}", "env=CartPole-v1")
    assert (settings.replay.n_step, settings.updates_per_train) == (3, 128)
    assert settings.tuned == f"CartPole-v1/{agent}"


def test_tuned_settings_win_over_an_agent_of_n_steps(settings_of: Compose) -> None:
    assert settings_of("agent=n_step", "env=CartPole-v1").replay.n_step == 5
    assert settings_of("agent=n_step", "env=CartPole-v1", "tuned=none").replay.n_step == 3


def test_without_tuned_settings_an_agent_is_that_of_its_paper_on_any_environment(
    settings_of: Compose,
) -> None:
    numbers = [
        (settings.replay, settings.optimizer, settings.train_every, settings.gamma, settings.tuned)
        for settings in (
            settings_of("tuned=none", f"env={env}")
            for env in ("CartPole-v1", "MountainCar-v0", "LunarLander-v3", "Blackjack-v1")
        )
    ]
    assert numbers == [numbers[0]] * 4


def test_games_of_a_namespace_share_files(settings_of: Compose) -> None:
    pytest.importorskip("minatar")
    assert settings_of("env=MinAtar/Breakout-v1").tuned == "MinAtar/any"
    pqn = settings_of("env=MinAtar/Seaquest-v1", "agent=pqn")
    assert (pqn.tuned, pqn.learning_starts, pqn.replay.batch_size) == ("MinAtar/pqn", 0, 32)
    pytest.importorskip("ale_py")
    assert settings_of("env=ALE/Pong-v5").tuned == "ALE/any"


def test_an_environment_without_files_has_no_tuned_settings(settings_of: Compose) -> None:
    assert settings_of("env=Blackjack-v1").tuned is None


def test_another_pairs_file_can_be_named(settings_of: Compose) -> None:
    settings = settings_of("env=Blackjack-v1", "tuned=LunarLander-v3/any")
    assert (settings.tuned, settings.replay.batch_size) == ("LunarLander-v3/any", 128)


@pytest.mark.parametrize("name", ["foo", "CartPole-v1/nobody", "auto/CartPole-v1/dqn"])
def test_an_unknown_name_lists_the_known_ones(settings_of: Compose, name: str) -> None:
    with pytest.raises(Exception, match="tuned") as caught:
        settings_of(f"tuned={name}")
    text = explain(caught.value)
    assert text.startswith(f"unknown choice tuned={name}: tuned is one of ALE/")
    assert "auto, none" in text


@pytest.mark.parametrize("word", ["~tuned", "~agent"])
def test_leaving_a_group_out_names_the_word_that_is_right(settings_of: Compose, word: str) -> None:
    with pytest.raises(Exception, match="interpolation") as caught:
        settings_of(word)
    assert "use tuned=none" in explain(caught.value)


def test_a_users_file_wins_and_has_a_name(
    settings_of: Compose, own_folder: Callable[[str, str], str]
) -> None:
    path = own_folder("CartPole-v1/any", "gamma: 0.5\n")
    settings = settings_of(path)
    assert (settings.gamma, settings.replay.n_step) == (0.5, 1)
    assert settings.tuned == "CartPole-v1/any"


def test_a_users_file_can_extend_one_of_ours(
    settings_of: Compose, own_folder: Callable[[str, str], str]
) -> None:
    path = own_folder(
        "CartPole-v1/c51", "defaults: [/tuned/CartPole-v1/any, _self_]\ngamma: 0.25\n"
    )
    settings = settings_of(path, "agent=c51")
    assert (settings.gamma, settings.replay.n_step) == (0.25, 5)
    assert settings.tuned == "CartPole-v1/c51"


def test_the_module_of_an_id_is_no_part_of_the_files_name(
    settings_of: Compose, own_folder: Callable[[str, str], str]
) -> None:
    path = own_folder("Blackjack-v1/dqn", "gamma: 0.75\n")
    settings = settings_of(path, "env=gymnasium.envs.toy_text:Blackjack-v1")
    assert (settings.gamma, settings.tuned) == (0.75, "Blackjack-v1/dqn")


def test_a_named_file_can_choose_parts(
    settings_of: Compose, own_folder: Callable[[str, str], str]
) -> None:
    text = "defaults: [override /target: soft]\ntarget:\n  tau: 0.5\n"
    settings = settings_of(own_folder("soft", text), "tuned=soft")
    assert getattr(settings.target, "tau", None) == 0.5


def test_a_key_that_a_typed_choice_lacks_is_refused_with_a_way_out(
    settings_of: Compose, own_folder: Callable[[str, str], str]
) -> None:
    path = own_folder("CartPole-v1/dqn", "target:\n  every: 7\n")
    with pytest.raises(Exception, match="every") as caught:
        settings_of(path, "target=soft")
    text = explain(caught.value)
    assert text.startswith("unknown key target.every: target is Soft and has tau")
    assert text.endswith("tuned=none leaves out tuned settings")


def test_a_copy_in_a_new_process_knows_the_users_files(
    own_folder: Callable[[str, str], str],
) -> None:
    own_folder("Mine-v0/dqn", "gamma: 0.5\n")
    copied = pickle.dumps(source())
    register_source()
    assert not source().is_config("tuned/Mine-v0/dqn")
    assert pickle.loads(copied).is_config("tuned/Mine-v0/dqn")


def test_only_tuned_settings_are_known_here() -> None:
    assert source().is_group("tuned")
    assert not source().is_group("env")
    assert not source().is_config("env/CartPole-v1")
    assert not source().is_config("CartPole-v1/any")
    assert {*FILES, "auto", "none"} == {*source().list("tuned", ObjectType.CONFIG)}
    assert source().list("env", None) == source().list("tuned", ObjectType.GROUP) == []
    assert source().list("", None) == ["tuned"]


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_of_a_pair_and_composes(settings_of: Compose, name: str) -> None:
    env_id, agent = name.split("/")
    assert agent in (ANY, *PRESETS)
    games = {"ALE": "ALE/Pong-v5", "MinAtar": "MinAtar/Breakout-v1"}
    for package in {"ALE": ["ale_py"], "MinAtar": ["minatar"]}.get(env_id, []):
        pytest.importorskip(package)
    preset = "dqn" if agent == ANY else agent
    assert settings_of(f"env={games.get(env_id, env_id)}", f"agent={preset}").tuned == name


@pytest.mark.parametrize("file", sorted((config_folder() / "env").rglob("*.yaml")), ids=str)
def test_a_file_of_an_environment_sets_no_numbers_of_algorithms(file: Path) -> None:
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    assert content.keys() <= ENV_KEYS


@pytest.mark.parametrize(
    ("text", "gamma"), [("gamma: 0.5", 0.5), ("", 0.99), ("# nothing yet", 0.99)]
)
def test_a_file_needs_no_header(
    settings_of: Compose, tmp_path: Path, own_folder: Any, text: str, gamma: float
) -> None:
    word = own_folder("Acrobot-v1/any", "")
    (tmp_path / "tuned" / "Acrobot-v1" / "any.yaml").write_text(text)
    settings = settings_of("env=Acrobot-v1", word)
    assert (settings.gamma, settings.tuned) == (gamma, "Acrobot-v1/any")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "any.yaml has no keys: write a line for each"),
        (b"\xff\xfeg\x00", "any.yaml can't be read: 'utf-8' codec"),
        (b"# @package optimizer\nlr: 1\n", "its first line must be # @package _global_"),
        (b"optimizer:\n\tlr: 1\n", "any.yaml, line 2: found character"),
        (b"gamma: 1\ngamma: 0.9\n", "any.yaml, line 2: found duplicate key gamma"),
        (b"gamma: 1\n---\ngamma: 0.9\n", "any.yaml, line 2: but found another document"),
        (b"gamma: !!python/name:os.system 1\n", "any.yaml, line 1: could not determine"),
        (b"hello\n", "unknown key hello: a run has env"),
        (
            b"# @package _global_\ndefaults: [override /agent: rainbow]\n",
            "tuned/Acrobot-v1/any can't choose parts with `override`: type them",
        ),
    ],
)
def test_a_file_that_has_no_settings_is_named(
    settings_of: Compose, tmp_path: Path, own_folder: Any, content: bytes, message: str
) -> None:
    word = own_folder("Acrobot-v1/any", "")
    (tmp_path / "tuned" / "Acrobot-v1" / "any.yaml").write_bytes(content)
    with pytest.raises(Exception) as error:  # noqa: PT011
        settings_of("env=Acrobot-v1", word)
    assert message in explain(error.value)
    assert "HYDRA_FULL_ERROR" not in explain(error.value)
