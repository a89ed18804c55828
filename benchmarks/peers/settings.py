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
    threads: int = 1  # of one dqn-train; the others have their default


SETTINGS = {
    "A": Setting("CartPole-v1", (128, 128), 64),
    "B": Setting("CartPole-v1", (64, 64), 32),
    # RL Zoo's settings of DQN for CartPole-v1.
    "C": Setting(
        "CartPole-v1", (256, 256), 64, 256, 128, 2.3e-3, target_every=10, epsilon=0.04, threads=2
    ),
    "LunarLander": Setting("LunarLander-v3", (128, 128), 64),
}


@dataclass(frozen=True)
class AtariSetting:
    """Nature DQN's rhythm, with a buffer that fits and Adam as all three have it."""

    env: str = "ALE/Pong-v5"
    classic_id: str = "PongNoFrameskip-v4"  # the same game, without sticky actions
    batch: int = 32
    train_every: int = 4
    lr: float = 1e-4
    buffer: int = 20_000
    starts: int = 400
    target_every: int = 1000
    gamma: float = 0.99
    epsilon: float = 0.05


ATARI = AtariSetting()


def dqn_train_atari_words(setting: AtariSetting) -> list[str]:
    """The same as words of a dqn-train command."""
    return [
        f"env={setting.env}",
        "protocol=cleanrl",
        "network=nature",
        f"replay.batch_size={setting.batch}",
        f"replay.capacity={setting.buffer}",
        f"learning_starts={setting.starts}",
        f"train_every={setting.train_every}",
        f"optimizer.lr={setting.lr}",
        "target=hard",
        f"target.every={setting.target_every}",
        f"gamma={setting.gamma}",
        "exploration=constant",
        f"exploration.start={setting.epsilon}",
        "steps=1000000",
        "eval.every=1000000",
    ]


def dqn_train_words(setting: Setting) -> list[str]:
    """The same as words of a dqn-train command, for a run longer than what is timed."""
    return [
        f"env={setting.env}",
        f"network.widths=[{setting.widths[0]},{setting.widths[1]}]",
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
        "steps=1000000",
        "eval.every=1000000",
    ]
