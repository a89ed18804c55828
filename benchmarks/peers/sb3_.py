"""Stable-Baselines3."""

from __future__ import annotations

import sys

import gymnasium
from settings import SETTINGS
from timed import watch

setting, first, last = SETTINGS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
watch(first, last)

from stable_baselines3 import DQN  # noqa: E402

DQN(
    "MlpPolicy",
    gymnasium.make(setting.env),
    learning_rate=setting.lr,
    buffer_size=setting.buffer,
    learning_starts=setting.starts,
    batch_size=setting.batch,
    gamma=setting.gamma,
    train_freq=setting.train_every,
    gradient_steps=setting.updates,
    target_update_interval=setting.target_every,
    exploration_fraction=1e-9,
    exploration_final_eps=setting.epsilon,
    policy_kwargs={"net_arch": list(setting.widths)},
    device="cpu",
).learn(10**9)
