"""`dqn-train verify=NAME`: do shipped settings still reach their documented scores?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

from dqn_cli.commands.run_discovery import find_runs
from dqn_cli.config.current_command import Sweep
from dqn_cli.config.hints import did_you_mean
from dqn_cli.config.validation import ConfigError
from dqn_cli.evaluation.documented_scores import (
    EPISODES,
    EVALUATION_SEED,
    FALSE_ALARMS,
    Documented,
    chance_as_low,
    documented_scores,
    fewest_seeds,
)
from dqn_cli.policies import evaluate_checkpoint, find_checkpoint

FIRST_SEED = 2_000  # neither documented seeds nor those of a search come as far
SEEDS = 3
WORDS = ("verify", "seeds")


def verification_words(arguments: Sequence[str]) -> dict[str, str]:
    """Return the words of `verify=NAME seeds=N` by key; none if settings are not verified."""
    pairs = dict(word.split("=", 1) for word in arguments if word.startswith(tuple(_PREFIXES)))
    return pairs if "verify" in pairs else {}


def sweep_of(words: dict[str, str], others: Sequence[str]) -> tuple[Documented, list[str]]:
    """Return what is documented, and the command that trains it on fresh seeds.

    Raises:
        ConfigError: There are no documented scores of this name, or too few seeds to tell.
    """
    known, name = documented_scores(), words["verify"]
    if name not in known:
        raise ConfigError(
            f"verify={name} has no documented scores; there are those of {', '.join(known)}"
            f"{did_you_mean(name, known)}"
        )
    documented = known[name]
    least = fewest_seeds(len(documented.scores))
    text = words.get("seeds", str(max(SEEDS, least)))
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(
            f"seeds={text} is not valid: beside {len(documented.scores)} documented seeds it must"
            f" be a whole number of at least {least}, or no result could be called worse"
        )
    seeds = f"seed=range({FIRST_SEED},{FIRST_SEED + int(text)})"
    command = ["-m", *documented.words, seeds, "hydra/launcher=population", *others]
    return documented, command


def verify(
    name: str, documented: Documented, train: Callable[[], int], modules: Sequence[str]
) -> int:
    """Train fresh seeds, evaluate them, and say whether they are as good as documented.

    Returns:
        0 if they are, 1 if they are worse or a run failed.
    """
    if exit_code := train():
        return exit_code
    assert Sweep.folder is not None
    paths = [find_checkpoint(run) for run in find_runs(Sweep.folder)]
    fresh = [evaluate_checkpoint(p, EPISODES, EVALUATION_SEED, modules)["mean"] for p in paths]
    chance = chance_as_low(fresh, documented.scores)
    is_worse = chance < FALSE_ALARMS
    print(f"{name}: mean of {EPISODES} new greedy episodes of each seed's best checkpoint")
    print(f"  documented  {_summary(documented.scores)}, commit {documented.commit}")
    print(f"  fresh       {_summary(fresh)}")
    verdict = "worse than documented" if is_worse else "as documented"
    print(
        f"{verdict}: equal settings score as low with a chance of {chance:.2g}; below"
        f" {FALSE_ALARMS:g}, the chance of a false alarm, they are called worse"
    )
    return int(is_worse)


def _summary(scores: Sequence[float]) -> str:
    return f"{len(scores)} seeds: mean {mean(scores):.1f}, {min(scores):.1f} to {max(scores):.1f}"


_PREFIXES = [f"{word}=" for word in WORDS]
