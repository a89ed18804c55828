from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import dqn_cli
from dqn_cli.commands.command_line import run_command
from dqn_cli.commands.export import dispatch, parse
from dqn_cli.config.validation import ConfigError

Typed = Callable[..., int]
HAS_EXTRA = all(map(find_spec, ("onnx", "onnxscript", "onnxruntime", "safetensors")))
needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="needs the extra export")
SHORT = ("steps=200", "network.widths=[8]", "eval.episodes=2", "eval.every=100")


@pytest.fixture
def type_export(in_folder: Path) -> Typed:
    """Types a dqn-export command and gives its exit code."""
    return lambda *words: run_command(lambda: dispatch(list(words)))


@needs_extra
def test_a_run_becomes_a_folder_for_a_hub_which_is_evaluated(
    type_train: Typed,
    type_export: Typed,
    type_eval: Typed,
    in_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert type_train(*SHORT, "hydra.run.dir=run") == 0
    capsys.readouterr()
    assert type_export("checkpoint=run", "hub=true", "out=agent", "episodes=2") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "exported the policy of run/checkpoints/best (CartPole-v1) to agent"
    assert "  takes         observation float32 [batch, 4]: vector, bounds in policy.json" in said
    for name in ("model.safetensors", "model.onnx"):
        assert any(line.startswith(f"agent/{name}: on 1,000 observations") for line in said)
    names = {path.name for path in (in_folder / "agent").iterdir()}
    assert names >= {"README.md", "result.json", "curve.png", "config.yaml", "evaluation.json"}
    card = (in_folder / "agent" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    namespace: dict[str, object] = {}
    exec(code.replace('"model.onnx"', '"agent/model.onnx"'), namespace)
    zeros = np.zeros(4, np.float32)
    assert namespace["action"] == [dqn_cli.load_policy("agent")(zeros)]
    shutil.rmtree(in_folder / "run")  # the folder stands alone
    for path in ("agent", "agent/model.onnx"):
        assert type_eval(f"checkpoint={path}", "episodes=2") == 0
    evaluation = json.loads((in_folder / "agent" / "evaluation.json").read_text())
    assert evaluation["checkpoint"] == "agent/model.safetensors"
    assert type_export("checkpoint=agent", "format=safetensors", "out=again") == 0
    weights = [(in_folder / name / "model.safetensors").read_bytes() for name in ("agent", "again")]
    assert weights[0] == weights[1]
    assert type_export("checkpoint=agent", "format=safetensors", "out=again") == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "error: again exists already: name another folder, as in out=again_2"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["checkpoint=run"], "format=NAME is missing: format is one of onnx, torch, safetensors"),
        (["checkpoint=run", "format=onx"], "format=onx is not valid: .*did you mean onnx"),
        (["format=onnx"], "checkpoint=PATH is missing"),
        (["checkpoint=run", "hub=yes"], "hub=yes is not valid: it must be true or false"),
        (["checkpoint=run", "form=onnx"], "unknown word form=onnx: dqn-export takes checkpoint"),
        (["checkpoint=run", "format=onnx", "episodes=5"], "episodes=N goes with hub=true"),
        (["checkpoint=run", "hub=true", "episodes=0"], "whole number of at least 1"),
    ],
)
def test_wrong_words_are_named(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse(words)


def test_bad_input_is_one_line_and_writes_nothing(
    type_export: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_folder / "file").write_text("text")
    (in_folder / "exported").mkdir()
    (in_folder / "exported" / "policy.json").write_text("{}")
    for words, told in (
        (("checkpoint=nowhere", "format=torch"), "no checkpoint or run at nowhere"),
        (("checkpoint=file", "format=torch"), "file is not a dqn-train checkpoint"),
        (("checkpoint=exported", "format=torch"), "exported holds no model.safetensors"),
        (("checkpoint=file", "format=torch", "format=onnx"), "format is given twice"),
    ):
        assert type_export(*words) == 1
        told_lines = capsys.readouterr().err.splitlines()
        assert told in told_lines[-1]
        assert len(told_lines) == 1
    assert sorted(path.name for path in in_folder.iterdir()) == ["exported", "file"]
    assert type_export("--fast") == 2
    capsys.readouterr()
    assert type_export() == 0
    assert "dqn-export checkpoint=PATH format=onnx|torch|safetensors" in capsys.readouterr().out
