"""Stable-Baselines3 on Atari, with its own wrappers."""

from __future__ import annotations

import sys

import ale_py
import gymnasium
from settings import ATARI
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack
from timed import watch_calls

gymnasium.register_envs(ale_py)
watch_calls(DummyVecEnv, "step_async", int(sys.argv[2]), int(sys.argv[3]))
DQN(
    "CnnPolicy",
    VecFrameStack(make_atari_env(ATARI.classic_id, n_envs=1), n_stack=4),
    learning_rate=ATARI.lr,
    buffer_size=ATARI.buffer,
    learning_starts=ATARI.starts,
    batch_size=ATARI.batch,
    gamma=ATARI.gamma,
    train_freq=ATARI.train_every,
    target_update_interval=ATARI.target_every,
    exploration_fraction=1e-9,
    exploration_final_eps=ATARI.epsilon,
    optimize_memory_usage=False,
    device="cpu",
).learn(10**9)
