from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dqn_cli import __version__
from dqn_cli.commands.command_line import (
    exit_on_flags,
    import_modules,
    print_help_or_version,
    run_command,
    shell_command,
)


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("two\nlines"), 1, "error: two lines"),
        (KeyError("a"), 1, "error: KeyError: 'a' (HYDRA_FULL_ERROR=1 shows where)"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (
            SystemExit(2),
            2,
            "error: unknown flag: words have no dashes, as in env=CartPole-v1; see --help",
        ),
    ],
)
def test_every_error_is_one_last_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert run_command(lambda: fail(error)) == code
    assert capsys.readouterr().err.splitlines() == [line]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_closed_pipe_ends_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)

    def command() -> int:
        for _ in range(2):
            print("said", file=getattr(sys, name), flush=True)
        return 7

    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, name, stream)
        assert run_command(command) == 7
        assert getattr(sys, name) is stream


LEFT = {
    "thread": "threading.Thread(target=time.sleep, args=(1000,)).start()",
    "process": "multiprocessing.Process(target=time.sleep, args=(1000,)).start()",
    "process that can't be killed": (  # as joblib's
        "child = multiprocessing.Process(target=time.sleep, args=(40,));"
        "child.start(); child.kill = None"
    ),
    "deaf process": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "multiprocessing.Process(target=time.sleep, args=(1000,), daemon=True).start()"
    ),
    "handler": "atexit.register(time.sleep, 1000)",
    "executor": "futures.ThreadPoolExecutor().submit(time.sleep, 1000)",
}


@pytest.mark.parametrize("left", LEFT)
def test_a_process_ends_whatever_the_users_code_has_left(left: str) -> None:
    imports = (
        "import atexit, multiprocessing, signal, threading, time; from concurrent import futures"
    )
    ends = "from dqn_cli.commands.command_line import exit_with; exit_with(7)"
    code = "\n".join([imports, LEFT[left], ends])
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 7


@pytest.mark.parametrize("code", [0, 130, 143])
def test_exit_codes_pass_through(code: int) -> None:
    assert run_command(lambda: fail(SystemExit(code))) == code


def test_a_package_in_the_working_folder_is_found(in_folder: Path) -> None:
    (in_folder / "package_of_a_test.py").write_text("")
    import_modules(["package_of_a_test"])
    assert "package_of_a_test" in sys.modules


def test_help_and_version_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_help_or_version(["--version"], lambda: "help")
    assert print_help_or_version(["a=b", "-h"], lambda: "help")
    assert not print_help_or_version(["a=b"], lambda: "help")
    assert capsys.readouterr().out.splitlines() == [f"dqn-train {__version__}", "help"]


def test_flags_are_found() -> None:
    exit_on_flags(["a=-1"])
    with pytest.raises(SystemExit) as ended:
        exit_on_flags(["a=b", "--fast"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("modules", "env_ids", "expected"),
    [
        ([], ["CartPole-v1"], "dqn-eval checkpoint=run"),
        ([], ["mine:Env-v0", "CartPole-v1"], "dqn-eval checkpoint=run import=mine"),
        (["nets"], ["mine:Env-v0"], "dqn-eval checkpoint=run import=nets import=mine"),
        (["mine"], ["mine:Env-v0", "mine:Env-v0"], "dqn-eval checkpoint=run import=mine"),
        (["mine", "mine.nets", "mines"], [], "dqn-eval checkpoint=run import=mine import=mines"),
    ],
)
def test_a_shell_command_names_the_users_modules(
    monkeypatch: pytest.MonkeyPatch, modules: list[str], env_ids: list[str], expected: str
) -> None:
    monkeypatch.setattr("dqn_cli.commands.command_line.imported_modules", modules)
    assert shell_command("dqn-eval", "checkpoint=run", env_ids) == expected


def test_a_shell_command_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqn_cli.commands.command_line.imported_modules", [])
    assert shell_command("dqn-eval", "checkpoint=a run", []) == "dqn-eval 'checkpoint=a run'"
