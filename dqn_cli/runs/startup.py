"""Start of a run: compilation, threads, and the lines that it prints."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from dqn_cli.agent.atari_cnns import AtariCnn
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.spaces import PICTURE, Spaces
from dqn_cli.checking.findings import MANY_ACTIONS
from dqn_cli.compiling.background import Background
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime, Compiler
from dqn_cli.compiling.processor import CAPABILITIES
from dqn_cli.compiling.recording import Recording
from dqn_cli.compiling.worth_compiling import can_compile, worth_compiling
from dqn_cli.data.load import DataSummary
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.evaluation.play import check_evaluation_env
from dqn_cli.fields import FieldError
from dqn_cli.hardware import available_cores
from dqn_cli.runs.checkpoint_fields import check_spaces_fields
from dqn_cli.runs.checkpoints import expected_bytes
from dqn_cli.runs.job import Job
from dqn_cli.training.build_run import LearnerFactory
from dqn_cli.training.devices import thread_count
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run
from dqn_cli.training.settings import Settings

NO_EVALUATION = "; no evaluations, so checkpoints/best goes by the mean of recent training returns"

Checkpoint = Mapping[str, Any]  # from `checkpoints.load_last`


def should_compile(settings: Settings, members: int, resumed: Sequence[Checkpoint]) -> bool:
    """Return True if updates shall run as compiled code; a resumed run keeps what it did."""
    if resumed:  # compiled code rounds differently
        return bool(resumed[0]["compiled"]) and can_compile(settings)
    return worth_compiling(settings, members)


def make_compiler() -> AheadOfTime:
    """Return a compiler; it has a second process unless those of a sweep share the cores."""
    alone = multiprocessing.parent_process() is None
    return AheadOfTime(background=Background() if alone and available_cores() > 1 else None)


def learner_factory(settings: Settings, compiler: Compiler | None) -> LearnerFactory:
    """Return what makes the learner: compiled, recorded, or as plain Python."""
    if compiler is not None:
        return partial(CompiledLearner, compiler=compiler)
    if settings.compile is False or not can_compile(settings):
        return Learner
    # NumPy samples in less time than a recording, whose operations are called one by one.
    return partial(CompiledLearner, compiler=Recording(), with_sampling=False)


def choose_threads(settings: Settings, members: int, resumed: Sequence[Checkpoint]) -> int:
    """Return the number of CPU threads; with `threads=auto`, a resumed run keeps its number."""
    if resumed and settings.threads == "auto":
        return int(resumed[0]["threads"])
    return thread_count(settings, members)


def check_evaluations(settings: Settings, run: Run) -> None:
    """Check that evaluations will work, if their environment has arguments of its own.

    Raises:
        EnvironmentFailure: It can't be made, or has other spaces.
    """
    if settings.eval.every is not None and settings.eval.env.kwargs:
        check_evaluation_env(settings.evaluation_env, run.envs.spaces)


def check_stored_spaces(settings: Settings, run: Run) -> None:
    """Check that checkpoints can hold the environment's spaces.

    Raises:
        EnvironmentFailure: They can't.
    """
    try:
        check_spaces_fields(run.envs.spaces.plain())
    except FieldError as error:
        reason = f"a checkpoint can't hold its spaces: {error}"
        raise EnvironmentFailure(f"env={settings.env.id}: {reason}") from error


def start_lines(job: Job, run: Run, in_group: bool, restarted: str | None) -> Iterator[str]:
    """Yield the lines that a session begins with; `restarted` says what was not resumed."""
    yield describe_run(job, run, in_group)
    if run.data is not None:
        yield describe_data(job.settings, run.data)
    if restarted:
        yield restarted
    device = run.learner.state.parameters.device.type
    yield from settings_warnings(job.settings, run.envs.spaces, device)


def describe_run(job: Job, run: Run, in_group: bool) -> str:
    """Return a line with the size of a run; `job` is the first one of a group."""
    settings, members = job.settings, len(run.clocks)
    start = f"resumed at step {run.clocks[0].steps:,}" if job.resumes else "training"
    parameters = run.learner.state.parameters.shape[1]
    memory = (run.stream.nbytes + run.sampler.nbytes) / 1e6
    disk = expected_bytes(settings, run) * members / 1e6
    who = f"{members} members" if in_group else f"seed {settings.seed}"
    folder = job.folder.parent if in_group else job.folder
    tuned = f" tuned={settings.tuned}," if settings.tuned else ""
    return (
        f"{settings.env.id}: {start}, {settings.steps:,} steps,{tuned} {parameters:,} parameters,"
        f" {who}; replay takes {memory:,.1f} MB of memory, and checkpoints up to"
        f" {disk:,.1f} MB in {folder}"
        f"{_without_evaluation(settings)}"
    )


def _without_evaluation(settings: Settings) -> str:
    """Return what a run without evaluations calls its best policy."""
    if settings.eval.every is not None:
        return ""
    return NO_EVALUATION if settings.steps else "; no evaluations, so there is no checkpoints/best"


def describe_data(settings: Settings, data: DataSummary) -> str:
    """Return a line with the size of the data, and what is done with them."""
    use = f"{settings.data.share:.0%} of each batch" if settings.data.keep else "the first replay"
    pretrain = (
        f", {settings.data.pretrain:,} updates on them first" if settings.data.pretrain else ""
    )
    if not settings.steps:
        use, pretrain = f"all of {settings.data.pretrain:,} updates", ""
    return (
        f"data={data.path}: {data.transitions:,} transitions of {data.episodes:,} episodes, mean"
        f" return {data.mean_return:.6g}; they are {use}{pretrain}"
    )


def settings_warnings(settings: Settings, spaces: Spaces, device: str) -> Iterator[str]:
    """Yield warnings about settings that are valid but will disappoint."""
    network = settings.network
    pictures = [part for part in spaces.parts if part.kind == PICTURE]
    if pictures and type(network) is Mlp:
        shapes = ", ".join(str(list(part.shape)) for part in pictures)
        yield (
            f"warning: observations are images {shapes}, and network=mlp ignores which pixels are"
            " neighbors: use network=multi"
        )
    if spaces.actions > MANY_ACTIONS:
        yield (
            f"warning: there are {spaces.actions:,} actions; each has outputs of its own and is"
            " learned by trying it, so steps are slow and training takes long"
        )
    wants_bfloat16 = isinstance(network, AtariCnn) and network.bfloat16
    if wants_bfloat16 and device == "cpu" and not has_bfloat16(CAPABILITIES):
        yield (
            "warning: this processor has no instructions for bfloat16 and is several times slower"
            " with it: network.bfloat16=false is faster"
        )
    if settings.learning_starts >= settings.steps and not settings.data.pretrain:
        yield (
            f"warning: nothing will be learned: learning_starts={settings.learning_starts} is not"
            f" below steps={settings.steps}"
        )


def has_bfloat16(processor: Mapping[str, Any]) -> bool:
    """Return True if a processor's capabilities include bfloat16 or do not mention it."""
    if processor.get("architecture") != "x86_64":
        return True
    return any(processor.get(name) for name in ("avx512_bf16", "amx_bf16", "avx_ne_convert"))
