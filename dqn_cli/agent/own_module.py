"""A `torch.nn.Module` of the user's as the first layers of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.func import functional_call

from dqn_cli.agent import layers
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.module_contract import (
    CheckedModule,
    checked_module,
    make_module,
    observation_parts,
    split_path,
)
from dqn_cli.agent.multi import has_large_pictures
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout, Parameter, views
from dqn_cli.agent.spaces import Spaces


@dataclass
class OwnModule(Mlp):
    """The class that `path` names as `module:Class`, then fully connected layers and streams.

    The class extends `torch.nn.Module`. It is made with the shape of an observation and `kwargs`,
    and maps observations [batch, *shape] to features [batch, features]. Its initial values are its
    own; its buffers and what needs no gradient stay as they are.
    """

    path: str
    kwargs: dict[str, Any]

    def __post_init__(self) -> None:
        """Raise ValueError if `path` is not of its form, or `skip` has no layers to skip."""
        super().__post_init__()
        split_path(self.path)

    @property
    def modules(self) -> dict[str, str]:
        """The module of the class."""
        return {self.path: split_path(self.path)[0]}

    def is_busy(self, spaces: Spaces) -> bool:
        """Return whether there is a picture of a usual size."""
        return has_large_pictures(spaces)

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        """Return the layout of module and dense torso, and the number of features.

        Raises:
            ValueError: If the module can't be made, or is not a pure function of observations.
        """
        checked = self._checked(spaces)
        layout: Layout = {
            _entry(name): Parameter(tuple(value.shape), 0, 0, name in checked.learning)
            for name, value in checked.values.items()
        }
        dense, features = self.dense_torso_layout(checked.features)
        return layout | dense, features

    def initial(self, layout: Layout, spaces: Spaces, random: np.random.Generator) -> Tensor:
        """Draw initial values [size]; those of the module are what its constructor draws."""
        module = make_module(self.path, self.kwargs, spaces, int(random.integers(2**63)))
        flat = super().initial(layout, spaces, random)
        named = views(flat, layout)
        for name, value in CheckedModule.values_of(module).items():
            named[_entry(name)].copy_(value)
        return flat

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        """Map observations [batch, *shape] to features [batch, features]."""
        checked, values = self._checked(spaces), {}
        for name, template in checked.values.items():
            value = p[_entry(name)]
            if name not in checked.learning:
                value = value.detach()
            # Whole numbers and flags are kept as floats, all others in the run's precision.
            values[name] = value if template.is_floating_point() else value.to(template.dtype)
        x = functional_call(checked.module, values, (observation_parts(obs, spaces),))
        return self.dense_torso(p, layers.record(p, "module", x))

    def _checked(self, spaces: Spaces) -> CheckedModule:
        return checked_module(self.path, self.kwargs, spaces)


def _entry(name: str) -> str:
    """Return the layout's name of a module's parameter or buffer.

    It has no dots, so that no layer of ours is taken for it.
    """
    return f"module/{name.replace('.', '/')}"
