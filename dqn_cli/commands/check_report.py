"""Printing of an inspection: a table of observations, lines of facts, and findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dqn_cli.agent.normalization import UNBOUNDED
from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR
from dqn_cli.checking.findings import Finding, Level
from dqn_cli.checking.seen import Answer, Description, Inspection, PartDescription, Trial

WIDEST = 100
KINDS = {PICTURE: "picture", VECTOR: "numbers", ONE_HOT: "one choice", BINARY: "flags"}
STYLES = {Level.error: "bold red", Level.warning: "yellow", Level.note: "cyan"}
NAMED_ACTIONS = 8


def check_console() -> Console:
    """Return a console that is at most WIDEST columns wide."""
    return Console(width=min(Console().width, WIDEST), highlight=False)


def print_inspection(env_id: str, inspection: Inspection) -> None:
    """Print what is declared, and what was seen beside it."""
    console = check_console()
    console.print(f"env={env_id}", style="bold", markup=False)
    if inspection.description is not None and inspection.description.parts:
        console.print(_parts_table(inspection.description, inspection.trial))
        console.print()
    facts = list(_facts(inspection))
    if facts:
        table = Table.grid(padding=(0, 2))
        for name, text in facts:
            table.add_row(Text(name, "bold"), Text(text))
        console.print(table)
        console.print()


def print_findings(findings: Sequence[Finding], verdict: str) -> None:
    """Print each finding, below it what to change, and the verdict."""
    console = check_console()
    for finding in findings:
        level = finding.level
        console.print(Text.assemble((f"{level.name}: ", STYLES[level]), finding.text))
        if finding.change:
            console.print(Padding(Text(f"-> {finding.change}"), (0, 0, 0, 4), expand=False))
    if findings:
        console.print()
    console.print(Text(verdict, "bold"))


def _parts_table(description: Description, trial: Trial | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("observation", "kind", "shape", "type", "declared", "seen", "stored"):
        is_word = heading in ("kind", "type", "stored")
        table.add_column(heading, overflow="fold", no_wrap=is_word, min_width=6)
    ranges = trial.ranges if trial is not None and trial.ranges else ()
    for index, described in enumerate(description.parts):
        part, seen = described.part, ranges[index] if ranges else None
        shape = "x".join(map(str, part.shape)) or "1"
        table.add_row(
            Text(part.name or "(all)"),
            KINDS[part.kind],
            shape,
            described.dtype,
            _declared(described),
            _range(*seen) if seen else "-",
            "bytes" if part.is_bytes else "floats",
        )
    for name in description.unread:
        table.add_row(Text(name), "not read", "", "", "", "", "left out")
    return table


def _declared(described: PartDescription) -> str:
    lows, highs = described.part.low, described.part.high
    low, high = min(lows), max(highs)
    if high - low < UNBOUNDED:
        return _range(low, high)
    spans = [most - least for least, most in zip(lows, highs, strict=True)]
    return "partly bounded" if min(spans) < UNBOUNDED else "unbounded"


def _range(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}" if low != high else f"always {low:.4g}"


def _facts(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each line below the table."""
    description, trial = inspection.description, inspection.trial
    if description is not None:
        moved = [part.part.name or "all" for part in description.parts if part.colors_moved]
        if moved:
            yield "colors", f"their axis was first and is last now: {', '.join(moved)}"
    if description is not None and description.actions is not None:
        yield "actions", _actions(description)
    if description is None or trial is None or not trial.steps:
        return
    yield "masks", _masks(description, trial)
    low, high, mean = trial.rewards
    yield "rewards", f"{_range(low, high)}, mean {mean:,.4g}"
    yield "episodes", _episodes(description, trial)
    speed = trial.steps / max(trial.seconds, 1e-9)
    longest = f"the longest step took {trial.longest * 1_000:,.1f} ms"
    yield "speed", f"{speed:,.0f} steps a second in {trial.steps:,} steps; {longest}"
    gigabytes = trial.transition_bytes * 1e6 / 1e9
    size = f"{gigabytes:,.1f}" if gigabytes >= 1 else f"{gigabytes:.2g}"
    each = f"{trial.transition_bytes:,.0f} bytes each"
    yield "memory", f"{size} GB for a million transitions ({each})"
    if not trial.failure:
        yield (
            "seeds",
            _answer(
                inspection.repeats,
                "a seed repeats its episode, so resuming is exact",
                "a seed does not repeat its episode, so resuming is not exact",
            ),
        )
        yield "copies", _copies(inspection)
        yield (
            "processes",
            _answer(
                inspection.in_process,
                "runs in processes of its own (env.vectorization=async)",
                "does not run in processes of its own",
            ),
        )


def _actions(description: Description) -> str:
    actions = description.actions
    assert actions is not None
    count = "1 action" if actions.total == 1 else f"{actions.total:,} actions"
    text = f"{count}, {actions.space}: index 0 is {actions.first}"
    if actions.total > 1:
        text += f", index {actions.total - 1:,} is {actions.last}"
    if actions.names:
        more = ", ..." if len(actions.names) > NAMED_ACTIONS else ""
        text += f" ({', '.join(actions.names[:NAMED_ACTIONS])}{more})"
    return text


def _masks(description: Description, trial: Trial) -> str:
    if not trial.masked or trial.spaces is None:
        return "none: every action is always legal"
    average = f"{trial.legal:.3g} of {trial.spaces.actions} actions are legal on average"
    return f"{description.mask_place}; {average}"


def _episodes(description: Description, trial: Trial) -> str:
    limit = description.step_limit
    limited = "no limit is declared" if limit is None else f"the limit is {limit:,}"
    if not trial.lengths:
        return f"none ended in {trial.steps:,} steps; {limited}"
    ends = [f"{trial.terminated:,} terminated", f"{trial.truncated:,} truncated"]
    low, high = min(trial.lengths), max(trial.lengths)
    mean = sum(trial.lengths) / len(trial.lengths)
    length = f"{low:,} steps" if low == high else f"{low:,} to {high:,} steps (mean {mean:,.1f})"
    return f"{len(trial.lengths):,} of {length}, {' and '.join(ends)}; {limited}"


def _copies(inspection: Inspection) -> str:
    if inspection.copies.is_yes and inspection.independent.is_yes is False:
        return "two live side by side, but one changes the other"
    return _answer(inspection.copies, "two live side by side", "two can't live at once")


def _answer(answer: Answer, yes: str, no: str) -> str:
    if answer.is_yes is None:
        return f"not known: {answer.reason}"
    return yes if answer.is_yes else no
