"""Kill runs at random moments, resume them, and compare them with runs that nobody killed.

    python benchmarks/endure.py [KILLS] [SEED]

Each of KILLS (default 100) ends a run with SIGKILL. It is resumed, and may be killed again, until
it finishes; then its checkpoints, events and result.json have to be those of an uninterrupted run.
A run that was killed before it can be resumed is typed again. At the end, the disk is full at each
write of a run (full_disk.py).
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import full_disk
from killing import Ended, random_moment, run_command
from run_differences import differences, runs_in

from dqn_cli.commands.sweeps import unfinished_command
from dqn_cli.hardware import available_cores
from dqn_cli.runs.manifest import can_resume, has_checkpoint

COMMON = (
    "threads=1 log.every=100 learning_starts=200 updates_per_train=1 eval.episodes=3"
    " eval.max_episode_steps=100"
)
OFTEN = "train_every=4 eval.every=700 checkpoint.every=500"
FOUR = "env.num_envs=4 train_every=8 eval.every=700 checkpoint.every=400"
SHORT = "network.units=8 network.length=3 network.burn_in=1 replay.batch_size=8"


class Configuration(NamedTuple):
    """The words of a run or sweep."""

    typed: str
    # A run that was killed while it compiled goes on with the folder of compiled code it left.
    keeps_cache: bool = False

    @property
    def compiles(self) -> bool:
        """Whether the run is compiled."""
        return "compile=true" in self.typed

    def words(self, folder: Path) -> list[str]:
        """The words of the command; later ones win over earlier ones with the same key."""
        keys = {word.partition("=")[0]: word for word in f"{COMMON} {self.typed}".split()}
        kind = "sweep" if "-m" in keys else "run"
        return [*keys.values(), f"hydra.{kind}.dir={folder}"]


CONFIGURATIONS = {
    "dqn, CartPole, compiled": Configuration(
        f"agent=dqn steps=3000 {OFTEN} compile=true", keeps_cache=True
    ),
    "rainbow, LunarLander, four, compiled": Configuration(
        f"agent=rainbow env=LunarLander-v3 {FOUR} steps=2400 network.widths=[32] compile=true"
    ),
    "drqn, PositionCartPole, compiled": Configuration(
        f"agent=drqn env=PositionCartPole-v1 steps=2000 {OFTEN} {SHORT} compile=true"
    ),
    "pqn, MinAtar, four, compiled": Configuration(
        f"agent=pqn env=MinAtar/Breakout-v1 {FOUR} train_every=64 steps=3200 compile=true"
    ),
    "iqn, CartPole, async, compiled": Configuration(
        f"agent=iqn {FOUR} env.vectorization=async steps=2400 network.widths=[32] compile=true"
    ),
    "d3qn, LunarLander, async": Configuration(
        f"agent=d3qn env=LunarLander-v3 {FOUR} env.vectorization=async env.normalize=running"
        " replay=prioritised replay.n_step=3 steps=3000 checkpoint.keep=2 compile=false"
    ),
    "dqn, Pong": Configuration(
        "agent=dqn env=ALE/Pong-v5 steps=400 replay.capacity=300 train_every=8 log.every=40"
        " eval.every=150 eval.max_episode_steps=40 checkpoint.every=60 compile=false"
    ),
    "population of four": Configuration(
        "-m seed=0,1 update=dqn,double hydra/launcher=population hydra.launcher.processes=2"
        f" steps=3000 {OFTEN} compile=false"
    ),
}
COLUMNS = (
    "kills", "typed again", "from start", "resumed", "in a write", "compiling", "same bits",
    "events", "result", "tidy",
)  # fmt: skip


class Attack:
    """Kills of one configuration."""

    def __init__(self, name: str, kills: int, seed: int, folder: Path) -> None:
        """Attack it in a folder, with so many kills."""
        self.name, self.configuration = name, CONFIGURATIONS[name]
        self.counts, self.wrong = Counter[str](), list[str]()
        self._kills, self._rng = kills, random.Random(f"{seed} {name}")
        self._folder, self._rounds = folder, 0

    def __call__(self) -> Attack:
        """Kill and compare until all kills are done."""
        whole = self._folder / "whole" / "run"
        times = run_command(self.configuration.words(whole), whole)
        # Now compiled code is there, which the first run had to make.
        if self.configuration.compiles:
            times = run_command(
                self.configuration.words(whole.with_name("again")), whole.with_name("again")
            )
        if times.code:
            self.wrong.append(f"{self.name}: {times.error}")
            return self
        while self.counts["kills"] < self._kills and not self._stuck:
            self._round(whole, times)
        return self

    @property
    def _stuck(self) -> bool:
        return self._rounds > 5 + 3 * self._kills

    def _round(self, whole: Path, times: Ended) -> None:
        """Kill one run until it finishes before its kill, or all kills are done."""
        self._rounds += 1
        run = self._folder / str(self._rounds) / "run"
        before, variables = self.counts["kills"], dict[str, str]()
        while True:
            words = [f"resume={run}"] if is_resumable(run) else self.configuration.words(run)
            moment = None
            if self.counts["kills"] < self._kills:
                compiles = self.configuration.compiles
                moment = random_moment(self._rng, times.begun, times.seconds, compiles)
            cold = moment is not None and moment.mark == "compiling"
            if cold and not variables:
                variables = {"XDG_CACHE_HOME": str(run.with_name("cache"))}
            ended = run_command(words, run, moment, variables)
            if not self.configuration.keeps_cache:
                variables = {}
            if ended.left:
                self._note("tidy", f"processes {ended.left} go on after {moment}")
            if not ended.killed:
                break
            self._count_kill(run, cold)
        self._judge(ended, run, whole, self.counts["kills"] - before)

    def _count_kill(self, run: Path, compiling: bool) -> None:
        self.counts["kills"] += 1
        self.counts["in a write"] += any(run.rglob(".*.tmp"))
        self.counts["compiling"] += compiling
        if not is_resumable(run):
            self.counts["typed again"] += 1
        elif any(has_checkpoint(each) for each in runs_in(run)):
            self.counts["resumed"] += 1
        else:
            self.counts["from start"] += 1

    def _judge(self, ended: Ended, run: Path, whole: Path, kills: int) -> None:
        """Compare a run that came to its end after so many kills."""
        found = differences(run, whole)
        if ended.code:
            found["bits"].append(f"exit code {ended.code}: {ended.error}")
        done = f"{self.counts['kills']} of {self._kills} kills"
        print(f"{self.name}: {done}, {sum(map(len, found.values()))} differences", file=sys.stderr)
        columns = {"same bits": "bits", "events": "events", "result": "result", "tidy": "files"}
        for column, kind in columns.items():
            if found[kind]:
                self._note(column, f"after {kills} kills: {'; '.join(found[kind])}")
            else:
                self.counts[column] += kills

    def _note(self, column: str, text: str) -> None:
        self.wrong.append(f"{self.name}, round {self._rounds}, {column}: {text}"[:1500])


def is_resumable(folder: Path) -> bool:
    """Whether resume= goes on with a run or sweep."""
    runs = runs_in(folder)
    return any(map(can_resume, runs)) or unfinished_command(folder) is not None


def table(attacks: list[Attack]) -> Iterator[str]:
    """The lines of the table."""
    yield f"{'':38}" + "".join(f"{column:>12}" for column in COLUMNS)
    for attack in attacks:
        counts = "".join(f"{attack.counts[column]:>12}" for column in COLUMNS)
        yield f"{attack.name:38}{counts}"
    total = sum((attack.counts for attack in attacks), Counter[str]())
    yield f"{'all':38}" + "".join(f"{total[column]:>12}" for column in COLUMNS)


def main(kills: int, seed: int) -> int:
    """Print both tables and return 1 if anything is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder  # killed processes leave what they unpacked
        names = list(CONFIGURATIONS)
        shares = [kills // len(names) + (n < kills % len(names)) for n in range(len(names))]
        attacks = [
            Attack(name, share, seed, Path(folder) / str(number))
            for number, (name, share) in enumerate(zip(names, shares, strict=True))
        ]
        with ThreadPoolExecutor(available_cores()) as pool:
            attacks = list(pool.map(lambda attack: attack(), attacks))
    print("\n".join(table(attacks)), flush=True)
    wrong = [line for attack in attacks for line in attack.wrong]
    missed = any(
        attack.counts[column] != share
        for attack, share in zip(attacks, shares, strict=True)
        for column in ("kills", "same bits", "events", "result", "tidy")
    )
    print("\n".join(wrong))
    print(flush=True)
    return int(bool(wrong) or missed) | full_disk.main()


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(arguments + [100, 0][len(arguments) :])))
