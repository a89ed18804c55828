"""Check and measure the product on a GPU: the first thing to run wherever there is one.

python benchmarks/gpu.py [--small] [--device DEVICE] [out=FILE]

It needs PyTorch and NumPy alone, takes less than 9 minutes, writes one JSON file and prints one
table. Frames are made up. Each part has a process and a deadline of its own, so that one that fails
or hangs does not take the others with it. `--small` tries everything on tiny networks.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the product need not be installed

import torch
from gpu_parts import PARTS, Row
from gpu_tables import table

LIMIT = 520  # seconds of all parts together
Report = dict[str, dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").splitlines()[2])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("out", nargs="?", default="out=outputs/gpu.json")
    arguments = parser.parse_args()
    key, _, path = arguments.out.partition("=")
    if key != "out" or not path:
        parser.error(f"unknown word {arguments.out}: use out=FILE")
    report = measure(arguments.device, arguments.small, Path(path))
    print(table(report))


def measure(device: str | None, small: bool, path: Path) -> Report:
    """Run all parts one after the other; the file is written anew after each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    device, began, report = device or find_device(), time.monotonic(), Report()
    for name, (_, seconds) in PARTS.items():
        left = LIMIT - (time.monotonic() - began)
        print(f"{name} ...", file=sys.stderr, flush=True)
        report[name] = run_part(name, device, small, min(seconds, left))
        path.write_text(json.dumps(report, indent=2) + "\n")
    return report


def find_device() -> str:
    """Return cuda if it is there; another process asks, because a fork can't use CUDA after it."""
    found = run_part("device", "", False, 60)
    return str(found["rows"][0]["device"]) if found["rows"] else "cpu"


def run_part(name: str, device: str, small: bool, seconds: float) -> dict[str, Any]:
    """Run a part in a process of its own, and return its rows, seconds and error."""
    if seconds <= 0:
        return {"seconds": 0.0, "error": "no time was left", "rows": []}
    context, began = multiprocessing.get_context("fork"), time.monotonic()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_rows, args=(sender, name, device, small))
    process.start()
    sender.close()
    rows, error = list[Row](), None
    while True:
        if not receiver.poll(max(began + seconds - time.monotonic(), 0)):
            error = f"not done after {time.monotonic() - began:.0f} s"
            break
        try:
            message = receiver.recv()
        except EOFError:
            break
        if "part_failed" in message:
            error = message["part_failed"]
        else:
            rows.append(message)
    if error is not None:
        process.kill()
    process.join(10)
    if error is None and process.exitcode != 0:
        error = f"ended with exit code {process.exitcode}"
    return {"seconds": round(time.monotonic() - began, 1), "error": error, "rows": rows}


def _send_rows(sender: Connection, name: str, device: str, small: bool) -> None:
    if name == "device":
        sender.send({"device": "cuda" if torch.cuda.is_available() else "cpu"})
        return
    try:
        if small:
            torch.set_num_threads(1)
        for row in PARTS[name][0](device, small):
            sender.send(plain(row))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        sender.send({"part_failed": f"{type(error).__name__}: {reason}"})


def plain(row: Mapping[str, Any]) -> Row:
    """Return the row with numbers of four digits; JSON has no infinity or NaN, so they are text."""
    return {key: _short(value) if isinstance(value, float) else value for key, value in row.items()}


def _short(value: float) -> float | str:
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)


if __name__ == "__main__":
    main()
