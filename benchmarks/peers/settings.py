"""The settings that all systems are timed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """An environment and the hyperparameters for it."""

    env: str
    widths: tuple[int, ...]  # empty for Nature's network
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


# Nature DQN's update schedule, with Adam and a smaller buffer. Other systems use an older id of the
# game, which has no sticky actions.
ATARI = Setting("ALE/Pong-v5", (), 32, 4, 1, 1e-4, 20_000, 400, 1000)
ATARI_CLASSIC_ID = "PongNoFrameskip-v4"


ENDLESS = 1_000_000  # steps, more than any timing takes


def dqn_train_words(setting: Setting, steps: int = ENDLESS) -> list[str]:
    """Return the overrides of a dqn-train command, by default of a run longer than the timing."""
    mlp = [f"network.widths=[{','.join(map(str, setting.widths))}]"]
    return [
        f"env={setting.env}",
        *(mlp if setting.widths else ["protocol=cleanrl", "network=nature"]),
        f"replay.batch_size={setting.batch}",
        f"replay.capacity={setting.buffer}",
        "replay.n_step=1",
        f"learning_starts={setting.starts}",
        f"train_every={setting.train_every}",
        f"updates_per_train={setting.updates}",
        f"optimizer.lr={setting.lr}",
        "optimizer.schedule=constant",
        "target=hard",
        f"target.every={setting.target_every}",
        "target.unit=steps",
        f"gamma={setting.gamma}",
        "exploration=constant",
        f"exploration.start={setting.epsilon}",
        f"steps={steps}",
        f"eval.every={ENDLESS}",
    ]


def sb3_keywords(setting: Setting) -> dict[str, Any]:
    """Return the keyword arguments of Stable-Baselines3's DQN."""
    return {
        "learning_rate": setting.lr,
        "buffer_size": setting.buffer,
        "learning_starts": setting.starts,
        "batch_size": setting.batch,
        "gamma": setting.gamma,
        "train_freq": setting.train_every,
        "gradient_steps": setting.updates,
        "target_update_interval": setting.target_every,
        "exploration_fraction": 1e-9,
        "exploration_final_eps": setting.epsilon,
        "policy_kwargs": {"net_arch": list(setting.widths)} if setting.widths else None,
        "device": "cpu",
    }
