"""The table that `benchmarks/gpu.py` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPEED_PARTS = ("eager", "graphs", "inductor")
SPEED = {
    "experiment": "experiment", "mode": "mode", "acting": "acting, steps/s",
    "updates": "updates/s", "learning": "learning, steps/s", "both": "both, steps/s",
    "first_seconds": "until the first update, s", "gpu_megabytes": "GPU MB",
}  # fmt: skip


def table(report: Mapping[str, Mapping[str, Any]]) -> str:
    """Return all parts in Markdown; a step of an Atari game has four frames."""
    lines = ["### Machine\n"]
    machines = [row.items() for row in report["machine"]["rows"]]
    lines += [", ".join(f"{key} {value}" for key, value in items) for items in machines]
    lines += ["\n### Agreement with the CPU: largest relative differences\n"]
    lines += _rows(report["agreement"]["rows"])
    lines += ["\n### Speed: steps of four frames each\n"]
    speeds = [row for part in SPEED_PARTS for row in report[part]["rows"] if "mode" in row]
    named = [{title: row.get(key, "") for key, title in SPEED.items()} for row in speeds]
    lines += _rows(named)
    for part in ("games", "tests"):
        rows = [row for row in report[part]["rows"] if "skipped" not in row]
        lines += [f"\n### {part.capitalize()}\n", *_rows(rows)] if rows else []
    lines += ["\n### Parts\n", *_rows([_state(name, part) for name, part in report.items()])]
    failures = [f"{row['experiment']}, {row['mode']}: {row['error']}" for row in speeds
                if "error" in row]  # fmt: skip
    return "\n".join([*lines, *(["", *failures] if failures else []), ""])


def _state(name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    skipped = [row["skipped"] for row in part["rows"] if "skipped" in row]
    state = part["error"] or ", ".join(skipped) or "done"
    return {"part": name, "seconds": part["seconds"], "state": state}


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["nothing was measured"]
    titles = list(rows[0])
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    return lines + [f"| {' | '.join(_cell(row.get(key, '')) for key in titles)} |" for row in rows]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    is_count = isinstance(value, float) and value >= 100
    return f"{value:,.0f}" if is_count else str(value)
