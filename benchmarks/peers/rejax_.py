"""Time rejax, or several of its runs under vmap."""

from __future__ import annotations

import argparse

import jax
from rejax_loop import make_training
from settings import SETTINGS
from timed import StepTimer

STEPS = 500  # of each member, in a call

parser = argparse.ArgumentParser()
parser.add_argument("setting")
parser.add_argument("first", type=int)
parser.add_argument("last", type=int)
parser.add_argument("--members", type=int, default=1)
parser.add_argument("--replace", action="store_true")
arguments = parser.parse_args()
members = arguments.members
timer = StepTimer(arguments.first * members, arguments.last * members)
state, train = make_training(SETTINGS[arguments.setting], STEPS, members, arguments.replace)
while True:
    state = jax.block_until_ready(train(state))
    timer.count(STEPS * members)
