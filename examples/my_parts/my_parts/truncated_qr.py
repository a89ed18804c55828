"""A head of one's own: quantiles whose highest are left out of the targets."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dqn_cli.agent.quantiles import Qr
from dqn_cli.ranges import Natural


@dataclass
class TruncatedQr(Qr):
    """QR-DQN against overestimation: TD targets without their `dropped` highest atoms.

    From Kuznetsov et al. 2020, section 4, for a single critic.
    """

    dropped: Natural = 2

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Return the lowest atoms of the target, [batch, atoms - dropped]."""
        target = super().backup(reward, discount, z, policy, shift)  # [batch, atoms]
        return target.sort(1).values[:, : self.atoms - self.dropped]
