"""Settings that make no sense with streaming: traces, no replay, running scales of rewards."""

from __future__ import annotations

from dqn_cli.agent.heads import Scalar
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.traces import TraceOptimizer
from dqn_cli.config.rules import first_conflict
from dqn_cli.replay.newest import Newest
from dqn_cli.training.settings import Settings


def streaming_conflict(settings: Settings) -> str | None:
    """Return why settings of streaming make no sense and what would, or None if they do."""
    return first_conflict(settings, (_trace_limits, _replay_limits, _reward_limits))


def _replay_limits(settings: Settings) -> str | None:
    replay = settings.replay
    if not isinstance(replay, Newest):
        return None
    requirements = {
        "replay.n_step=1": replay.n_step == 1,
        "anneal.n_step.start=null": settings.anneal.n_step.start is None,
        "replay.batch_size=1": replay.batch_size == 1,
        "replay.capacity=2": replay.capacity == 2,
        "env.num_envs=1": settings.env.num_envs == 1,
        "train_every=1": settings.train_every == 1,
        "updates_per_train=1": settings.updates_per_train == 1,
        "anneal.updates_per_train.start=null": settings.anneal.updates_per_train.start is None,
        "network=multi": not isinstance(settings.network, Recurrent),
        "data.path=null": settings.data.path is None,
        "init_replay=false": not settings.init_replay,
    }
    if missing := [word for word, is_met in requirements.items() if not is_met]:
        return (
            "replay=newest learns from each transition once, in the step that it comes from: use"
            f" {' '.join(missing)} (tuned=none leaves out numbers tuned for this environment), or"
            " replay=uniform"
        )
    return None


def _trace_limits(settings: Settings) -> str | None:
    if not isinstance(settings.optimizer, TraceOptimizer):
        return None
    requirements = {
        "replay=newest": isinstance(settings.replay, Newest),
        "env.num_envs=1": settings.env.num_envs == 1,
        "head=scalar": isinstance(settings.head, Scalar),
        "update.rescale=false": not settings.update.rescale,
        "auxiliary=none": not settings.auxiliary,
    }
    if missing := [word for word, is_met in requirements.items() if not is_met]:
        return (
            "this optimizer has an eligibility trace, of the values of one stream of transitions:"
            f" use {' '.join(missing)}, or optimizer=adam"
        )
    return None


def _reward_limits(settings: Settings) -> str | None:
    if not settings.env.normalize_reward:
        return None
    if settings.data.path is not None:
        return (
            "env.normalize_reward=true divides rewards as they come, and logged ones stay as they"
            " are: use env.reward_scale instead"
        )
    if settings.env.preprocess.clip_rewards:
        return (
            "env.normalize_reward=true and env.preprocess.clip_rewards=true are two ways to bound"
            " rewards: use one of them"
        )
    return None
