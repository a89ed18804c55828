"""Environments: making, seeding, preprocessing and stepping them."""

from importlib import import_module
from importlib.util import find_spec

import gymnasium
from gymnasium.envs.registration import register

register(id="LineWorld-v0", entry_point="dqn_cli.envs.line_world:LineWorld", max_episode_steps=50)
register(
    id="PositionCartPole-v1",
    entry_point="dqn_cli.envs.position_cartpole:PositionCartPole",
    max_episode_steps=500,
)

if find_spec("minatar") is not None:
    for game in ("asterix", "breakout", "freeway", "seaquest", "space_invaders"):
        title = game.title().replace("_", "")
        for version, minimal in (("v0", False), ("v1", True)):
            register(
                id=f"MinAtar/{title}-{version}",
                entry_point="dqn_cli.envs.minatar_env:MinAtarEnv",
                kwargs={"game": game, "minimal_actions": minimal},
            )

if find_spec("ale_py") is not None:
    gymnasium.register_envs(import_module("ale_py"))
