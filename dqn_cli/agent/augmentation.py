"""Augmentation: random changes of observations that keep their meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Following, RandomInputs, Sequences
from dqn_cli.agent.spaces import PICTURE, Part, Spaces
from dqn_cli.ranges import Count, NonNegative

LARGEST_NOISE = 2.0  # standard deviations (Schwarzer et al. 2021, appendix)


@dataclass
class Augment:
    """Base of all augmentations; a new one sets `numbers` and implements `augmented`."""

    numbers: ClassVar[int] = 0  # random ones that each observation takes

    def check(self, spaces: Spaces) -> None:
        """Raise ValueError if these observations can't be augmented."""

    def augmented(self, obs: Tensor, uniform: Tensor, spaces: Spaces) -> Tensor:
        """Return observations [batch, *shape] as others that mean the same.

        Args:
            obs: Observations, [batch, *shape].
            uniform: Numbers in [0, 1), [batch, numbers].
            spaces: Spaces of the environment.
        """
        raise NotImplementedError

    def batch(
        self, batch: Batch | Sequences, random: RandomInputs, spaces: Spaces
    ) -> Batch | Sequences:
        """Return a batch with its observations augmented; a sequence's all in the same way."""
        if not self.numbers:
            return batch
        rows, (first, second, *_) = batch.action.shape[0], random.augment
        if isinstance(batch, Sequences):
            time = batch.obs.shape[1]
            each = first[:rows].repeat_interleave(time, 0)  # [batch * time, numbers]
            obs = self.augmented(batch.obs.flatten(0, 1), each, spaces)
            return batch._replace(obs=obs.view(batch.obs.shape))  # [batch, time, *shape]
        obs, next_obs = self.augmented(batch.obs, first, spaces), batch.next_obs
        if next_obs.numel():
            next_obs = self.augmented(next_obs, second, spaces)
        return batch._replace(obs=obs, next_obs=next_obs)

    def following(
        self, following: Following | tuple[()], random: RandomInputs, spaces: Spaces
    ) -> Following | tuple[()]:
        """Return what comes after transitions with each observation augmented by itself."""
        if not following or not self.numbers:
            return following
        pairs = zip(following.obs.unbind(1), random.augment[2:], strict=True)
        obs = [self.augmented(each, uniform, spaces) for each, uniform in pairs]
        return following._replace(obs=torch.stack(obs, 1))


@dataclass
class NoAugment(Augment):
    """Observations stay as they are."""


@dataclass
class Shift(Augment):
    """Pictures move by up to `pad` pixels along each side (Kostrikov et al. 2021, section 3).

    It is padding by the pixels at the edge, and cropping at random; all frames of a stack move
    alike. With `intensity` they also become brighter or darker, by a factor of 1 + intensity z,
    with a normal z of at most 2 (Schwarzer et al. 2021, appendix).
    """

    numbers: ClassVar[int] = 3

    pad: Count
    intensity: NonNegative

    def check(self, spaces: Spaces) -> None:
        """Raise ValueError if observations have no picture."""
        if all(part.kind != PICTURE for part in spaces.parts):
            raise ValueError(
                "augment=shift moves pictures, and these observations have none: use augment=none"
            )

    def augmented(self, obs: Tensor, uniform: Tensor, spaces: Spaces) -> Tensor:
        """Return observations [batch, *shape] whose pictures are moved."""
        changed = [
            self._picture(piece, uniform, part) if part.kind == PICTURE else piece
            for part, piece in zip(spaces.parts, spaces.split(obs), strict=True)
        ]
        joined = torch.cat(changed, 2) if len(changed) > 1 else changed[0]
        return joined.view(obs.shape)  # [batch, *shape]

    def _picture(self, piece: Tensor, uniform: Tensor, part: Part) -> Tensor:
        """Return one picture of all frames [batch, frames, size], moved and lit."""
        height, width = part.shape[:2]
        x = piece.reshape(*piece.shape[:2], height, width, -1)
        x = x.movedim(1, 3)  # [batch, height, width, frames, colors]
        sample = torch.arange(x.shape[0], device=x.device)[:, None, None]
        row = self._places(height, uniform[:, 0])[:, :, None]
        column = self._places(width, uniform[:, 1])[:, None, :]
        moved = x[sample, row, column].movedim(3, 1).flatten(2)  # [batch, frames, size]
        z = math.sqrt(2) * torch.erfinv(2 * uniform[:, 2] - 1)  # normal, [batch]
        factor: Tensor = 1 + self.intensity * z.clamp(-LARGEST_NOISE, LARGEST_NOISE)
        return moved * factor[:, None, None]

    def _places(self, side: int, uniform: Tensor) -> Tensor:
        """Return the row or column that each of a moved picture comes from, [batch, side]."""
        # A number close to 1 may have been rounded to it.
        shift = (uniform * (2 * self.pad + 1)).long().clamp(max=2 * self.pad) - self.pad  # [batch]
        return (torch.arange(side, device=shift.device) + shift[:, None]).clamp(0, side - 1)
