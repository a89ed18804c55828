"""Combinations of settings that make no sense; all others are allowed."""

from __future__ import annotations

from dqn_cli.agent.atari_cnns import AtariCnn
from dqn_cli.agent.clock import Unit
from dqn_cli.agent.exploration import Annealed, Noisy, PerEnvEpsilon
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.normalization import Normalization
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.table import Table
from dqn_cli.agent.target_networks import NoTarget
from dqn_cli.agent.update_rules import Dqn
from dqn_cli.config.annealing_limits import annealing_conflict
from dqn_cli.config.data_limits import data_conflict
from dqn_cli.config.ensemble_limits import ensemble_conflict
from dqn_cli.config.head_limits import head_conflict
from dqn_cli.config.native_limits import native_conflict
from dqn_cli.config.rules import Rule, first_conflict
from dqn_cli.config.streaming_limits import streaming_conflict
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.replay.samplers import Buffer
from dqn_cli.training.settings import Device, Precision, Settings


def find_conflict(settings: Settings) -> str | None:
    """Return why these settings make no sense together and what would, or None if they do."""
    return first_conflict(settings, RULES)


def _fraction_without_episodes(settings: Settings) -> str | None:
    exploration = settings.exploration
    if (
        isinstance(exploration, Annealed)
        and exploration.unit is Unit.episodes
        and exploration.duration <= 1
        and settings.episodes is None
    ):
        return (
            "exploration.duration is a fraction of the run's episodes, and episodes is null:"
            " set episodes=N, or a duration above 1"
        )
    return None


def _table_of_normalized(settings: Settings) -> str | None:
    normalize = settings.env.normalize
    if isinstance(settings.network, Table) and normalize is not Normalization.none:
        return (
            "network=table cuts observations into bins between their own bounds:"
            f" env.normalize={normalize.name} needs another network, or use env.normalize=none"
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


def _reset_without_layers(settings: Settings) -> str | None:
    if settings.reset.every is not None and not settings.network.has_features:
        return (
            f"reset.every resets a network's last layers, and"
            f" {type(settings.network).__name__} has none: use network=mlp, or reset.every=null"
        )
    return None


def _recycling_without_links(settings: Settings) -> str | None:
    network = settings.network
    if settings.reset.dormant is not None and not network.recycles:
        name, remedy = type(network).__name__, "network=multi"
        if isinstance(network, Mlp) and network.skip:
            name, remedy = "network.skip=true", "network.skip=false"
        return (
            f"reset.dormant begins units anew whose layers follow each other, and those of {name}"
            f" do not: use {remedy}, or reset.dormant=null"
        )
    return None


def _auxiliary_without_data(settings: Settings) -> str | None:
    needing = [name for name, part in settings.auxiliary.items() if part.needs_logged]
    if needing and (settings.data.path is None or not settings.data.keep):
        return (
            f"auxiliary={needing[0]} is for logged transitions that are told apart: give some with"
            " data=PATH and data.keep=true, or leave it out"
        )
    return None


def _auxiliary_without_observations(settings: Settings) -> str | None:
    named = settings.auxiliary.items()
    reading = [name for name, part in named if part.needs_observations]
    adding = [name for name, part in named if part.has_bonus]
    following = [name for name, part in named if part.following]
    if reading and isinstance(settings.network, Recurrent):
        return (
            f"auxiliary={reading[0]} reads single observations, and a recurrent network learns from"
            " sequences: use network=multi, or auxiliary=none"
        )
    if following and not isinstance(settings.replay, Buffer):
        return (
            f"auxiliary={following[0]} reads what follows a stored transition: use replay=uniform"
            " or prioritised, or auxiliary=none"
        )
    if adding and isinstance(settings.replay, Rollout):
        return (
            f"auxiliary={adding[0]} adds a bonus to rewards, and replay=rollout learns from whole"
            " returns: use replay=uniform, or auxiliary=none"
        )
    return None


def _epsilons_of_one_environment(settings: Settings) -> str | None:
    if isinstance(settings.exploration, PerEnvEpsilon) and settings.env.num_envs < 2:
        return (
            "exploration=ladder gives each environment its own epsilon, and there is only one:"
            " set env.num_envs to at least 2, or use exploration=constant"
        )
    return None


def _rollout_limits(settings: Settings) -> str | None:
    replay = settings.replay
    if not isinstance(replay, Rollout):
        return None
    requirements = {
        "update=dqn": isinstance(settings.update, Dqn),
        "target=none": isinstance(settings.target, NoTarget),
        "network=mlp": not isinstance(settings.network, Recurrent),
        "replay.n_step=1": replay.n_step == 1,
    }
    if missing := [word for word, is_met in requirements.items() if not is_met]:
        return (
            "replay=rollout learns from lambda returns of the latest steps, without a target"
            f" network or sequences: use {' '.join(missing)}, or replay=uniform"
        )
    if settings.train_every < settings.env.num_envs:
        return (
            f"replay=rollout learns from the steps since the last training, and"
            f" train_every={settings.train_every} is less than one step of each environment: use"
            f" at least {settings.env.num_envs}"
        )
    if not replay.batch_size <= settings.train_every or settings.train_every * 2 > replay.capacity:
        # The end of an episode takes one more slot, so a step takes at most two.
        return (
            f"replay=rollout needs replay.batch_size <= train_every <= half of replay.capacity;"
            f" they are {replay.batch_size}, {settings.train_every} and {replay.capacity}"
        )
    return None


def _bfloat16_of_float64(settings: Settings) -> str | None:
    network = settings.network
    has_bfloat16 = isinstance(network, AtariCnn) and network.bfloat16
    if has_bfloat16 and settings.dtype is not Precision.float32:
        return "network.bfloat16=true needs dtype=float32: float64 stays float64"
    return None


def _compile_limits(settings: Settings) -> str | None:
    if settings.compile not in ("auto", True, False):
        return f"compile={settings.compile} must be auto, true or false"
    if settings.compile is True and settings.device not in (Device.auto, Device.cpu):
        device = settings.device.name
        return f"compile=true is only for the CPU: device={device} needs compile=auto or false"
    return None


def _threads_limits(settings: Settings) -> str | None:
    threads = settings.threads
    if threads != "auto" and not (isinstance(threads, int) and threads >= 1):
        return f"threads={threads} must be auto or a number of at least 1"
    return None


def _stop_without_evaluations(settings: Settings) -> str | None:
    stop = settings.stop
    keys = {"stop.at": stop.at, "stop.patience": stop.patience}
    if settings.eval.every is None and (typed := [key for key in keys if keys[key] is not None]):
        unset = " ".join(f"{key}=null" for key in typed)
        return (
            f"{' and '.join(typed)} need evaluations, and eval.every is null: set eval.every=N, or"
            f" {unset}"
        )
    return None


def _films_without_evaluations(settings: Settings) -> str | None:
    if settings.video and settings.eval.every is None:
        return (
            "video=true films evaluations, and eval.every is null: set eval.every=N, or video=false"
        )
    return None


def _kept_without_init(settings: Settings) -> str | None:
    typed = {"init_optimizer": settings.init_optimizer, "init_replay": settings.init_replay}
    keys = [key for key, is_typed in typed.items() if is_typed]
    if keys and settings.init is None:
        return f"{keys[0]}=true keeps a part of a checkpoint: name one with init=CHECKPOINT"
    if settings.init_replay and isinstance(settings.replay, Rollout):
        return "replay=rollout learns from its own latest steps: use init_replay=false"
    return None


RULES: tuple[Rule, ...] = (
    _threads_limits,
    _compile_limits,
    native_conflict,
    _bfloat16_of_float64,
    _fraction_without_episodes,
    _table_of_normalized,
    head_conflict,
    _noise_without_noisy_layers,
    _reset_without_layers,
    _recycling_without_links,
    annealing_conflict,
    _auxiliary_without_data,
    _auxiliary_without_observations,
    _epsilons_of_one_environment,
    _rollout_limits,
    _stop_without_evaluations,
    _films_without_evaluations,
    _kept_without_init,
    data_conflict,
    streaming_conflict,
    ensemble_conflict,
)
