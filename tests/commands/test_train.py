from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dqn_cli.storage import load_checkpoint

Typed = Callable[..., int]
SMALL = (
    "steps=600",
    "learning_starts=100",
    "train_every=4",
    "updates_per_train=1",
    "network.widths=[16]",
    "eval.every=300",
    "eval.episodes=2",
    "log.every=100",
)


def run_at(folder: str) -> str:
    return f"hydra.run.dir={folder}"


def parameters(run: Path, checkpoint: str = "last") -> torch.Tensor:
    found: torch.Tensor = load_checkpoint(run / "checkpoints" / checkpoint)["parameters"]
    return found


def test_a_run_writes_what_the_interface_promises(type_train: Typed, in_folder: Path) -> None:
    assert type_train(*SMALL, run_at("run")) == 0
    run = in_folder / "run"
    assert (run / "checkpoints" / "last").is_file()
    assert (run / "checkpoints" / "best").is_file()
    assert (run / ".hydra" / "config.yaml").is_file()
    assert list(run.glob("events.*"))
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["error"] is None
    assert (result["steps"], result["updates"]) == (600, 125)
    assert result["final"]["step"] == 600
    assert set(result["seconds"]) == {"total", "train", "eval", "compile"}
    assert (result["compile"], result["seconds"]["compile"]) == (False, 0)
    assert result["overrides"] == list(SMALL)


def test_the_best_checkpoint_holds_no_replay(type_train: Typed, in_folder: Path) -> None:
    type_train(*SMALL, run_at("run"))
    assert "stream" not in load_checkpoint(in_folder / "run" / "checkpoints" / "best")
    assert "stream" in load_checkpoint(in_folder / "run" / "checkpoints" / "last")


def test_same_seed_same_bits_and_other_seed_other_weights(
    type_train: Typed, in_folder: Path
) -> None:
    type_train(*SMALL, run_at("a"))
    # Looking more or less often must change nothing.
    type_train(*SMALL, "eval.every=50", "log.every=7", "checkpoint.every=100", run_at("b"))
    type_train(*SMALL, "seed=1", run_at("c"))
    a, b, c = (parameters(in_folder / name) for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    "more",
    [
        ("exploration.duration=200",),
        ("env.num_envs=3", "replay.n_step=3", "exploration=exponential"),
        ("env=FrozenLake-v1", "agent=d3qn", "target=soft", "exploration=constant"),
        ("exploration=multiplicative", "target.unit=episodes", "target.every=2"),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_bits(
    type_train: Typed, in_folder: Path, more: tuple[str, ...]
) -> None:
    words = (*SMALL, "optimizer.schedule=constant", *more)
    type_train(*words, run_at("whole"))
    type_train(*words, "steps=350", run_at("halves"))
    assert type_train("resume=halves", "steps=600") == 0
    whole, halves = (
        load_checkpoint(in_folder / n / "checkpoints/last") for n in ("whole", "halves")
    )
    assert torch.equal(whole["parameters"], halves["parameters"])
    assert whole["clock"] == halves["clock"]
    assert whole["tracker"]["returns"] == halves["tracker"]["returns"]


def test_a_finished_run_says_so(type_train: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    type_train(*SMALL, run_at("run"))
    assert type_train("resume=run") == 0
    assert "finished" in capsys.readouterr().out.splitlines()[-1]


def test_resume_takes_a_path_with_spaces_and_equals(type_train: Typed, in_folder: Path) -> None:
    type_train(*SMALL, run_at("run"))
    (in_folder / "run").rename(in_folder / "a b=c")
    assert type_train("resume=a b=c", "steps=700") == 0


def test_a_sweep_ends_in_a_table_with_its_failures(
    type_train: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*SMALL, "-m", "update=dqn,double", "replay.batch_size=32,60000")
    assert type_train(*words, "hydra.sweep.dir=sweep") == 1
    rows = [
        line.split(",") for line in (in_folder / "sweep" / "sweep.csv").read_text().splitlines()
    ]
    assert rows[0][:4] == ["job", "folder", "status", "score"]
    assert sorted(row[2] for row in rows[1:]) == ["failed", "failed", "finished", "finished"]
    scores = [float(row[3]) for row in rows[1:] if row[3]]
    assert scores == sorted(scores, reverse=True)
    shown = capsys.readouterr()
    assert "finished" in shown.out
    assert "larger than replay.capacity" in shown.err.splitlines()[-1]


def test_a_folder_with_a_run_is_never_overwritten(type_train: Typed, in_folder: Path) -> None:
    type_train(*SMALL, run_at("run"))
    before = parameters(in_folder / "run")
    assert type_train(*SMALL, "seed=3", run_at("run")) == 1
    assert torch.equal(parameters(in_folder / "run"), before)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["stepss=3"], "did you mean steps"),
        (["+seeed=3"], "did you mean seed"),
        (["+optimizer.lrr=3"], "did you mean lr"),
        (["network=tabl"], "did you mean table"),
        (["env=CartPol-v1"], "did you mean CartPole-v1"),
        (["env=Pendulum-v1"], "continuous"),
        (["env=no_such_package:Env-v0"], "no_such_package"),
        (["optimizer.lr=fast"], "optimizer.lr=fast"),
        (["steps=-5"], "steps=-5"),
        (["network.widths=[0]"], "network.widths[0]=0"),
        (["replay.batch_size=9", "replay.capacity=8"], "must fit into the buffer"),
        (["target.unit=hours"], "target.unit"),
        (["gamma=1.5"], "gamma=1.5"),
        (["seed=null"], "seed=null"),
        (["network=table"], "network.low"),
        (["device=cuda"], "device=cuda"),
        (["+env.kwargs.gravityy=1"], "gravityy"),
        (["resume=nowhere"], "nowhere does not exist"),
        (["words without meaning"], "key=value"),
        (["hydra.run.dir=/proc/nowhere"], "can't write"),
        (["import=[no_such_package]"], "no_such_package"),
    ],
)
def test_bad_input_is_one_line(
    type_train: Typed, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    if words == ["device=cuda"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert type_train("steps=200", *words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: ")
    assert told in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_a_loss_that_explodes_stops_the_run_and_keeps_the_good_checkpoint(
    type_train: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*SMALL, "optimizer=sgd", "optimizer.lr=1e25", "head.loss=squared")
    assert (
        type_train(*words, "optimizer.max_grad_norm=null", "checkpoint.every=50", run_at("r")) == 1
    )
    assert "NaN" in capsys.readouterr().err.splitlines()[-1]
    result = json.loads((in_folder / "r" / "result.json").read_text())
    assert result["status"] == "failed"
    assert "NaN" in result["error"]
    assert torch.isfinite(parameters(in_folder / "r")).all()


def test_an_unknown_flag_exits_with_2(type_train: Typed) -> None:
    assert type_train("--fast") == 2


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_write_a_checkpoint(in_folder: Path, sent: signal.Signals, code: int) -> None:
    words = [sys.executable, "-m", "dqn_cli.commands.train", "steps=1e6", run_at("run")]
    words += ["compile=false", "log.every=10"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    wait_until(lambda: any((in_folder / "run").glob("events.*")))
    time.sleep(1)
    process.send_signal(sent)
    assert process.wait(60) == code
    assert (in_folder / "run" / "checkpoints" / "last").is_file()
    assert json.loads((in_folder / "run" / "result.json").read_text())["status"] == "interrupted"


def test_a_closed_terminal_leaves_a_checkpoint(in_folder: Path) -> None:
    words = [sys.executable, "-m", "dqn_cli.commands.train", "steps=1e6", "compile=false"]
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [*words, "log.every=10", run_at("run")])
    deadline = time.monotonic() + 60
    while b"return" not in os.read(terminal, 4096):
        assert time.monotonic() < deadline
    os.close(terminal)
    _, ended = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(ended) == 129
    assert (in_folder / "run" / "checkpoints" / "last").is_file()


def test_a_run_goes_on_after_its_pipe_is_closed(in_folder: Path) -> None:
    words = [sys.executable, "-m", "dqn_cli.commands.train", *SMALL, run_at("run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert json.loads((in_folder / "run" / "result.json").read_text())["status"] == "finished"


def test_ctrl_c_in_a_terminal_ends_compiling_at_once(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_folder))  # what is compiled already is not there
    words = [sys.executable, "-m", "dqn_cli.commands.train", "compile=true", "learning_starts=50"]
    said = in_folder / "said"
    with said.open("w") as out:
        process = subprocess.Popen(
            [*words, run_at("run")], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    wait_until(lambda: "compiling" in said.read_text())
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the C++ compiler gets it too
    assert process.wait(10) == 130
    assert "not compiled" not in said.read_text()
    assert json.loads((in_folder / "run" / "result.json").read_text())["status"] == "interrupted"
    assert not (in_folder / "run" / "checkpoints" / "last").exists()
    assert (in_folder / "run" / ".hydra" / "plan").is_file()


def test_help_is_there_before_torch(in_folder: Path) -> None:
    code = (
        "import sys; from dqn_cli.commands.train import dispatch; dispatch(['--help']);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands people type" in done.stdout


def test_completion_needs_no_torch_and_names_choices(in_folder: Path) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "dqn_cli.commands.train"]
    environment = {"COMP_LINE": "dqn-train agent=d"} | {"PATH": "", "HOME": str(in_folder)}
    done = subprocess.run(
        [*words, "-sc", "query=bash"], capture_output=True, text=True, check=True, env=environment
    )
    assert "agent=d3qn" in done.stdout
    assert " torch\n" not in done.stderr


def test_full_error_shows_the_traceback(
    type_train: Typed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert type_train("steps=-5") == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.splitlines()[-1].startswith("error: ")


def test_an_error_that_is_not_of_a_file_keeps_its_text(
    type_train: Typed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> None:
        raise OSError("could not get source code")

    monkeypatch.setattr("dqn_cli.commands.job.run_job", fail)
    assert type_train("steps=10") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: could not get source code"


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
