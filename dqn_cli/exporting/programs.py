"""Programs of an exported policy: ONNX, and PyTorch's own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqn_cli.arrays import Array
from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.ports import Port, example
from dqn_cli.text import one_line

# From arrays of the inputs [batch, ...] to those of the outputs.
Runner = Callable[[Sequence[Array]], Sequence[Array]]

ONNX, PROGRAM = "model.onnx", "model.pt2"
METADATA = "dqn-train"  # key of the description in an ONNX file
LONGEST_REASON = 300  # letters
EXAMPLES = 3  # rows of the batch that a program is traced with, whose length may then be any


class ConversionError(ValueError):
    """A network with operations that a format does not have."""


def trace(policy: ExportedPolicy) -> torch.export.ExportedProgram:
    """Return the policy as a program of tensor operations that takes a batch of any length."""
    inputs = tuple(example(port, EXAMPLES) for port in policy.inputs)
    batch = torch.export.Dim("batch")
    return torch.export.export(
        policy.eval(), inputs, dynamic_shapes=(tuple({0: batch} for _ in inputs),)
    )


def write_onnx(path: Path, policy: ExportedPolicy, description: str) -> None:
    """Write one ONNX file with the weights and the description in it."""
    pooling = torch.ops.aten.adaptive_max_pool2d.default
    with _quiet(), _conversion("onnx"):
        program = trace(policy).run_decompositions({pooling: pooled_by_slices})
        onnx = torch.onnx.export(
            program,
            (),
            input_names=[port.name for port in policy.inputs],
            output_names=[port.name for port in policy.outputs],
            dynamic_shapes=(tuple({0: "batch"} for _ in policy.inputs),),
            dynamo=True,
            verbose=False,
        )
        assert onnx is not None
        onnx.model.metadata_props[METADATA] = description
        onnx.save(path, external_data=False)


def onnx_runner(path: Path, inputs: Sequence[Port]) -> Runner:
    """Return a function that runs an ONNX file in ONNX Runtime, on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in inputs]

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        outputs: Sequence[Array] = session.run(None, dict(zip(names, arrays, strict=True)))
        return outputs

    return run


def write_program(path: Path, policy: ExportedPolicy, description: str) -> None:
    """Write a program that `torch.export.load` reads."""
    with _quiet(), _conversion("torch"):
        torch.export.save(trace(policy), path, extra_files={METADATA: description})


def program_runner(path: Path) -> Runner:
    """Return a function that runs a program of PyTorch that was written here."""
    with _quiet():
        return module_runner(torch.export.load(path).module())


def module_runner(module: Callable[..., Any]) -> Runner:
    """Return a function of arrays that runs a module of tensors."""

    @torch.no_grad()
    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [output.numpy() for output in module(*map(torch.from_numpy, arrays))]

    return run


def pooled_by_slices(x: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return what `adaptive_max_pool2d` does, by operations that ONNX has; positions are zeros."""
    for axis, count in zip((-2, -1), size, strict=True):
        length = x.shape[axis]
        bins = [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]
        rows = [x.narrow(axis, low, high - low).amax(axis, keepdim=True) for low, high in bins]
        x = torch.cat(rows, axis)
    return x, torch.zeros_like(x, dtype=torch.int64)


@contextmanager
def _conversion(name: str) -> Iterator[None]:
    """Turn an error about a network, which may be the user's own, into one line."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = one_line(error)[:LONGEST_REASON]
        raise ConversionError(f"format={name} can't hold this network: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what PyTorch says about its own parts."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
