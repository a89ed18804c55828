"""Writing of an export: a folder that is there as a whole, and only if it was checked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dqn_cli.config.validation import ConfigError
from dqn_cli.exporting.agreement import Agreement, compare
from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.observations import Observations, play
from dqn_cli.exporting.policy_description import describe
from dqn_cli.exporting.programs import (
    ONNX,
    PROGRAM,
    Runner,
    module_runner,
    onnx_runner,
    program_runner,
    write_onnx,
    write_program,
)
from dqn_cli.policies import (
    check_policy_fits_env,
    greedy_policy,
    load_greedy_policy,
    load_policy_data,
)
from dqn_cli.runs.exported_files import DESCRIPTION, NEEDS_EXTRA, WEIGHTS, save_weights
from dqn_cli.storage import errors_named, sha256, temporary_name, write_json
from dqn_cli.training.devices import thread_count
from dqn_cli.training.settings import Settings

FILES = {"onnx": ONNX, "torch": PROGRAM, "safetensors": WEIGHTS}
EXTRAS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "torch": (),
    "safetensors": ("safetensors",),
}
OBSERVATIONS = 1000


class Export(NamedTuple):
    """A policy on its way into a folder."""

    checkpoint: Path
    settings: Settings
    policy: ExportedPolicy
    description: dict[str, Any]
    agreements: dict[str, Agreement]  # by the name of a file


def check_extras(formats: Sequence[str]) -> None:
    """Check that what the formats need is installed.

    Raises:
        ConfigError: It is not.
    """
    for name in formats:
        if any(find_spec(module) is None for module in EXTRAS[name]):
            raise ConfigError(f"format={name} {NEEDS_EXTRA}")


def write_export(
    checkpoint: Path,
    formats: Sequence[str],
    out: Path,
    modules: Sequence[str],
    observations: int = OBSERVATIONS,
    finish: Callable[[Path, Export], None] = lambda folder, export: None,
) -> Export:
    """Export a checkpoint's greedy policy into a new folder.

    Args:
        checkpoint: A checkpoint, or the weights of an earlier export.
        formats: Of FILES.
        out: The folder.
        modules: The user's modules that the environment may import.
        observations: How many the files are compared on.
        finish: Writes more files into the folder.

    Raises:
        CheckpointError: The checkpoint can't be used.
        ConfigError: The folder exists, an extra is missing, or a module is not named.
        Difference: A file differs from the checkpoint.
    """
    check_extras(formats)
    data = load_policy_data(checkpoint)
    settings, greedy = greedy_policy(checkpoint, data, modules)
    check_policy_fits_env(settings, greedy, checkpoint)
    torch.set_num_threads(thread_count(settings, 1))
    with new_folder(out) as folder:
        seen, has_mask = play(settings, greedy, observations)
        policy = ExportedPolicy(greedy, settings.env, has_mask)
        description = describe(policy, settings, data, sha256(checkpoint))
        write_json(folder / DESCRIPTION, description)
        if "safetensors" in formats:
            save_weights(folder / WEIGHTS, greedy.parameters, greedy.model.layout)
        agreements = {
            FILES[name]: _checked(name, folder / FILES[name], policy, description, seen)
            for name in formats
        }
        compared = {name: agreement._asdict() for name, agreement in agreements.items()}
        write_json(folder / DESCRIPTION, description | {"compared": compared})
        export = Export(checkpoint, settings, policy, description, agreements)
        finish(folder, export)
    return export


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` if nothing fails, and vanishes if not.

    Raises:
        ConfigError: `out` exists, or can't be written.
    """
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} exists already: name another folder, as in out={out}_2")
    folder = out.with_name(temporary_name(out.name, os.getpid()))
    try:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise ConfigError(f"out={out}: can't write there: {error.strerror}") from error
        with errors_named(out):
            yield folder
        if out.exists():  # since it was looked at
            raise ConfigError(f"{out} exists already: name another folder, as in out={out}_2")
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checked(
    name: str,
    path: Path,
    policy: ExportedPolicy,
    description: Mapping[str, Any],
    observations: Observations,
) -> Agreement:
    """Write the file of a format, if it is not there, and compare it with the checkpoint."""
    text = json.dumps(description)
    run: Runner
    if name == "onnx":
        write_onnx(path, policy, text)
        run = onnx_runner(path, policy.inputs)
    elif name == "torch":
        write_program(path, policy, text)
        run = program_runner(path)
    else:
        settings, restored = load_greedy_policy(path)
        run = module_runner(ExportedPolicy(restored, settings.env, policy.has_mask))
    return compare(path.name, run, policy, observations)
