from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn_cli.commands.arguments import hydra_words
from dqn_cli.commands.command_line import imported_modules, run_command
from dqn_cli.config import registry
from dqn_cli.config.current_command import Sweep
from dqn_cli.config.gymnasium_source import register_source
from dqn_cli.config.hydra_versions import compose_config
from dqn_cli.config.paths import config_folder
from dqn_cli.config.run_folders import register_resolvers
from dqn_cli.config.validation import settings_from
from dqn_cli.envs.preprocessing import Preprocess
from dqn_cli.training.settings import Settings


def pytest_configure() -> None:
    """Resets handlers of signals that tests send; a background shell ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Takes back the handlers of signals that a test, or its environment, has set."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM")
    before = {number: signal.getsignal(number) for number in (getattr(signal, n) for n in names)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    imported_modules.clear()  # modules of an earlier test's folder
    return tmp_path


@pytest.fixture
def type_train(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Types a dqn-train command in an empty folder and gives its exit code."""
    from dqn_cli.commands.train import dispatch

    monkeypatch.setattr("sys.argv", ["dqn-train"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def typed(*words: str) -> int:
        Sweep.folder = None
        return run_command(lambda: dispatch(list(words)))

    yield typed
    Sweep.folder = None


@pytest.fixture
def type_eval(in_folder: Path) -> Callable[..., int]:
    """Types a dqn-eval command and gives its exit code."""
    from dqn_cli.commands.evaluate import dispatch

    return lambda *words: run_command(lambda: dispatch(list(words)))


@pytest.fixture
def type_plot(in_folder: Path) -> Callable[..., int]:
    """Types a dqn-plot command and gives its exit code."""
    from dqn_cli.commands.plot import dispatch

    return lambda *words: run_command(lambda: dispatch(list(words)))


@pytest.fixture
def type_report(in_folder: Path) -> Callable[..., int]:
    """Types a dqn-report command and gives its exit code."""
    from dqn_cli.commands.report import dispatch

    return lambda *words: run_command(lambda: dispatch(list(words)))


@pytest.fixture(scope="module")
def settings_of() -> Callable[..., Settings]:
    """Composes settings from words as a user types them; the same words give the same object."""
    registry.register_schemas()
    register_source()
    register_resolvers()
    return composed


PLAIN = Preprocess(stack=1, clip_rewards=False)
PRESETS = sorted(path.stem for path in (config_folder() / "agent").glob("*.yaml"))

# What a choice needs besides itself.
STREAMING = (
    "replay=newest",
    "replay.capacity=2",
    "replay.batch_size=1",
    "replay.n_step=1",
    "train_every=1",
    "updates_per_train=1",
)
NEEDED = {
    "augment=shift": ("env=MinAtar/Breakout-v1",),
    "auxiliary=spr": ("env=MinAtar/Breakout-v1", "network=minatar"),
    "auxiliary=margin": ("data.path=somewhere",),
    "exploration=bootstrapped": ("head=ensemble",),
    "exploration=ladder": ("env.num_envs=2",),
    "exploration=noisy": ("network.noisy=true",),
    "head=c51": ("env.min_return=-100", "env.max_return=100"),
    "network=hadamax": ("env=MinAtar/Breakout-v1",),
    "network=hadamax_small": ("env=MinAtar/Breakout-v1",),
    "network=module": ("network.path=own_networks:Small",),
    "network=minatar": ("env=MinAtar/Breakout-v1",),
    "network=table": ("env=CliffWalking-v1",),
    "optimizer=obgd": STREAMING,
    "optimizer=trace_adam": STREAMING,
    "replay=newest": STREAMING[1:],
    "replay=rollout": ("target=none", "replay.n_step=1"),
}


GROUPS = {path.name for path in config_folder().iterdir() if path.is_dir()}


def is_value(word: str) -> bool:
    key = word.partition("=")[0]
    return key[0].isalpha() and not key.startswith("hydra.") and key not in GROUPS


@cache
def composed(*words: str) -> Settings:
    """Lets Hydra compose the choices, which is slow and cached, and sets the values itself."""
    config = deepcopy(chosen(*(word for word in words if not is_value(word))))
    try:
        for word in OverridesParser.create().parse_overrides([*filter(is_value, words)]):
            OmegaConf.update(config, word.key_or_group, word.value())
    except (HydraException, OmegaConfBaseException):
        config = chosen(*words)  # whose error is the one that users see
    return settings_from(config)


@cache
def chosen(*words: str) -> DictConfig:
    """Composes words as Hydra does for a user."""
    return compose_config(hydra_words(words))
