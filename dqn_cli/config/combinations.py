"""Choices that make no sense together; everything that is not named here goes together."""

from __future__ import annotations

from collections.abc import Callable

from dqn_cli.agent.atari_cnns import Pixels
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.clock import Unit
from dqn_cli.agent.exploration import Ladder, Linear, Noisy
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.quantiles import Iqn
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.table import Table
from dqn_cli.agent.target_networks import NoTarget
from dqn_cli.agent.update_rules import Dqn
from dqn_cli.envs.env_config import Vectorization, is_ale
from dqn_cli.envs.preprocessing import Atari
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.replay.samplers import MemoryDevice
from dqn_cli.training.settings import Device, Precision, Settings

Rule = Callable[[Settings], str | None]


def refusal(settings: Settings) -> str | None:
    """Why these settings make no sense together, and what would; None if they do."""
    return next((reason for rule in RULES if (reason := rule(settings))), None)


def _fraction_of_no_episodes(settings: Settings) -> str | None:
    exploration = settings.exploration
    if (
        isinstance(exploration, Linear)
        and exploration.unit is Unit.episodes
        and exploration.duration <= 1
        and settings.episodes is None
    ):
        return (
            "exploration.duration is a fraction of the run's episodes, and episodes is null:"
            " set episodes=N, or a duration above 1"
        )
    return None


def _empty_support(settings: Settings) -> str | None:
    head = settings.head
    if isinstance(head, C51) and head.v_min >= head.v_max:
        return f"head=c51 needs v_min below v_max; they are {head.v_min:g} and {head.v_max:g}"
    return None


def _loss_of_a_distribution(settings: Settings) -> str | None:
    if settings.update.loss is Loss.squared and not isinstance(settings.head, Scalar):
        return (
            "update.loss=squared is for head=scalar: quantiles have the Huber loss, and c51 the"
            " divergence of distributions; leave update.loss=huber"
        )
    return None


def _quantiles_without_features(settings: Settings) -> str | None:
    if isinstance(settings.head, Iqn) and not settings.network.has_features:
        return (
            f"head=iqn combines its quantile levels with a network's features, and"
            f" {type(settings.network).__name__} has none: use network=mlp or head=qr"
        )
    return None


def _noise_without_noisy_layers(settings: Settings) -> str | None:
    if isinstance(settings.exploration, Noisy) and not settings.network.is_noisy:
        network = "network=mlp " if isinstance(settings.network, Table) else ""
        return (
            f"exploration=noisy needs noisy layers: use {network}network.noisy=true, or"
            " exploration=linear"
        )
    return None


def _reset_of_no_layers(settings: Settings) -> str | None:
    if settings.reset.every is not None and not settings.network.has_features:
        return (
            f"reset.every starts a network's last layers anew, and"
            f" {type(settings.network).__name__} has none: use network=mlp, or reset.every=null"
        )
    return None


def _ladder_of_one_rung(settings: Settings) -> str | None:
    if isinstance(settings.exploration, Ladder) and settings.env.num_envs < 2:
        return (
            "exploration=ladder gives each environment an epsilon of its own, and there is one:"
            " set env.num_envs to at least 2, or use exploration=constant"
        )
    return None


def _rollout(settings: Settings) -> str | None:
    replay = settings.replay
    if not isinstance(replay, Rollout):
        return None
    fits = {
        "update=dqn": isinstance(settings.update, Dqn),
        "target=none": isinstance(settings.target, NoTarget),
        "network=mlp": not isinstance(settings.network, Recurrent),
        "replay.device=cpu": replay.device is MemoryDevice.cpu,
        "replay.n_step=1": replay.n_step == 1,
    }
    if missing := [word for word, true in fits.items() if not true]:
        return (
            "replay=rollout learns from lambda returns of the latest steps, without a target"
            f" network or sequences: use {' '.join(missing)}, or replay=uniform"
        )
    if settings.train_every < settings.env.num_envs:
        return (
            f"replay=rollout learns from the steps since the last training, and"
            f" train_every={settings.train_every} is less than one of each environment: use at"
            f" least {settings.env.num_envs}"
        )
    if not replay.batch_size <= settings.train_every or settings.train_every * 2 > replay.capacity:
        # An episode's end takes a slot of its own: half of them, where every step ends one.
        return (
            f"replay=rollout needs replay.batch_size <= train_every <= half of replay.capacity;"
            f" they are {replay.batch_size}, {settings.train_every} and {replay.capacity}"
        )
    return None


def _half_of_doubles(settings: Settings) -> str | None:
    network = settings.network
    if isinstance(network, Pixels) and network.bfloat16 and settings.dtype is not Precision.float32:
        return "network.bfloat16=true is for dtype=float32: float64 would be computed as it is"
    return None


def _native(settings: Settings) -> str | None:
    env = settings.env
    if env.vectorization is not Vectorization.native:
        return None
    if not (isinstance(env.preprocess, Atari) and is_ale(env.id)):
        return (
            "env.vectorization=native is for the games of ALE with their protocols"
            " (protocol=nature, ...): use env.vectorization=sync"
        )
    if env.kwargs:
        words = ", ".join(env.kwargs)
        return (
            f"env.kwargs ({words}) are for gymnasium.make, which env.vectorization=native does"
            " without: use env.vectorization=sync"
        )
    return None


def _compile(settings: Settings) -> str | None:
    if settings.compile not in ("auto", True, False):
        return f"compile={settings.compile} must be auto, true or false"
    if settings.compile is True and settings.device not in (Device.auto, Device.cpu):
        device = settings.device.name
        return f"compile=true is for the CPU alone: device={device} needs compile=auto or false"
    return None


def _threads(settings: Settings) -> str | None:
    threads = settings.threads
    if threads != "auto" and not (isinstance(threads, int) and threads >= 1):
        return f"threads={threads} must be auto or a number of at least 1"
    return None


RULES: tuple[Rule, ...] = (
    _threads,
    _compile,
    _native,
    _half_of_doubles,
    _fraction_of_no_episodes,
    _empty_support,
    _loss_of_a_distribution,
    _quantiles_without_features,
    _noise_without_noisy_layers,
    _reset_of_no_layers,
    _ladder_of_one_rung,
    _rollout,
)
