"""Memory that settings need at least, before anything is made from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from dqn_cli.agent.ensembles import Ensemble
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.memory import free_bytes
from dqn_cli.training.devices import MOST_THREADS
from dqn_cli.training.settings import Precision, Settings

# Bytes at least: of an environment, of an observation's slot, and of an episode's result.
ENVIRONMENT, SLOT, EPISODE = 1000, 16, 16
COPIES = 4  # of parameters: online, target, gradient and a moment of the optimizer


def find_excess(settings: Settings) -> str | None:
    """Return which setting needs more memory than is free, or None if none surely does.

    Only what needs no environment is counted, so a run may need far more.
    """
    free = free_bytes()
    for words, needed in _needs(settings):
        if needed > free:
            return f"{words} needs {_gigabytes(needed)} of memory, and {_gigabytes(free)} are free"
    return None


def find_oversized(settings: Settings) -> str | None:
    """Return which setting is too large for another one, or None."""
    replay, network, threads = settings.replay, settings.network, settings.threads
    if replay.n_step > replay.capacity:
        return (
            f"replay.n_step={replay.n_step} is larger than replay.capacity={replay.capacity}:"
            " a return must fit into the buffer"
        )
    if isinstance(network, Recurrent) and network.burn_in + network.length > replay.capacity:
        return (
            f"network.length={network.length} and network.burn_in={network.burn_in} are together"
            f" larger than replay.capacity={replay.capacity}: a sequence must fit into the buffer"
        )
    if isinstance(threads, int) and threads > MOST_THREADS:
        return f"threads={threads} must be auto or a number of at most {MOST_THREADS}"
    return None


def find_excessive_episodes(episodes: int) -> str | None:
    """Return why so many episodes can't be evaluated, or None."""
    needed, free = EPISODE * episodes, free_bytes()
    if needed <= free:
        return None
    return f"episodes={episodes:g} needs {_gigabytes(needed)}, and {_gigabytes(free)} are free"


def _needs(settings: Settings) -> Iterator[tuple[str, float]]:
    """Yield settings as they are typed, and the bytes that each needs at least."""
    network, replay, envs = settings.network, settings.replay, settings.env.num_envs
    size = 4 if settings.dtype is Precision.float32 else 8
    widths: Sequence[int] = getattr(network, "widths", [])
    weights = sum(a * b for a, b in pairwise(widths)) + sum(widths)
    yield f"network.widths={_listed(widths)}", COPIES * size * weights
    if isinstance(network, Recurrent):
        yield f"network.units={network.units:g}", COPIES * size * network.units**2 * network.gates
    if isinstance(settings.head, Ensemble):
        heads = settings.head.heads
        yield f"head.heads={heads:g}", size * heads * replay.batch_size
    # Every atom of a prediction is compared with every one of its target.
    atoms: float = getattr(settings.head, "atoms", 1)
    yield f"head.atoms={atoms:g}", size * atoms**2 * replay.batch_size
    yield f"env.num_envs={envs:g}", ENVIRONMENT * envs
    longest = settings.longest_return
    yield f"replay.n_step={longest:g}", SLOT * longest * envs
    yield f"replay.capacity={replay.capacity:g}", SLOT * replay.capacity
    yield f"replay.batch_size={replay.batch_size:g}", size * replay.batch_size * (1 + sum(widths))
    yield f"env.preprocess.stack={settings.env.preprocess.stack:g}", settings.env.preprocess.stack
    yield f"eval.episodes={settings.eval.episodes:g}", EPISODE * settings.eval.episodes


def _listed(numbers: Sequence[int]) -> str:
    shown = ",".join(f"{number:g}" for number in numbers[:8])
    return f"[{shown}{',...' if len(numbers) > 8 else ''}]"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB"
