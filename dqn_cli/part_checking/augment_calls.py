"""Calls of an augmentation, and what must hold of the observations that it returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.augmentation import Augment
from dqn_cli.agent.spaces import Spaces
from dqn_cli.part_checking.calls import Call, Expected, find_compiling_problems, find_problems
from dqn_cli.part_checking.made_up_inputs import (
    BATCH,
    FRAMES,
    NUMBERS,
    SMALL_PICTURES,
    transitions,
)
from dqn_cli.text import error_text

NAME = "augmented(obs, uniform, spaces)"


def check_augment(part: Augment) -> Iterator[str]:
    """Yield what is wrong with an augmentation, on all observations that it takes."""
    if type(part.numbers) is not int:
        yield f"numbers is {part.numbers!r}: it must be a class attribute, a whole number"
        return
    if type(part).augmented is Augment.augmented:
        if part.numbers:
            yield "it takes random numbers, and has no method augmented"
        return
    if not part.numbers:
        yield "numbers is 0, so that it is never called: it is how many random ones each row takes"
        return
    taken, refusals = [], []
    for spaces in (NUMBERS, SMALL_PICTURES, FRAMES):
        try:
            part.check(spaces)
            taken.append(spaces)
        except ValueError as error:
            refusals.append(str(error))
        except Exception as error:  # the user's code may raise anything
            yield f"check of {spaces} raised {error_text(error)}: a ValueError refuses spaces"
            return
    if not taken:
        yield f"it takes neither numbers nor pictures: {refusals[0]}"
    for spaces in taken:
        call = _call(part, spaces)
        problems = [*find_problems(part, call)] or [*_wrong_values(part, call)]
        problems = problems or [*find_compiling_problems(part, [call])]
        yield from problems
        if problems:
            return


def _call(part: Augment, spaces: Spaces) -> Call:
    obs = transitions(spaces).obs
    uniform = torch.rand(BATCH, part.numbers, generator=torch.Generator().manual_seed(0))

    def augmented(own: Augment, obs: Tensor, uniform: Tensor) -> Any:
        return own.augmented(obs, uniform, spaces)

    return Call(NAME, augmented, (obs, uniform), (Expected(tuple(obs.shape)),))


def _wrong_values(part: Augment, call: Call) -> Iterator[str]:
    """Yield whether rows depend on each other."""
    obs, uniform = call.inputs
    together = call.run(part, obs, uniform)
    alone = torch.cat([call.run(part, obs[i : i + 1], uniform[i : i + 1]) for i in range(BATCH)])
    if not torch.allclose(together, alone, atol=1e-5):
        yield f"{call.name} mixes rows of the batch: each observation is changed by itself"
