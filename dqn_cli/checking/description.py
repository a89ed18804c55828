"""Description of an environment: what it declares, and what its first step says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn_cli.checking.seen import ActionDescription, Description, PartDescription
from dqn_cli.checking.tasks import IN_RESET, MADE, Progress
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.contract import shorten
from dqn_cli.envs.env_config import EnvConfig, make_own_env
from dqn_cli.envs.make_vector import make_vector
from dqn_cli.envs.masks import KEY, METHOD, MaskSource, find_mask_source
from dqn_cli.envs.observation_encoder import ObservationEncoder, find_unread_parts
from dqn_cli.envs.preprocessing import AnyEnv, Atari
from dqn_cli.text import one_line

MASK_WORDS = ("mask", "legal", "valid", "avail", "allowed")
PLACES = {
    MaskSource.info: f'info["{KEY}"]',
    MaskSource.observation: f"part {KEY} of the observation",
    MaskSource.method: f"method {METHOD}()",
    MaskSource.none: "nowhere: env.mask=none",
}


def describe(config: EnvConfig, progress: Progress) -> Description:
    """Return what the environment declares.

    Raises:
        EnvironmentFailure: It can't be made.
    """
    progress.report(MADE)
    if config.is_native_vector:
        return _describe_vector(config)
    env = make_own_env(config)
    description = _describe_spaces(config, env.observation_space, env.action_space)
    info: dict[str, Any] = {}
    with suppress(Exception):  # a trial tells what is wrong
        progress.report(IN_RESET)
        _, info = env.reset(seed=0)
        progress.report(1)
        decoder = ActionDecoder(env.action_space)
        legal = np.flatnonzero(info.get(KEY, np.ones(decoder.count)))
        info = info | env.step(decoder(int(legal[0])))[4]
    description = description._replace(
        mask_place=PLACES[_mask_source(env, config)],
        step_limit=_step_limit(env, config),
        info_scalars=tuple(name for name, value in info.items() if _is_scalar(value)),
    )
    if description.actions is not None:
        names = _names(env, description.actions.total)
        mask_like = "" if KEY in info else _mask_like(info, description.actions.total)
        actions = description.actions._replace(names=names)
        description = description._replace(
            mask_like=mask_like,
            mask_like_part=_mask_like_part(description.parts, actions.total),
            actions=actions,
        )
    with suppress(Exception):
        env.close()
    return description


def _describe_vector(config: EnvConfig) -> Description:
    """Return what a vector environment declares of a single copy."""
    vector = make_vector(config, config.num_envs)
    space, place = vector.single_observation_space, PLACES[MaskSource.info]
    takes_part = config.mask in (MaskSource.auto, MaskSource.observation)
    if isinstance(space, spaces.Dict) and KEY in space.spaces and takes_part:
        place = PLACES[MaskSource.observation]
        space = spaces.Dict({key: part for key, part in space.items() if key != KEY})
    description = _describe_spaces(config, space, vector.single_action_space)
    vector.close()
    limit = vector.spec.max_episode_steps if vector.spec else None
    return description._replace(mask_place=place, step_limit=limit)


def _describe_spaces(
    config: EnvConfig, observations: gymnasium.Space[Any], actions: gymnasium.Space[Any]
) -> Description:
    unread = tuple(name for name in find_unread_parts(observations) if name)
    unread = tuple(name for name in unread if not _is_dropped(name, config.drop))
    parts: tuple[PartDescription, ...] = ()
    observation_error = action_error = ""
    described = None
    try:
        encoder = ObservationEncoder(
            observations, [*config.drop, *unread], config.preprocess.color_axis
        )
        parts = tuple(
            PartDescription(leaf.part, str(leaf.space.dtype), leaf.channels_first)
            for leaf in encoder.leaves
        )
    except ValueError as error:
        observation_error = str(error)
    try:
        decoder = ActionDecoder(actions)
        first, last = (shorten(_plain(decoder(index))) for index in (0, decoder.count - 1))
        described = ActionDescription(one_line(actions), decoder.count, first, last)
    except ValueError as error:
        action_error = str(error)
    return Description(parts, unread, observation_error, described, action_error, "", None)


def _is_dropped(name: str, drop: Iterable[str]) -> bool:
    return any(name == dropped or name.startswith(f"{dropped}.") for dropped in drop)


def _mask_source(env: AnyEnv, config: EnvConfig) -> MaskSource:
    """Return where the mask is read, which wrappers may have moved into `info` by now."""
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        layer = layer.env
        with suppress(ValueError):
            source = find_mask_source(layer, config.mask)
            if source is not MaskSource.info:
                return source
    return MaskSource.info


def _step_limit(env: AnyEnv, config: EnvConfig) -> int | None:
    """Return the steps after which an episode is truncated; None if nothing says so."""
    limits = [config.max_episode_steps, env.spec.max_episode_steps if env.spec else None]
    if isinstance(config.preprocess, Atari):
        limits.append(config.preprocess.max_frames // config.preprocess.frame_skip)
    return min((int(limit) for limit in limits if limit and limit > 0), default=None)


def _names(env: AnyEnv, count: int) -> tuple[str, ...]:
    """Return the names of the actions as in games of ALE; () where there are none."""
    with suppress(Exception):
        names = tuple(map(str, env.get_wrapper_attr("get_action_meanings")()))
        return names if len(names) == count else ()
    return ()


def _is_scalar(value: Any) -> bool:
    with suppress(ValueError):
        array = np.asarray(value)
        return array.size == 1 and array.dtype.kind in "biuf"
    return False


def _mask_like(info: Mapping[str, Any], actions: int) -> str:
    """Return the name in `info` of an array that has a flag for each action."""
    for name, value in info.items():
        if not any(word in str(name).lower() for word in MASK_WORDS):
            continue
        with suppress(ValueError, TypeError):
            array = np.asarray(value)
            if array.shape == (actions,) and np.isin(array, (0, 1)).all():
                return str(name)
    return ""


def _mask_like_part(parts: Iterable[PartDescription], actions: int) -> str:
    """Return the name of a part of observations that has a flag for each action."""
    for part, *_ in parts:
        is_named = any(word in part.name.lower() for word in MASK_WORDS)
        if is_named and part.shape == (actions,) and {*part.low, *part.high} == {0, 1}:
            return part.name
    return ""


def _plain(action: Any) -> Any:
    """Return an action in Python's own numbers, for people to read."""
    if isinstance(action, dict):
        return {key: _plain(part) for key, part in action.items()}
    if isinstance(action, tuple):
        return tuple(map(_plain, action))
    return action.tolist() if isinstance(action, (np.ndarray, np.generic)) else action
