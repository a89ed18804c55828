from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from conftest import PLAIN, PRESETS

from dqn_cli.agent.atari_cnns import Impala, Nature
from dqn_cli.config import gymnasium_source
from dqn_cli.config.errors import explain
from dqn_cli.config.paths import config_folder
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.envs import env_ids
from dqn_cli.envs.env_config import Vectorization
from dqn_cli.envs.preprocessing import Atari, Images
from dqn_cli.training.settings import Settings, plain

Compose = Callable[..., Settings]

PROTOCOLS = sorted(path.stem for path in (config_folder() / "protocol").glob("*.yaml"))
PONG = "env=ALE/Pong-v5"


# Every preset with the usual protocol, and every protocol with presets as unlike as can be.
TOGETHER = [("nature", preset) for preset in PRESETS] + [
    (protocol, preset)
    for protocol in PROTOCOLS
    for preset in ("dqn", "pqn", "drqn", "btr")
    if protocol != "nature"
]


@pytest.mark.parametrize(("protocol", "preset"), TOGETHER)
def test_protocols_and_agents_go_together_on_a_game(
    settings_of: Compose, protocol: str, preset: str
) -> None:
    pytest.importorskip("ale_py")
    words = [PONG, f"protocol={protocol}", f"agent={preset}"]
    if protocol in ("none", "image"):
        words.append("env.vectorization=sync")
    settings = settings_of(*words)
    kind = {"none": type(PLAIN), "image": Images}.get(protocol, Atari)
    assert type(settings.env.preprocess) is kind
    assert settings.env.id == "ALE/Pong-v5"
    assert settings.learning_starts < settings.steps
    assert stored_settings(plain(settings)) == settings


def test_a_game_begins_with_natures_rules(settings_of: Compose) -> None:
    pytest.importorskip("ale_py")
    settings = settings_of(PONG)
    assert settings.env == settings_of(PONG, "protocol=nature").env
    assert settings.env.vectorization is Vectorization.native
    assert type(settings.network) is Nature
    assert settings.target == settings_of("target=rare").target
    assert (settings.steps, settings.train_every) == (10_000_000, 4)
    assert settings.replay.batch_size == 32


def test_the_command_line_wins_over_what_games_share(settings_of: Compose) -> None:
    pytest.importorskip("ale_py")
    words = ("network=impala", "protocol=btr", "steps=7", "env.preprocess.size=40")
    settings = settings_of(*words, PONG, "target=soft", "env.vectorization=sync")
    assert type(settings.network) is Impala
    assert isinstance(settings.env.preprocess, Atari)
    assert (settings.env.preprocess.sticky, settings.env.preprocess.size) == (0.25, 40)
    assert settings.steps == 7
    assert settings.target == settings_of("target=soft").target
    assert settings.env.vectorization is Vectorization["sync"]


def test_observations_stay_as_they_are_by_default(settings_of: Compose) -> None:
    assert settings_of("env=Acrobot-v1").env.preprocess == PLAIN
    assert settings_of("env=Acrobot-v1", "env.preprocess.stack=3").env.preprocess.frames == 3


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if ale-py had never been installed."""
    monkeypatch.setattr(env_ids, "find_spec", lambda name: None)
    registered = gymnasium_source.registered_envs().items()
    known = {name: spec for name, spec in registered if not name.startswith("ALE/")}
    monkeypatch.setattr(gymnasium_source, "registered_envs", lambda: known)
    gymnasium_source.is_known.cache_clear()
    yield
    gymnasium_source.is_known.cache_clear()


def line_of(settings_of: Compose, *words: str) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        settings_of(*words)
    line = explain(caught.value)
    assert "\n" not in line
    return line


def test_without_the_extra_a_game_says_what_to_install(
    settings_of: Compose, without_extras: None
) -> None:
    line = line_of(settings_of, "env=ALE/Freeway-v5")
    assert line == "env=ALE/Freeway-v5 needs an extra: pip install 'dqn-train[atari]'"
    line = line_of(settings_of, "env=MinAtar/NoSuchGame-v1")
    assert line == "env=MinAtar/NoSuchGame-v1 needs an extra: pip install 'dqn-train[minatar]'"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("env=ALE/Pongg-v5", ["unknown environment ALE/Pongg-v5", "did you mean ALE/Pong-v5"]),
        ("env=ALE/Pong", ["unknown environment ALE/Pong;", "did you mean ALE/Pong-v5"]),
        (
            "env=Acrobot-v1 env.vectorization=native",
            ["env=Acrobot-v1", "no vector environment", "env.vectorization=sync", "module:make"],
        ),
        (
            "env.vectorization=native protocol=nature",
            ["env.vectorization=native", "games of ALE", "env.vectorization=sync"],
        ),
        (f"{PONG} protocol=none", ["env.vectorization=native", "env.vectorization=sync"]),
        (f"{PONG} protocol=image", ["env.vectorization=native", "env.vectorization=sync"]),
        (
            f"{PONG} +env.kwargs.mode=1 +env.kwargs.difficulty=2",
            ["env.kwargs (mode, difficulty)", "gymnasium.make", "env.vectorization=sync"],
        ),
        (f"{PONG} env.timeout=5", ["env.timeout", "ALE", "env.timeout=null"]),
        ("protocol=natur", ["unknown choice protocol=natur", "did you mean nature"]),
        ("env.preprocess.size=3", ["unknown key env.preprocess.size", "Preprocess", "stack"]),
        (f"{PONG} env.preprocess.sizee=3", ["env.preprocess.sizee", "Atari", "did you mean size"]),
        (f"{PONG} env.preprocess.size=0", ["env.preprocess.size=0", "at least 1"]),
        (f"{PONG} env.preprocess.sticky=2", ["env.preprocess.sticky=2", "at most 1"]),
        (f"{PONG} env.preprocess.noop_max=-1", ["env.preprocess.noop_max=-1", "at least 0"]),
        (f"{PONG} env.preprocess.frame_skip=0", ["env.preprocess.frame_skip=0", "at least 1"]),
        (f"{PONG} env.preprocess.max_frames=0", ["env.preprocess.max_frames=0", "at least 1"]),
        ("env.preprocess.stack=0", ["env.preprocess.stack=0", "at least 1"]),
        (
            "env.preprocess.clip_rewards=maybe",
            ["env.preprocess.clip_rewards", "maybe", "true or false"],
        ),
    ],
)
def test_an_error_is_one_line(settings_of: Compose, words: str, told: list[str]) -> None:
    if "ALE" in words:
        pytest.importorskip("ale_py")
    line = line_of(settings_of, *words.split())
    assert [word for word in told if word not in line] == []


def test_arguments_of_a_game_go_with_environments_in_series(settings_of: Compose) -> None:
    pytest.importorskip("ale_py")
    settings = settings_of(PONG, "+env.kwargs.mode=1", "env.vectorization=sync")
    assert settings.env.kwargs == {"mode": 1}
