"""Damage files of runs in many ways, use each, and print what came of it.

    python benchmarks/mutations.py [FILES] [SEED]

Each of FILES (default 10,000) is refused in one line or loads the true data. A field that is
changed and signed anew may also hold another value that can be; then the run goes on.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mutated import (
    HEADER,
    Outcome,
    attempt,
    is_same,
    mutate_bytes,
    signed,
    with_mutated_field,
    working_in,
)

from dqn_cli.commands import evaluate, train
from dqn_cli.commands.command_line import run_command
from dqn_cli.storage import CheckpointError, load_checkpoint

SMALL = (
    "network.widths=[8]", "replay.capacity=200", "replay.batch_size=8", "learning_starts=20",
    "steps=120", "eval.every=60", "eval.episodes=1", "checkpoint.every=50", "compile=false",
)  # fmt: skip
RUNS = {
    "dqn": ("env.normalize=running",),
    "per": ("agent=per", "replay.n_step=3", "env.num_envs=3"),
    "drqn": ("agent=drqn", "network.units=5", "network.length=4", "network.burn_in=2"),
    "pqn": ("agent=pqn", "env.num_envs=4", "train_every=32", "learning_starts=0"),
}
CHECKPOINT, RESULT, YAML = "checkpoints/last", "result.json", ".hydra/{}.yaml"
MEMORY_FACTOR, MEMORY_SPARE, SECONDS = 10, 128 * 2**20, 5.0


def main(count: int, seed: int) -> int:
    """Print the table and return 1 if any file did what it must not."""
    rng, table, worst = random.Random(seed), dict[str, Counter[str]](), list[str]()
    peak, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        for name, words in RUNS.items():
            keys = {word.partition("=")[0] for word in words}
            base = [word for word in SMALL if word.partition("=")[0] not in keys]
            outcome = attempt(lambda w=(*base, *words), n=name: typed(*w, f"hydra.run.dir={n}"))
            assert outcome.code == 0, outcome.lines
        for number in range(count):
            name, kind = rng.choice(list(RUNS)), rng.choice(list(KINDS))
            shutil.rmtree("run", ignore_errors=True)
            shutil.copytree(name, "run")
            change, file = KINDS[kind](Path("run"), rng)
            size = file.stat().st_size
            is_true = holds_true_data(file, Path(name).joinpath(*file.parts[1:]))
            if kind.startswith("policy"):
                outcome = attempt(lambda: evaluated("checkpoint=run", "episodes=1"))
            else:
                outcome = attempt(lambda: typed("resume=run", "steps=128"))
            what = judged(outcome, is_true)
            too_large = outcome.grown > MEMORY_FACTOR * size + MEMORY_SPARE
            row = table.setdefault(kind, Counter())
            row["files"] += 1
            row[what] += 1
            row["memory"] += too_large
            row["seconds"] += outcome.seconds > SECONDS
            peak, slowest = max(peak, outcome.grown), max(slowest, outcome.seconds)
            if what == "wrong" or too_large or outcome.seconds > SECONDS:
                worst.append(f"{number} {name} {kind}: {change}: {outcome}"[:2000])
                print(worst[-1], file=sys.stderr)
            if number % 1000 == 999:
                print(f"{number + 1} of {count} files, {len(worst)} wrong", file=sys.stderr)
    columns = ("files", "refused", "true data", "goes on", "wrong", "memory", "seconds")
    print(f"{'':26}" + "".join(f"{column:>11}" for column in columns))
    for kind, row in sorted(table.items()):
        print(f"{kind:26}" + "".join(f"{row[column]:>11}" for column in columns))
    total = sum(table.values(), Counter())
    print(f"{'all':26}" + "".join(f"{total[column]:>11}" for column in columns))
    print(f"at most {peak / 1e6:.0f} MB beyond those before, and {slowest:.1f} s for a file")
    print("\n".join(worst[:20]))
    return int(bool(worst))


def typed(*words: str) -> int:
    """Type a dqn-train command."""
    sys.argv = ["dqn-train"]
    return run_command(lambda: train.dispatch(list(words)))


def evaluated(*words: str) -> int:
    """Type a dqn-eval command."""
    return run_command(lambda: evaluate.dispatch(list(words)))


def judged(outcome: Outcome, is_true: bool) -> str:
    """Return what came of a file: refused, true data, goes on or wrong."""
    lines = [line for line in outcome.lines if not line.startswith("warning: ")]
    if outcome.code:
        is_line = len(lines) == 1 and lines[0].startswith("error: ")
        is_known = is_line and "HYDRA_FULL_ERROR" not in lines[0] and "weights_only" not in lines[0]
        return "refused" if is_known and lines[0].isprintable() else "wrong"
    return "true data" if is_true else "goes on"


def holds_true_data(file: Path, original: Path) -> bool:
    """Return whether a mutated file holds the data of the original."""
    if file.suffix:
        return file.read_bytes() == original.read_bytes()
    try:
        return is_same(load_checkpoint(file), load_checkpoint(original))
    except CheckpointError:
        return False


def damaged(run: Path, name: str, rng: random.Random) -> tuple[str, Path]:
    """Change bytes of a file."""
    file = run / name
    file.write_bytes(mutate_bytes(file.read_bytes(), rng))
    return "bytes", file


def damaged_and_signed(run: Path, name: str, rng: random.Random) -> tuple[str, Path]:
    """Change bytes of a checkpoint behind its checksum, and compute that anew."""
    file = run / name
    file.write_bytes(signed(mutate_bytes(file.read_bytes()[HEADER:], rng)))
    return "bytes", file


def changed(run: Path, name: str, rng: random.Random) -> tuple[str, Path]:
    """Change a field of a checkpoint, and compute its checksum anew."""
    return with_mutated_field(run / name, rng), run / name


def unstarted(run: Path) -> Path:
    """Leave a run as it is before its first checkpoint."""
    shutil.rmtree(run / "checkpoints")
    (run / RESULT).unlink()
    return run


KINDS = {
    "checkpoint, bytes": lambda run, rng: damaged(run, CHECKPOINT, rng),
    "checkpoint, signed bytes": lambda run, rng: damaged_and_signed(run, CHECKPOINT, rng),
    "checkpoint, fields": lambda run, rng: changed(run, CHECKPOINT, rng),
    "policy, signed bytes": lambda run, rng: damaged_and_signed(run, "checkpoints/best", rng),
    "policy, fields": lambda run, rng: changed(run, "checkpoints/best", rng),
    "manifest, signed bytes": lambda run, rng: damaged_and_signed(
        unstarted(run), ".hydra/plan", rng
    ),
    "manifest, fields": lambda run, rng: changed(unstarted(run), ".hydra/plan", rng),
    "result.json": lambda run, rng: damaged(run, RESULT, rng),
    "YAML": lambda run, rng: damaged(
        run, YAML.format(rng.choice(["overrides", "config", "hydra"])), rng
    ),
}

if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(arguments + [10_000, 0][len(arguments) :])))
