"""Environments: building them, seeding them, and making their spaces fit a Q-network."""

from gymnasium.envs.registration import register

register(id="LineWorld-v0", entry_point="dqn_cli.envs.line_world:LineWorld", max_episode_steps=50)
