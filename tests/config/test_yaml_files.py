from __future__ import annotations

from pathlib import Path

import pytest

from dqn_cli.config.validation import ConfigError
from dqn_cli.config.yaml_files import LONGEST, load_yaml

LAUGHS = "a: &a [x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_plain_data_is_read(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("a: [1, x]\nb: {c: null}\n")
    assert load_yaml(tmp_path / "f.yaml") == {"a": [1, "x"], "b": {"c": None}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (LAUGHS, "it has aliases"),
        ("[" * 100 + "]" * 100, "it is nested too deeply"),
        ("#" * (LONGEST + 1), "it is too long"),
        ("a: [1", "while parsing"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: \x1b[31m", "not allowed"),
        ("\udc80", "can't decode"),
    ],
)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=told) as caught:
        load_yaml(path)
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert str(caught.value).isprintable()
