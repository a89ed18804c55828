from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dqn_cli.compiling.readings import ReadingRecorder
from dqn_cli.compiling.recording import Recording

READ: dict[str, Callable[[Tensor], Tensor]] = {
    "tolist": lambda x: x * 2 if x.tolist()[0] > 4 else x,
    "numpy": lambda x: x * 2 if x.numpy()[0] > 4 else x,
    "__array__": lambda x: x * 2 if np.asarray(x)[0] > 4 else x,
    "__dlpack__": lambda x: x * 2 if np.from_dlpack(x)[0] > 4 else x,  # type: ignore[arg-type]
    "__deepcopy__": lambda x: x + copy.deepcopy(x.clamp(min=4)),
    "tensor": lambda x: x + torch.tensor([x[0].clamp(min=4), 1.0]),
}


@pytest.mark.parametrize("name", READ)
def test_values_that_python_reads_are_read_in_every_call(name: str) -> None:
    read, recording = READ[name], Recording()
    recorded = recording(lambda x: (read(x),), ())
    for first in range(8):  # from the fifth on, other operations or other numbers
        x = torch.tensor([first, 1.0])
        assert torch.equal(recorded(x)[0], read(x))
    assert recording.refused == ["<lambda>"]
    with ReadingRecorder() as reading:
        read(torch.tensor([1.0, 1.0]))
    assert name in reading.functions


def test_tensors_of_plain_numbers_and_arithmetic_read_nothing() -> None:
    x = torch.tensor([1.0, 2.0])
    with ReadingRecorder() as reading:
        torch.as_tensor(x) + torch.tensor([1.0, 2.0]) * x.new_tensor(3.0)
    assert reading.functions == []
