"""Start of a run: compilation, threads, and the lines that it prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dqn_cli.agent.atari_cnns import AtariCnn
from dqn_cli.agent.networks import Mlp
from dqn_cli.compiling.processor import CAPABILITIES
from dqn_cli.compiling.when import can_compile, worth_compiling
from dqn_cli.runs.checkpoints import expected_bytes
from dqn_cli.runs.recorder import Job
from dqn_cli.training.devices import thread_count
from dqn_cli.training.loop import Run
from dqn_cli.training.settings import Settings

Checkpoint = Mapping[str, Any]  # from `checkpoints.load_last`


def should_compile(settings: Settings, members: int, resumed: Sequence[Checkpoint]) -> bool:
    """Return True if updates shall run as compiled code; a resumed run keeps what it did."""
    if resumed:  # compiled code rounds differently
        return bool(resumed[0]["compiled"]) and can_compile(settings)
    return worth_compiling(settings, members)


def choose_threads(settings: Settings, members: int, resumed: Sequence[Checkpoint]) -> int:
    """Return the number of CPU threads; with `threads=auto`, a resumed run keeps its number."""
    if resumed and settings.threads == "auto":
        return int(resumed[0]["threads"])
    return thread_count(settings, members)


def describe_run(job: Job, run: Run, in_group: bool) -> str:
    """Return a line with the size of a run; `job` is the first one of a group."""
    settings, members = job.settings, len(run.clocks)
    start = f"resumed at step {run.clocks[0].steps:,}" if job.resumes else "training"
    parameters = run.learner.state.parameters.shape[1]
    memory = (run.stream.nbytes + run.sampler.nbytes) / 1e6
    disk = expected_bytes(settings, run) * members / 1e6
    who = f"{members} members" if in_group else f"seed {settings.seed}"
    folder = job.folder.parent if in_group else job.folder
    return (
        f"{settings.env.id}: {start}, {settings.steps:,} steps, {parameters:,} parameters,"
        f" {who}; replay takes {memory:,.1f} MB of memory, and checkpoints up to"
        f" {disk:,.1f} MB in {folder}"
    )


def settings_warnings(
    settings: Settings, observation_shape: Sequence[int], device: str
) -> Iterator[str]:
    """Yield warnings about settings that are valid but will disappoint."""
    network = settings.network
    if len(observation_shape) > 2 and type(network) is Mlp:
        yield (
            f"warning: observations are images {list(observation_shape)}, and network=mlp ignores"
            " which pixels are neighbors: use network=nature or network=minatar"
        )
    wants_bfloat16 = isinstance(network, AtariCnn) and network.bfloat16
    if wants_bfloat16 and device == "cpu" and not has_bfloat16(CAPABILITIES):
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
    """Return True if a processor's capabilities include bfloat16 or do not mention it."""
    if processor.get("architecture") != "x86_64":
        return True
    return any(processor.get(name) for name in ("avx512_bf16", "amx_bf16", "avx_ne_convert"))
