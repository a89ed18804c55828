"""Made-up inputs that parts are checked on; a few rows, without any environment."""

from __future__ import annotations

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Following
from dqn_cli.agent.spaces import PICTURE, VECTOR, Part, Spaces

BATCH, ACTIONS = 4, 3

NUMBERS = Spaces((Part("", VECTOR, (5,), (-1.0,), (1.0,), False),), ACTIONS)
SMALL_PICTURES = Spaces((Part("", PICTURE, (12, 12, 3), (0.0,), (255.0,), True),), ACTIONS)
FRAMES = Spaces((Part("", PICTURE, (84, 84), (0.0,), (255.0,), True),), ACTIONS, frames=4)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return standard normal numbers in float32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def masks() -> Tensor:
    """Return legal actions [batch, actions]: all, or all but one."""
    legal = torch.ones(BATCH, ACTIONS, dtype=torch.bool)
    for row in range(1, BATCH):
        legal[row, row % ACTIONS] = False
    return legal


def policy() -> Tensor:
    """Return probabilities of actions, [batch, actions]."""
    return normal(BATCH, ACTIONS, seed=1).softmax(1)


def transitions(spaces: Spaces = NUMBERS) -> Batch:
    """Return transitions, of normalized observations; the action taken is legal."""
    legal, reward, no = masks(), normal(BATCH, seed=2), torch.zeros(BATCH, dtype=torch.bool)
    shape = BATCH, *spaces.observation_shape
    obs, next_obs = normal(*shape, seed=5), normal(*shape, seed=6)
    action, weight = legal.long().argmax(1), torch.ones(BATCH)
    return Batch(obs, action, legal, reward, discounts(), next_obs, legal, weight, no, no)


def following(spaces: Spaces, steps: int) -> Following:
    """Return what came after these transitions; one episode ended after its first step."""
    obs = normal(BATCH, steps, *spaces.observation_shape, seed=7)
    action = torch.arange(BATCH * steps).view(BATCH, steps) % ACTIONS
    within = torch.ones(BATCH, steps, dtype=torch.bool)
    within[1, 1:] = False
    return Following(obs, action, within)


def discounts() -> Tensor:
    """Return discounts [batch], one of which is 0: there the episode terminated."""
    return torch.tensor([0.9, 0.0, 0.5, 1.0])
