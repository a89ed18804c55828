"""Policies of every kind with random parameters, for tests of their export."""

from __future__ import annotations

from pathlib import Path

import own_networks
import parts
import pictures
import torch

from dqn_cli.agent.hadamax import Hadamax
from dqn_cli.agent.model import Model
from dqn_cli.agent.normalization import normalization_layout
from dqn_cli.agent.parameters import size, views
from dqn_cli.envs.environments import read_spaces
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.runs.provenance import versions
from dqn_cli.storage import save_checkpoint
from dqn_cli.training.settings import Settings, plain

MODULES = (own_networks, parts, pictures)  # networks and environments of one's own

VECTOR, PARTS, PICTURES = "env=Acrobot-v1", "env=parts:Parts-v0", "env=pictures:Pictures-v0"
FRAMES = "env.preprocess.stack=2"
DENSE, CHANNELS = "network.widths=[12,8]", "network.channels=[4,4,4]"
NETWORKS: dict[str, tuple[str, ...]] = {
    "mlp": (VECTOR, "network=mlp", DENSE),
    "dueling": (VECTOR, "network=dueling", DENSE),
    "noisy": (VECTOR, "network=mlp", DENSE, "network.noisy=true", "network.layer_norm=true"),
    "spectral": (VECTOR, "network=mlp", DENSE, "network.spectral_norm=true"),
    "no layers": (VECTOR, "network=mlp", "network.widths=[]"),
    "frames": (VECTOR, "network=mlp", DENSE, FRAMES),
    "float64": (VECTOR, "network=mlp", DENSE, "dtype=float64"),
    "multi": (PARTS, "network=multi", DENSE, "network.channels=[3,3]", "network.features=6"),
    "multi of frames": (PARTS, "network=multi", DENSE, "network.channels=[3,3]", FRAMES),
    "gru": (VECTOR, "network=gru", DENSE, "network.units=8"),
    "lstm": (PARTS, "network=lstm", DENSE, "network.units=8", "network.channels=[3,3]"),
    "minatar": ("env=MinAtar/Breakout-v1", "network=minatar", DENSE, "network.channels=[4]"),
    "module": (VECTOR, "network=module", "network.path=own_networks:Small", DENSE),
}
# These read pixels or choices, which are not normalized.
OTHERS: dict[str, tuple[str, ...]] = {
    "nature": (PICTURES, "network=nature", DENSE, CHANNELS, FRAMES),
    "nature in colors": (PICTURES, "+env.kwargs.colors=true", "network=nature", DENSE, CHANNELS),
    "impala": (PICTURES, "network=impala", DENSE, CHANNELS, FRAMES, "network.pool=2"),
    "impala without pool": (PICTURES, "network=impala", DENSE, CHANNELS, FRAMES, "network.pool=0"),
    "spectral impala": (
        PICTURES, "network=impala", DENSE, "network.channels=[4]", FRAMES, "network.pool=4",
        "network.spectral_norm=true", "network.layer_norm=true",
    ),
    "hadamax": (
        PICTURES, "network=hadamax", DENSE, FRAMES, "network.channels=[4,4]",
        "network.kernels=[4,3]", "network.pools=[2,3]", "network.strides=[2,1]",
    ),
    "table": ("env=CliffWalking-v1", "network=table"),
    "table of bins": ("env=MountainCar-v0", "network=table", "network.bins=30"),
    "choices": ("env=Blackjack-v1", "network=mlp", DENSE),
}  # fmt: skip
HEADS: dict[str, tuple[str, ...]] = {
    "scalar": ("head=scalar",),
    "c51": ("head=c51", "env.min_return=-9", "env.max_return=9", "head.atoms=5"),
    "qr": ("head=qr", "head.atoms=5"),
    "iqn": ("head=iqn", "head.atoms=5", "head.cosines=6"),
    "expectile": ("head=expectile", "head.atoms=5"),
    "fqf": ("head=fqf", "head.atoms=5", "head.cosines=6"),
    "ensemble": ("head=ensemble", "head.heads=3", "head.prior=2"),
}
NORMALIZATIONS = ("none", "running", "bounds")


def words_of(network: str, head: str, normalization: str = "none") -> tuple[str, ...]:
    """Words that a user would type."""
    words = (NETWORKS | OTHERS)[network] + HEADS[head]
    return ("agent=dqn", "tuned=none", *words, f"env.normalize={normalization}")


def random_policy(settings: Settings, seed: int = 0) -> GreedyPolicy:
    """A policy whose parameters are random, but for its normalization's factors, which are > 0."""
    model = Model(
        read_spaces(settings.env), settings.network, settings.head, settings.env.normalize
    )
    random = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, settings.dtype.name)
    scale = 0.5 if isinstance(settings.network, Hadamax) else 0.3  # its products get small
    parameters = scale * torch.randn(size(model.layout), generator=random, dtype=dtype)
    named = views(parameters, model.layout)
    for name in normalization_layout(model.spaces, model.normalization):
        named[name].abs_().add_(0.5)
    return GreedyPolicy(model, parameters)


def save_policy(path: Path, settings: Settings, policy: GreedyPolicy) -> Path:
    """Writes a checkpoint as a run does for its best policy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "settings": plain(settings),
        "spaces": policy.model.spaces.plain(),
        "clock": (100, 50, 3),
        "parameters": policy.parameters,
        "versions": versions(),
    }
    save_checkpoint(path, data)
    return path
