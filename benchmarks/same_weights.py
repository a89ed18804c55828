"""Compare the final weights of two checkouts, bit for bit.

python benchmarks/same_weights.py run CHECKOUT FOLDER [--only NAME ...]
python benchmarks/same_weights.py compare FOLDER OTHER

`run` trains every preset for 2,000 steps, compiled and not, with the code of a checkout, and a game
of ALE, one of MinAtar and a population of four besides. Runs that FOLDER already holds stay.
`compare` prints a row for each run and exits with 1 if any tensor of the learner differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

PRESETS = sorted(path.stem for path in Path(__file__).parents[1].glob("configs/agent/*.yaml"))
COMMON = ["steps=2000", "eval.every=2000", "eval.episodes=1", "checkpoint.every=2000", "threads=1"]
ROUNDS = {
    "pqn": ["train_every=256", "updates_per_train=16"],
    "drqn": ["learning_starts=500", "train_every=8", "updates_per_train=1"],
    "stream_q": [],  # an update in every step
    "adaptive_q": [],
}
OFTEN = ["learning_starts=500", "train_every=4", "updates_per_train=1"]
MEMBERS = ["-m", "seed=0,1,2,3", "hydra/launcher=population", "hydra.launcher.processes=1"]


def runs() -> dict[str, list[str]]:
    """The words of each run, by its name."""
    words = {name: [f"agent={name}", *ROUNDS.get(name, OFTEN)] for name in PRESETS}
    words["rollout_rounds"] = ["env=CartPole-v1", "learning_starts=500"]
    words["minatar"] = ["env=MinAtar/Breakout-v1", *OFTEN]
    words["auxiliary"] = ["auxiliary=[rnd,cql]", *OFTEN]
    words["population"] = [*MEMBERS, "agent=rainbow", *OFTEN]
    words["population_rates"] = [*MEMBERS, "agent=per", "optimizer.lr=1e-3,1e-4", *OFTEN]
    both = {
        f"{name}{'_compiled' if compiled else ''}": [*own, f"compile={str(compiled).lower()}"]
        for name, own in words.items()
        for compiled in (False, True)
    }
    pong = ["env=ALE/Pong-v5", "learning_starts=1500", "replay.capacity=2000", "train_every=8"]
    return both | {"pong": [*pong, "updates_per_train=1", "compile=false"]}


def train(checkout: Path, folder: Path, only: list[str]) -> None:
    """Trains what the folder does not hold yet."""
    environment = dict(os.environ, PYTHONPATH=str(checkout.absolute()))
    for name, words in runs().items():
        if (folder / name).exists() or (only and name not in only):
            continue
        kind = "sweep" if "-m" in words else "run"
        own = [*COMMON, *words, f"hydra.{kind}.dir={(folder / name).absolute()}"]
        command = [sys.executable, "-m", "dqn_cli.commands.train", *own]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        last = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        print(f"{name}: exit code {done.returncode} {' '.join(last)}", flush=True)


def compare(folder: Path, other: Path) -> int:
    """Prints which runs have the same learner, and says how many differ by an exit code."""
    differ = 0
    for name in sorted({path.name for path in (*folder.iterdir(), *other.iterdir())}):
        ours, theirs = (states(each / name) for each in (folder, other))
        same = bool(ours) and len(ours) == len(theirs)
        same = same and all(
            torch.equal(mine, yours)
            for one, another in zip(ours, theirs, strict=True)
            for mine, yours in zip(one.values(), another.values(), strict=True)
        )
        differ += not same
        print(f"{name:32} {len(ours)} of {len(theirs)} members  {'same' if same else 'DIFFERENT'}")
    return int(differ > 0)


def states(run: Path) -> list[dict[str, Any]]:
    """The learner's tensors in the last checkpoint of a run, or of each run of a sweep."""
    found = []
    for file in sorted(run.glob("**/checkpoints/last")):
        with file.open("rb") as stream:
            stream.readline()  # the checksum's line
            found.append(torch.load(stream, weights_only=True)["learner"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("run", "compare"))
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    arguments = parser.parse_args()
    if arguments.action == "compare":
        return compare(arguments.first, arguments.second)
    train(arguments.first, arguments.second, arguments.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
