"""What each system is timed at: the same network, batch, buffer and rhythm for all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """One piece of work."""

    env: str
    widths: tuple[int, int]
    batch: int
    train_every: int = 1
    updates: int = 1
    lr: float = 2.5e-4
    buffer: int = 100_000
    starts: int = 1000
    target_every: int = 500
    gamma: float = 0.99
    epsilon: float = 0.05


SETTINGS = {
    "A": Setting("CartPole-v1", (128, 128), 64),
    "B": Setting("CartPole-v1", (64, 64), 32),
    # RL Zoo's settings of DQN for CartPole-v1.
    "C": Setting("CartPole-v1", (256, 256), 64, 256, 128, 2.3e-3, target_every=10, epsilon=0.04),
    "LunarLander": Setting("LunarLander-v3", (128, 128), 64),
}
