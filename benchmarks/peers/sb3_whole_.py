"""Run the whole of Stable-Baselines3's or SBX's training, and report what it did."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import gymnasium
from settings import SETTINGS, sb3_keywords

setting, steps, library = SETTINGS[sys.argv[1]], int(sys.argv[2]), import_module(sys.argv[3])
model = library.DQN("MlpPolicy", gymnasium.make(setting.env), **sb3_keywords(setting))
model.learn(steps)
print(json.dumps({"updates": model._n_updates}))
