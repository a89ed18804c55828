from __future__ import annotations

from pathlib import Path

import pytest

from dqn_cli.commands.words import check_plain_words, options_and_paths
from dqn_cli.config.validation import ConfigError


def test_a_path_with_an_equals_sign_is_a_path(in_folder: Path) -> None:
    (in_folder / "by=me").mkdir()
    options, paths = options_and_paths(["by=me", "out=a.png"], ("by", "out"))
    assert options == {"out": "a.png"}
    assert paths == [Path("by=me")]


def test_an_option_is_given_once() -> None:
    with pytest.raises(ConfigError, match="by is given twice"):
        options_and_paths(["by=a", "run", "by=b"], ("by", "out"))


def test_a_path_may_look_like_a_key() -> None:
    check_plain_words(["a b=", "c=d=", "out=x"], ["out"])
    with pytest.raises(ConfigError, match="out is given twice: out=x and out=y"):
        check_plain_words(["out=x", "out=y"], ["out"])


def test_modules_may_be_named_in_several_words() -> None:
    check_plain_words(["import=a", "import=b"], ["import"])
