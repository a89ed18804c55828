"""A headless Chromium without a network, which tells what a page does."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
         "--proxy-server=127.0.0.1:9", "--remote-debugging-pipe")  # fmt: skip
WATCHED = ("Page", "Network", "Runtime", "Log")
MOST_TRIES = 500  # messages between a command and its answer


class View(NamedTuple):
    """A page as it was shown: what it asked for, what went wrong, and how wide it is."""

    requests: list[str]  # addresses, the page's own among them
    errors: list[str]
    width: int
    background: str
    png: bytes


class Browser:
    """Chromium, spoken to by the DevTools protocol: a JSON object and a zero byte each way."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb")
        self._count, self._rest, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in WATCHED:
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and gives its answer; events on the way are kept."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        for _ in range(MOST_TRIES):
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
        raise AssertionError(f"{method} got no answer")

    def show(self, page: Path, width: int, scheme: str) -> View:
        """Shows a page in a window of a width, light or dark."""
        self.events.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900,
                 deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])
        self.ask("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())
        wide = self.value("document.documentElement.scrollWidth")
        background = self.value("getComputedStyle(document.body).backgroundColor")
        picture = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        return View(self._requests(), self._errors(), wide, background,
                    base64.b64decode(picture["data"]))  # fmt: skip

    def value(self, expression: str) -> Any:
        """What JavaScript finds on the page."""
        return self.ask("Runtime.evaluate", expression=expression)["result"]["value"]

    def _requests(self) -> list[str]:
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def _errors(self) -> list[str]:
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [json.dumps(event) for event in self.events if event.get("method") in kinds]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers.fileno(), 1 << 20)
            assert part, "the browser ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        return read


def _moved(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Starts Chromium with a profile in a folder, and ends it."""
    assert CHROMIUM is not None
    # It reads from descriptor 3 and writes to 4, so that the pipes themselves must be others.
    reads, writes, answers, tells = map(_moved, (*os.pipe(), *os.pipe()))
    line = f'exec "$0" "$@" 3<&{reads} 4>&{tells}'
    words = ["bash", "-c", line, CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}"]
    process = subprocess.Popen(words, pass_fds=(reads, tells), stderr=subprocess.DEVNULL)
    os.close(reads)
    os.close(tells)
    try:
        yield Browser(writes, answers)
    finally:
        process.kill()
        process.wait()
