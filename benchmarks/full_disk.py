"""Train on a disk that is full at each write in turn, free it, and go on to the same bits.

    python benchmarks/full_disk.py [PAGES ...]

A small file system in memory is filled but for so many pages of 4 kB: by default 0, 1, 2 and so on
until a run has enough. Both a new run and one that resumes must end with one line that names the
file and the full disk, or with warnings. The checkpoint from before must load, and once there is
space, the run must go on to the bits of one that always had space. It needs Linux and its command
`unshare`.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from run_differences import differences

from dqn_cli.commands import train
from dqn_cli.commands.command_line import run_command
from dqn_cli.runs import session
from dqn_cli.runs.manifest import can_resume, has_checkpoint
from dqn_cli.storage import CheckpointError, load_checkpoint

WORDS = (
    "network.widths=[8]", "replay.capacity=200", "replay.batch_size=8", "learning_starts=20",
    "train_every=4", "updates_per_train=1", "steps=160", "eval.every=40", "eval.episodes=1",
    "log.every=10", "checkpoint.every=50", "checkpoint.keep=1", "compile=false", "threads=1",
)  # fmt: skip
HALF = 120  # the step at which a run is killed that resumes
SIZE, PAGE = 4 * 2**20, 4096
INSIDE = "--inside"
ROWS_END = "TensorBoard rows end here"


class Outcome(NamedTuple):
    """How a command ended, and what it printed on stderr and elsewhere."""

    code: int
    errors: list[str]
    lines: list[str]

    @property
    def kind(self) -> str:
        """What came of it: an error, a warning, enough space, or what must not be."""
        warnings = [line for line in self.lines if line.startswith("warning: ")]
        lines = [*warnings, *self.errors]
        says_why = all("No space left on device" in line and "run" in line for line in lines)
        if self.code == 0 and not self.errors and says_why:
            return "warning" if warnings else "enough"
        is_line = len(self.errors) == 1 and self.errors[0].startswith("error: ")
        return "error" if self.code == 1 and is_line and says_why else "wrong"


class Disk:
    """A small file system at a folder, which can be filled."""

    def __init__(self, folder: Path) -> None:
        """Mount it; only this process and its children see it."""
        self.folder, self._filler = folder, folder / "filler"
        options = ["-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
        subprocess.run(["mount", *options], check=True)

    def clear(self) -> None:
        """Remove all files."""
        self.free()
        shutil.rmtree(self.folder / "run", ignore_errors=True)

    def fill(self, pages: int) -> None:
        """Take all space but so many pages."""
        free = os.statvfs(self.folder).f_bfree
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free - pages, 1) * PAGE)

    def free(self) -> None:
        """Free the space."""
        self._filler.unlink(missing_ok=True)


def forked(work: Callable[[], int], log: Path) -> Outcome:
    """Runs a command in a fork of this process, which has imported everything."""

    def child() -> None:
        for descriptor, suffix in ((1, ".out"), (2, ".err")):
            file = os.open(log.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, descriptor)
        code = work()
        sys.stdout.flush()
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    process.kill()
    process.join()
    out, errors = (log.with_suffix(suffix).read_text().splitlines() for suffix in (".out", ".err"))
    return Outcome(process.exitcode or 0, errors, out)


def typed(*words: str) -> int:
    """Types a dqn-train command."""
    sys.argv = ["dqn-train"]
    return run_command(lambda: train.dispatch(list(words)))


def typed_and_killed(*words: str) -> int:
    """Types a dqn-train command that is killed after its second checkpoint."""
    real = session.train

    def killed(*arguments: object) -> Iterator[object]:
        for report in real(*arguments):  # type: ignore[arg-type]
            if report.now[0].steps == HALF:
                os.kill(os.getpid(), signal.SIGKILL)
            yield report

    session.train = killed  # type: ignore[assignment]
    return typed(*words)


class FullDisk:
    """A run on a disk that is full, one that resumes there, and what came of each."""

    def __init__(self, disk: Disk, outside: Path) -> None:
        """Train what a run is compared with, and half of a run that resumes, outside the disk."""
        self._disk, self._outside, self._log = disk, outside, outside / "log"
        self.counts = {"new run": Counter[str](), "resumed run": Counter[str]()}
        self.wrong: list[str] = []
        self._whole = outside / "whole" / "run"
        whole = forked(lambda: typed(*WORDS, f"hydra.run.dir={self._whole}"), self._log)
        assert whole.kind == "enough", whole
        forked(lambda: typed_and_killed(*WORDS, "hydra.run.dir=run"), self._log)
        shutil.copytree("run", outside / "half")

    def __call__(self, kind: str, pages: int) -> str:
        """Let a run have so many pages, then all; return what came of it."""
        run, folder, command = self._disk.folder / "run", "hydra.run.dir=run", list[str]()
        self._disk.clear()
        if kind == "resumed run":
            shutil.copytree(self._outside / "half", run)
        command = ["resume=run"] if kind == "resumed run" else [*WORDS, folder]
        self._disk.fill(pages)
        outcome = forked(lambda: typed(*command), self._log)
        what, wrong = outcome.kind, list[str]()
        if what == "wrong":
            wrong.append(f"{outcome}")
        for file in (run / "checkpoints").glob("*"):
            try:
                load_checkpoint(file)
            except CheckpointError as error:
                wrong.append(str(error))
        if kind == "resumed run" and not has_checkpoint(run):
            wrong.append("its checkpoint is lost")
        wrong += [f"{path} stays" for path in run.rglob("*.tmp")]
        self._disk.free()
        command = ["resume=run"] if can_resume(run) else [*WORDS, folder]
        ended = forked(lambda: typed(*command), self._log)
        if ended.code:
            wrong.append(f"with space: {ended}")
        found = differences(run, self._whole)
        if any(ROWS_END in line for line in outcome.lines):
            found["events"] = []  # people were warned
        wrong += [line for lines in found.values() for line in lines]
        self.counts[kind].update(["runs", what] + ["same bits"] * (not wrong))
        if wrong:
            self.wrong.append(f"{kind}, {pages} pages: {'; '.join(wrong)}"[:1500])
        return what


def attack(pages: Iterable[int]) -> int:
    """Print the table and return 1 if anything is wrong."""
    pages = list(pages)
    with tempfile.TemporaryDirectory() as outside, tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        os.chdir(folder)
        full = FullDisk(disk, Path(outside))
        for kind in full.counts:
            for number in pages or count():
                if full(kind, number) == "enough" and not pages:
                    break
        os.chdir(outside)
        subprocess.run(["umount", folder], check=True)
    columns = ("runs", "error", "warning", "enough", "wrong", "same bits")
    print(f"{'disk full at each write':38}" + "".join(f"{column:>12}" for column in columns))
    for kind, counts in full.counts.items():
        print(f"{kind:38}" + "".join(f"{counts[column]:>12}" for column in columns))
    print("\n".join(full.wrong))
    return int(bool(full.wrong))


def main(pages: Sequence[str] = ()) -> int:
    """Start this file again where it may mount a file system."""
    if not shutil.which("unshare"):
        print("disk full at each write: not tried, since there is no command unshare")
        return 1
    command = ["unshare", "-rm", sys.executable, __file__, INSIDE, *pages]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    inside = sys.argv[1:2] == [INSIDE]
    sys.exit(attack(map(int, sys.argv[2:])) if inside else main(sys.argv[1:]))
