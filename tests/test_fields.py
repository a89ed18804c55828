from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dqn_cli.fields import (
    FieldError,
    damage_named,
    finite,
    flag,
    items,
    mapping,
    natural,
    not_nan,
    number,
    plain_data,
    tensor_of,
    text,
    within,
)
from dqn_cli.storage import CheckpointError

GOOD: list[tuple[Callable[[Any, str], Any], Any]] = [
    (natural, 0),
    (natural, 2**53),
    (number, -1.5),
    (number, 3),
    (not_nan, math.inf),
    (flag, False),
    (text, "größer"),
    (mapping, {"a": 1}),
    (plain_data, {"a": [1, None, {"b": "c"}], "d": (True, math.inf)}),
    (finite, torch.ones(2)),
]
BAD: list[tuple[Callable[[Any, str], Any], Any, str]] = [
    (natural, -1, "f is -1; it must be a whole number of at least 0"),
    (natural, True, "f is True"),
    (natural, 1.0, "f is 1.0"),
    (natural, 2**53 + 1, "f is 9007199254740993"),
    (number, math.nan, "f is nan; it must be a finite number"),
    (number, "5", "f is '5'"),
    (number, None, "f is None"),
    (not_nan, math.nan, "f is nan"),
    (flag, 1, "f is 1; it must be true or false"),
    (text, "a\nb", r"f is 'a\\nb'; it must be text of one line"),
    (text, "\x1b[31m", r"f is '\\x1b\[31m'"),
    (text, "x" * 20_000, "f is 'xxx.*[.][.][.]; it"),
    (text, b"x", "f is a bytes"),
    (mapping, [1], "f must have named fields"),
    (mapping, {1: 2}, "f must have named fields"),
    (plain_data, {"a": [1, torch.ones(1)]}, r"f.a\[1\] is a Tensor"),
    (plain_data, {"a": "b\x07"}, "f.a is"),
    (finite, torch.tensor([1, math.nan]), "f has values that are NaN or infinite"),
]


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_a_good_value_is_returned(check: Callable[[Any, str], Any], value: Any) -> None:
    assert check(value, "f") is value or check(value, "f") == value


@pytest.mark.parametrize(("check", "value", "told"), BAD)
def test_a_bad_value_is_named_in_one_line(
    check: Callable[[Any, str], Any], value: Any, told: str
) -> None:
    with pytest.raises(FieldError, match=told) as caught:
        check(value, "f")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_keys_and_items_are_named() -> None:
    with pytest.raises(FieldError, match=r"^f.b is missing"):
        mapping({"a": 1}, "f", ("a", "b"))
    with pytest.raises(FieldError, match=r"^b is missing"):
        mapping({"a": 1}, "", ("a", "b"))
    with pytest.raises(FieldError, match=r"^f\[1\] is -1"):
        items([1, -1], "f", natural)
    with pytest.raises(FieldError, match=r"^f has 2 items, not 3"):
        items([1, 1], "f", natural, 3)


def test_a_tensor_has_the_right_type_shape_and_range() -> None:
    values = torch.zeros(2, 3)
    assert tensor_of(values, "f", torch.float32, [2, None]) is values
    with pytest.raises(FieldError, match=r"f has type torch.float32; it must be torch.int64"):
        tensor_of(values, "f", torch.int64, [2, 3])
    for shape in ([2], [3, 3], [2, 3, 1]):
        with pytest.raises(FieldError, match=r"f has shape \[2, 3\]; it must be"):
            tensor_of(values, "f", torch.float32, shape)
    with pytest.raises(FieldError, match="f must be a tensor"):
        tensor_of([1], "f", torch.float32, [1])
    assert within(torch.tensor([0, 5]), "f", 0, 5).tolist() == [0, 5]
    with pytest.raises(FieldError, match="f has values that are not from 0 to 4"):
        within(torch.tensor([0, 5]), "f", 0, 4)


def test_the_file_is_named() -> None:
    told = r"^run/last is damaged: f is -1"
    with pytest.raises(CheckpointError, match=told), damage_named(Path("run/last")):
        natural(-1, "f")
