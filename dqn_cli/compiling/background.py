"""Compiling in a process of its own, which does nothing but fill the cache.

Update and acting are then compiled at the same time. Where such a process fails, there is no
package, and the function is compiled where it is called.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress

import torch
from torch import Tensor
from torch.export import ExportedProgram

from dqn_cli.compiling import code_cache
from dqn_cli.compiling.inductor import write_package
from dqn_cli.envs.processes import isolate_process


class Background:
    """Processes that compile; they end with this one."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, program: ExportedProgram, key: str) -> None:
        """Begin to compile.

        Args:
            name: What to wait for.
            program: What is compiled.
            key: Key of its package.
        """
        path = os.pathsep.join(filter(None, sys.path))
        program.example_inputs = None  # they are as large as the replay
        with tempfile.TemporaryFile() as file:
            torch.export.save(program, file)
            file.seek(0)
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", __name__, key, str(torch.get_num_threads())],
                stdin=file,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path},
            )

    def wait(self, name: str) -> None:
        """Wait until what was started by this name has ended."""
        if name in self._processes:
            self._processes[name].wait()
            del self._processes[name]

    def stop(self) -> None:
        """Kill all processes that have not ended, and those that they have started."""
        for process in self._processes.values():
            if process.poll() is None:
                with suppress(OSError, AttributeError):  # the system may have no groups
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.wait()
        self._processes.clear()


def main(key: str, threads: int) -> None:
    """Compile the program in the standard input, and add its package to the cache."""
    isolate_process(os.getppid())
    torch.set_num_threads(threads)  # machine code has loops for so many threads
    program = torch.export.load(sys.stdin.buffer)
    program.example_inputs = (_example_inputs(program), {})
    with code_cache.new_package(key) as package:
        write_package(program, package)


def _example_inputs(program: ExportedProgram) -> tuple[Tensor, ...]:
    names = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.name in names]
    return tuple(torch.empty(x.shape, dtype=x.dtype) for x in (node.meta["val"] for node in nodes))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
