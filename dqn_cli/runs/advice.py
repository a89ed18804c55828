"""Advice: what a run is told where its settings are allowed but will disappoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dqn_cli.agent.atari_cnns import Pixels
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.products import PROCESSOR
from dqn_cli.training.settings import Settings


def advice(settings: Settings, shape: Sequence[int], device: str) -> Iterator[str]:
    """A line for each of them, where observations have this shape, and networks this device."""
    network = settings.network
    if len(shape) > 2 and type(network) is Mlp:
        yield (
            f"warning: observations are images {list(shape)}, and network=mlp sees no"
            " neighbourhood in them: network=nature or minatar does"
        )
    wants_bfloat16 = isinstance(network, Pixels) and network.bfloat16
    if wants_bfloat16 and device == "cpu" and not has_bfloat16(PROCESSOR):
        yield (
            "warning: this processor has no instructions for bfloat16 and is several times slower"
            " with it: network.bfloat16=false is faster"
        )
    if settings.learning_starts >= settings.steps:
        yield (
            f"warning: nothing will be learned: learning_starts={settings.learning_starts} is not"
            f" below steps={settings.steps}"
        )


def has_bfloat16(processor: Mapping[str, Any]) -> bool:
    """Whether a processor computes in bfloat16, as far as its capabilities say."""
    if processor.get("architecture") != "x86_64":
        return True
    return any(processor.get(name) for name in ("avx512_bf16", "amx_bf16", "avx_ne_convert"))
