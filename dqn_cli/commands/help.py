"""Text of --help; it is made without Hydra or torch, which take seconds to import."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dqn_cli.config.choices import Group, groups_in, run_keys, with_parts
from dqn_cli.config.paths import config_folder

WIDTH = 100
COLUMN = 15  # where the choices of a group begin
NO_BREAK = "\xa0"  # a space that no line ends at

TRAIN = """\
dqn-train trains a deep Q-network.

  dqn-train [env=ID] [GROUP=CHOICE ...] [KEY=VALUE ...]

Commands people type
  dqn-train                                        CartPole-v1, ready in a minute
  dqn-train env=LunarLander-v3 agent=d3qn          another environment, another agent
  dqn-train env=Blackjack-v1 steps=1e5             any Gymnasium id
  dqn-train env=my_package:MyEnv-v0                your own
  dqn-train network.widths=[256,256] optimizer.lr=3e-4
  dqn-train -m 'seed=range(8)' update=dqn,double hydra/launcher=population
                                                   every combination side by side, and a table
  dqn-train -m +search=dqn env=CartPole-v1         search for hyperparameters
  dqn-train experiment=soft-huber                  a recipe from a tutorial
  dqn-train resume=outputs/RUN                     go on with an interrupted run or sweep
  dqn-train --cfg job                              the whole configuration, without running
Before and after
  dqn-check env=my_package:MyEnv-v0                what is seen of an environment, what to change
  dqn-eval checkpoint=outputs/RUN                  evaluate the best checkpoint on 100 episodes
  dqn-plot outputs/RUN                             draw learning curves
  dqn-report outputs/SWEEP                         one page: what is better, and how sure that is
  dqn-export checkpoint=outputs/RUN format=onnx    the policy, to run without this package
  tensorboard --logdir outputs                     look at everything

Groups, their choices and the .KEYS of these choices (configs/GROUP/CHOICE.yaml explains each)
{groups}

Keys of every run (configs/config.yaml explains each)
{keys}
  import=[my_package]  hydra.run.dir=FOLDER  hydra.sweep.dir=FOLDER  +env.kwargs.KEY=VALUE

What wins: command line > experiment > tuned > agent > env > the parts' own files.
Flags: -m sweeps; --cfg job prints; --config-dir DIR adds your own YAML files;
       eval "$(dqn-train -sc install=bash)" makes the shell complete words.
Exit codes: 0 done, 1 an error, 2 an unknown flag, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP,
            85 SIGUSR1 or SIGUSR2.
"""
NOTES = {
    "tuned": ["auto, the default, is ENV/AGENT, or else ENV/any"],
    "env": ["any other Gymnasium id; with the extra atari any game, as ALE/Pong-v5"],
}

EVALUATE = """\
dqn-eval evaluates trained agents: greedily, without learning, on fresh episodes.

  dqn-eval checkpoint=PATH [episodes=100] [seed=0] [video=true] [+env.kwargs.KEY=VALUE]
           [record=FILE [epsilon=0]] [play=true] [import=[my_package]]

PATH is the folder of a run (its best checkpoint, or else its last) or of a sweep (all its runs), a
checkpoint, a list [A,B] or a pattern with *. The command prints a table, with a summary over the
seeds of each choice, and writes evaluation.json beside each checkpoint (evaluation_last.json for a
last checkpoint that is not the best).
video=true also records the first episode (pip install 'dqn-train[video]'). +env.kwargs.KEY=VALUE
changes an argument of the environment, over eval.env.kwargs and env.kwargs of the run.
record=FILE.npz writes what the policy does, on other episodes, for data=FILE.npz of dqn-train, and
no evaluation.json; epsilon=E is the probability of a random action. play=true opens a window in
which you play instead of the policy, and record=FILE.npz then writes that.

  dqn-eval checkpoint=outputs/RUN
  dqn-eval checkpoint=outputs/RUN/checkpoints/last episodes=20
  dqn-eval checkpoint=outputs/SWEEP
"""

EXPORT = """\
dqn-export writes a trained policy in a form that runs without this package.

  dqn-export checkpoint=PATH format=onnx|torch|safetensors [hub=true] [out=export]
             [episodes=100] [import=[my_package]]

PATH is the folder of a run (its best checkpoint, or else its last) or a checkpoint. The policy is
greedy, takes a batch of observations as the environment has them, and carries its encoding and
normalization. onnx is for ONNX Runtime in any language, torch for torch.export.load, safetensors
are the weights by name; policy.json beside them says what goes in and what comes out. The file is
compared with the checkpoint on 1,000 observations of the environment; one that differs is not left.
hub=true makes a folder for a model hub: card, weights, ONNX, configuration, results, curve, film.
Its card tells the result of dqn-eval, or of episodes=N new ones; dqn-eval reads the folder back.
out must not exist. The extra export brings what files need: pip install 'dqn-train[export]'.

  dqn-export checkpoint=outputs/RUN format=onnx
  dqn-export checkpoint=outputs/RUN hub=true out=my-agent
"""

CHECK = """\
dqn-check tells what this tool sees of an environment, before hours are spent on training.

  dqn-check env=ID [KEY=VALUE ...] [import=[my_package]] [seconds=5]

It takes random legal actions for some seconds, in processes of its own, so that an environment
that hangs or crashes ends the check with a line. It shows observations, actions, masks, rewards,
episodes, speed and memory; tries whether a seed repeats an episode, whether two copies can live at
once and run in other processes; and ends with what to change and the command that trains.
All words of dqn-train are taken, as env.drop=[mission] or protocol=image; seconds=N is the time
for the whole check: give a slow environment more.

  dqn-check env=LunarLander-v3
  dqn-check env=my_package:MyEnv-v0 +env.kwargs.size=8 env.wrappers=[my_package:Mine]

Exit codes: 0 it can be trained, 1 training would be wrong, 2 an unknown flag, 130 Ctrl-C.
"""

PLOT = """\
dqn-plot draws learning curves of runs and sweeps on one chart.

  dqn-plot RUN... [out=plot.png] [x=steps|seconds] [by=KEY]

RUN is the folder of a run or of a sweep. Runs that differ only in their seed share a line: the
mean over seeds, with its 95 % interval as a band. by=KEY draws a line for each value of one key.

  dqn-plot outputs/SWEEP by=update
  dqn-plot outputs/RUN_1 outputs/RUN_2 out=curves.png x=seconds
"""

REPORT = """\
dqn-report writes one page that answers what a sweep was for, with its uncertainty.

  dqn-report SWEEP... [by=KEY,KEY] [out=report]

SWEEP is the folder of a sweep or of a run. Runs that differ only in seed and environment are one
choice; by=KEY,KEY makes choices of these keys alone. The folder gets report.html, which loads
nothing and can be sent as it is, its charts as PNG, and their data as CSV: which choice is better
and how sure that is, learning curves, scores of every seed, performance profiles, steps and time
to a threshold, settings that differ, runs and what failed, and the commands that repeat them.
A sweep that still trains can be reported.

  dqn-report outputs/SWEEP
  dqn-report outputs/SWEEP_1 outputs/SWEEP_2 by=update,head out=paper
"""


def train_help(
    user_folders: Sequence[Path] = (),
    parts: Mapping[str, Mapping[str, Iterable[str]]] | None = None,
) -> str:
    """Return the help of dqn-train.

    Args:
        user_folders: Folders with groups of the user's own YAML files.
        parts: Keys of the user's registered parts: by group, then by choice.
    """
    groups = with_parts(groups_in([config_folder(), *user_folders]), parts or {})
    groups.sort(key=lambda group: any(group.choices.values()))  # env, agent and experiment first
    keys = run_keys(config_folder() / "config.yaml")
    return TRAIN.format(groups="\n".join(map(_group_text, groups)), keys=_run_text(keys))


def _group_text(group: Group) -> str:
    """Return the choices of a group, and below them their keys."""
    lines = _wrapped(list(group.choices), COLUMN) + _wrapped(NOTES.get(group.name, []), COLUMN)
    prefix = "" if group.package == group.name else group.package
    entries = [_key_text(keys, owners, group) for owners, keys in _keys_by_owner(group).items()]
    if entries:
        entries[0] = prefix + entries[0]
        of_all = 0 if entries[0].endswith(")") else 1
        lines += _wrapped(entries[:of_all], COLUMN)
        lines += _wrapped(entries[of_all:], COLUMN, separator="  ")
    return "\n".join([f"  {group.name:<{COLUMN - 2}}{lines[0].strip()}", *lines[1:]])


def _keys_by_owner(group: Group) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the keys that the same choices have, those of most choices first."""
    keys: dict[str, str] = {}
    for choice_keys in group.choices.values():
        keys |= {key: values or keys.get(key, "") for key, values in choice_keys.items()}
    by_owner: dict[tuple[str, ...], dict[str, str]] = {}
    for key, values in keys.items():
        owners = tuple(choice for choice, names in group.choices.items() if key in names)
        by_owner.setdefault(owners, {})[key] = values
    return dict(sorted(by_owner.items(), key=lambda item: -len(item[0])))


def _key_text(keys: Mapping[str, str], owners: Sequence[str], group: Group) -> str:
    """Return keys with their legal values, and the choices that have them if not all do."""
    text = " ".join(f".{key}={values}" if values else f".{key}" for key, values in keys.items())
    others = [choice for choice in group.choices if choice not in owners]
    if not others:
        return text
    few = len(others) < 3 and len(others) < len(owners)
    named = ["all", "but", *others] if few else owners
    return f"{text} ({NO_BREAK.join(named)})"


def _run_text(keys: Mapping[str, str]) -> str:
    """Return the keys of a run, with those of one section together."""
    entries: dict[str, str] = {}
    for key, values in keys.items():
        section, dot, _ = key.partition(".")
        text = f"{key}={values}" if values else key
        if dot and section in entries:
            entries[section] += f" {text.removeprefix(section)}"
        else:
            entries[section] = text
    plain = [text for section, text in entries.items() if section in keys]
    nested = [text for section, text in entries.items() if section not in keys]
    return "\n".join(_wrapped(plain, 2) + _wrapped(nested, 2, separator="  "))


def _wrapped(entries: Sequence[str], column: int, separator: str = " ") -> list[str]:
    """Return lines from a column to WIDTH; an entry is broken only if it fills a line alone."""
    lines = [""] if entries else []
    for entry in entries:
        longer = f"{lines[-1]}{separator}{entry}" if lines[-1] else entry
        if len(longer) > WIDTH - column and lines[-1]:
            lines.append("")
            longer = entry
        lines[-1:] = textwrap.wrap(longer, WIDTH - column, break_on_hyphens=False) or [""]
    return [" " * column + line.replace(NO_BREAK, " ") for line in lines]
