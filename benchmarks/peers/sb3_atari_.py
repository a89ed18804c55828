"""Time Stable-Baselines3 on Atari, with its own wrappers."""

from __future__ import annotations

import sys

import ale_py
import gymnasium
from settings import ATARI, ATARI_CLASSIC_ID, sb3_keywords
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack
from timed import watch_calls

gymnasium.register_envs(ale_py)
watch_calls(DummyVecEnv, "step_async", int(sys.argv[2]), int(sys.argv[3]))
frames = VecFrameStack(make_atari_env(ATARI_CLASSIC_ID, n_envs=1), n_stack=4)
DQN("CnnPolicy", frames, **sb3_keywords(ATARI)).learn(10**9)
