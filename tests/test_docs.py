"""Documentation that names code, files and choices names ones that exist."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from dqn_cli.commands.check import dispatch as check_dispatch
from dqn_cli.commands.command_line import run_command
from dqn_cli.commands.evaluate import dispatch as eval_dispatch
from dqn_cli.config.registry import own_choices, register_schemas, unregister

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE_REFERENCE = re.compile(r"`(?:dqn_cli/)?([\w/]+\.py)(?:: ([\w.]+))?`")
CHOICES = re.compile(r"^(\w+)=([\w./-]+(?:\|[\w./-]+)+)((?:\n +\|[\w|./-]+)*)", re.MULTILINE)


def code_references() -> Iterator[tuple[str, str, str]]:
    for page in PAGES:
        for file, name in CODE_REFERENCE.findall(page.read_text()):
            yield page.name, file, name


@pytest.mark.parametrize(("page", "file", "name"), sorted(set(code_references())))
def test_named_code_exists(page: str, file: str, name: str) -> None:
    folders = (ROOT / "dqn_cli", ROOT, ROOT / "benchmarks", ROOT / "tests")
    paths = [folder / file for folder in folders if (folder / file).is_file()]
    assert paths, f"{page}: there is no {file}"
    text = paths[0].read_text()
    for part in filter(None, name.split(".")):
        definition = re.search(rf"^ *(?:class|def) {part}\b", text, re.MULTILINE)
        assert definition is not None, f"{page}: {file} has no {part}"
        text = text[definition.end() :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert not missing


def test_every_page_and_figure_is_linked() -> None:
    linked = "\n".join(page.read_text() for page in PAGES)
    files = [path for path in (ROOT / "docs").iterdir() if path.is_file()]
    unlinked = [path.name for path in files if not re.search(rf"[(/]{path.name}\)", linked)]
    assert not unlinked


def documented_choices() -> dict[str, set[str]]:
    text = (ROOT / "docs" / "interface.md").read_text()
    return {
        group: set(re.sub(r"\s", "", first + more).split("|"))
        for group, first, more in CHOICES.findall(text)
        if (ROOT / "configs" / group).is_dir()
    }


def shipped_choices(group: str) -> set[str]:
    folder = ROOT / "configs" / group
    names = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")}
    return {name for name in names if not Path(name).name.startswith("base_")}


def test_interface_lists_every_group() -> None:
    groups = {path.name for path in (ROOT / "configs").iterdir() if path.is_dir()}
    assert documented_choices().keys() == groups


@pytest.mark.parametrize("group", sorted(documented_choices()))
def test_choices_in_interface_exist(group: str) -> None:
    # A new choice is promised to users once it is listed; help and completion show it before.
    documented, shipped = documented_choices()[group], shipped_choices(group)
    assert documented
    assert documented <= shipped


def test_keys_in_interface_exist() -> None:
    text = (ROOT / "docs" / "interface.md").read_text()
    for group in sorted(documented_choices().keys() - {"agent", "experiment", "env", "tuned"}):
        block = re.search(rf"^{group}=.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
        assert block is not None
        documented = set(re.findall(r"(?<![\w.])(?:env\.preprocess)?\.(\w+)", block[0]))
        shipped = set[str]()
        for path in (ROOT / "configs" / group).glob("*.yaml"):
            keys: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
            shipped |= keys.keys() - {"defaults"}
        assert documented <= shipped, group


def fenced(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in blocks if name == language]


def test_examples_of_own_parts_run(monkeypatch: pytest.MonkeyPatch) -> None:
    register_schemas()
    own_net, own_parts, own_test = fenced("extending.md", "python")
    for name, code in (("my_nets", own_net), ("my_parts", own_parts)):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(code, "docs/extending.md", "exec"), vars(module))
    registered = [(group, choice) for group, of in own_choices().items() for choice in of]
    namespace: dict[str, Any] = {}
    try:
        exec(compile(own_test, "docs/extending.md", "exec"), namespace)
        tests = [value for name, value in namespace.items() if name.startswith("test_")]
        for test in tests:
            test()
    finally:
        for group, choice in registered:
            unregister(group, choice)
    assert len(tests) == 2
    assert sorted(registered) == [
        ("exploration", "cosine"),
        ("exploration", "runner_up"),
        ("head", "huber_qr"),
        ("network", "squares"),
    ]
    (settings,) = map(yaml.safe_load, fenced("extending.md", "yaml"))
    assert settings == {
        "defaults": ["module"],
        "path": "my_nets:MyNet",
        "kwargs": {"width": 128},
    }


def test_commands_with_own_parts_are_right(
    in_folder: Path, type_train: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_net, own_parts, _ = fenced("extending.md", "python")
    (in_folder / "my_nets.py").write_text(own_net)
    (in_folder / "my_parts.py").write_text(own_parts)
    (in_folder / "my_configs" / "network").mkdir(parents=True)
    (own_yaml,) = fenced("extending.md", "yaml")
    (in_folder / "my_configs" / "network" / "mine.yaml").write_text(own_yaml)
    monkeypatch.syspath_prepend(in_folder)
    for name in ("my_nets", "my_parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    lines = "\n".join(fenced("extending.md", "")).splitlines()
    typed = [shlex.split(line) for line in lines if line.startswith("dqn-train ")]
    typed = [words for words in typed if "-m" not in words]
    typed.append(["dqn-train", "--config-dir", "my_configs", "network=mine"])
    assert len(typed) == 5
    small = ("steps=40", "learning_starts=20", "eval.every=40", "eval.episodes=1")
    try:
        for number, words in enumerate(typed):
            assert type_train(*words[1:], *small, f"hydra.run.dir=run/{number}") == 0
    finally:
        for group, of in own_choices().items():
            for choice in of:
                unregister(group, choice)


def test_the_example_environment_is_checked_trained_and_deployed(
    in_folder: Path,
    type_train: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment, deploy = fenced("your_environment.md", "python")
    (in_folder / "my_package.py").write_text(environment)
    monkeypatch.syspath_prepend(in_folder)
    commands = fenced("your_environment.md", "sh")[0].splitlines()
    check, train, evaluate = map(shlex.split, commands)
    monkeypatch.setattr("sys.argv", check)
    assert run_command(lambda: check_dispatch([*check[1:], "seconds=3"])) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command == train[:-1]  # without the steps
    small = ("learning_starts=200", "network.widths=[32]", "compile=false", "optimizer.lr=1e-3")
    assert type_train(*train[1:], *small, "hydra.run.dir=outputs/RUN") == 0
    assert run_command(lambda: eval_dispatch([*evaluate[1:], "episodes=20"])) == 0
    namespace: dict[str, Any] = {}
    exec(compile(deploy, "docs/your_environment.md", "exec"), namespace)
    assert namespace["total"] in (5, 6)  # the most that it gives, from either cell


def test_readme_has_the_two_commands_that_ci_runs() -> None:
    text = (ROOT / "README.md").read_text()
    for command in (
        "pip install -e . && dqn-train env=CartPole-v1",
        "pip install -e '.[dev]' && pytest",
    ):
        assert f"```\n{command}\n```" in text


def test_the_logger_of_ones_own_writes_rows(tmp_path: Path) -> None:
    from dqn_cli.config.registry import unregister
    from dqn_cli.loggers.logger import LoggedRun

    page = (ROOT / "docs" / "logging.md").read_text()
    (code,) = re.findall(r"```python\n# my_logger\.py\n(.*?)```", page, re.DOTALL)
    module = ModuleType("my_logger")
    sys.modules["my_logger"] = module
    try:
        exec(code, module.__dict__)
        log = module.Text(file="log.txt").begin(LoggedRun(tmp_path, "", {}))
        log.row({"train/loss": 0.5}, 10)
        assert (tmp_path / "log.txt").read_text() == "10 {'train/loss': 0.5}\n"
    finally:
        del sys.modules["my_logger"]
        unregister("logger", "text")
