"""Time SBX, which is Stable-Baselines3 with an update in JAX."""

from __future__ import annotations

import sys

import gymnasium
from settings import SETTINGS, sb3_keywords
from timed import watch

setting, first, last = SETTINGS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
watch(first, last)

from sbx import DQN  # noqa: E402

DQN("MlpPolicy", gymnasium.make(setting.env), **sb3_keywords(setting)).learn(10**9)
