from __future__ import annotations

import torch

from dqn_cli.agent.parameters import Parameter
from dqn_cli.runs.init_layers import compare, fill

STORED = {"torso.0.weight": (4, 8), "torso.0.bias": (8,), "out.weight": (2, 8), "out.bias": (2,)}


def layout(**shapes: tuple[int, ...]) -> dict[str, Parameter]:
    return {name.replace("__", "."): Parameter(shape, 0, 0) for name, shape in shapes.items()}


SAME = {name.replace(".", "__"): shape for name, shape in STORED.items()}


def test_equal_layers_are_all_taken() -> None:
    assert compare(STORED, layout(**SAME)) == (list(STORED), [], [])


def test_a_layer_of_another_shape_is_drawn_anew_as_a_whole() -> None:
    layers = compare(STORED, layout(**SAME | {"out__weight": (3, 8), "out__bias": (2,)}))
    assert layers.taken == ["torso.0.weight", "torso.0.bias"]
    assert layers.drawn == ["out (2x8 there, 3x8 here)"]


def test_new_parameters_are_drawn_and_the_rest_of_their_layer_is_taken() -> None:
    layers = compare(STORED, layout(**SAME, out__weight_sigma=(2, 8), value__weight=(1, 8)))
    assert layers.taken == list(STORED)
    assert layers.drawn == ["out", "value"]


def test_what_a_network_has_no_place_for_is_named() -> None:
    own = {name: shape for name, shape in SAME.items() if name.startswith("torso")}
    assert compare(STORED, layout(**own)).unused == ["out"]


def test_taken_parameters_stand_where_the_network_has_them() -> None:
    own = layout(new=(2,), out__bias=(2,), torso__0__bias=(1,))
    stored = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    shapes = {"torso.0.bias": (1,), "out.bias": (2,)}
    filled = fill(torch.full((5,), 9.0), own, stored, shapes, ["torso.0.bias", "out.bias"])
    assert filled.tolist() == [9, 9, 2, 3, 1]
    assert filled.dtype == torch.float32
