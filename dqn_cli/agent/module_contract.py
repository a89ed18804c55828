"""What a `torch.nn.Module` must be to serve as a network, and the checks of it before a run.

It must be a pure function of its parameters and one observation: then it can be repeated, mapped
over members, compiled and stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from dqn_cli.agent.example_observations import example_observations
from dqn_cli.agent.spaces import Spaces
from dqn_cli.text import error_text

ROWS = 3  # of the observations that a module is tried on
TOLERANCE = 1e-4  # of rounding, relative and absolute
LARGEST_WHOLE = 2**24  # that float32 holds exactly
DROPOUT = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout
)  # fmt: skip

Shape = tuple[int, ...]


class CheckedModule(NamedTuple):
    """A module that passed all checks; calls replace its parameters and buffers."""

    module: nn.Module
    values: dict[str, Tensor]  # parameters and buffers by name, each once
    learning: frozenset[str]  # names of those that learn
    features: int

    @staticmethod
    def values_of(module: nn.Module) -> dict[str, Tensor]:
        """Return the values of a module's parameters and buffers by name."""
        named = (*module.named_parameters(), *module.named_buffers())
        return {name: value.detach() for name, value in named}


_checked: dict[Any, CheckedModule] = {}  # by class, arguments and shapes


def split_path(path: str) -> tuple[str, str]:
    """Return module and class of `module:Class`.

    Raises:
        ValueError: The path is not of this form.
    """
    module, _, name = path.rpartition(":") if isinstance(path, str) else ("", "", "")
    if not (module and name.isidentifier()):
        raise ValueError(f"network.path={path} is not of the form my_package:MyNet")
    return module, name


def observation_shape(spaces: Spaces) -> Shape | dict[str, Shape]:
    """Return the shape that a module is made for; of several parts, each one's by its name."""
    if len(spaces.parts) == 1:
        return spaces.observation_shape
    return {part.name: _with_frames(spaces, part.shape) for part in spaces.parts}


def observation_parts(obs: Tensor, spaces: Spaces) -> Tensor | dict[str, Tensor]:
    """Return observations [batch, *shape] as a module takes them; several parts by their names."""
    if len(spaces.parts) == 1:
        return obs
    return {  # each [batch, *shape]
        part.name: piece.reshape(obs.shape[0], *_with_frames(spaces, part.shape))
        for part, piece in zip(spaces.parts, spaces.split(obs), strict=True)
    }


def make_module(path: str, kwargs: Mapping[str, Any], spaces: Spaces, seed: int) -> nn.Module:
    """Make the module with initial values that follow from the seed alone.

    Raises:
        ValueError: It can't be imported or made, or is not a module; in one line that names it.
    """
    own = _load_class(path)
    # PyTorch's own generator is seeded, because constructors draw from no other.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            module: nn.Module = own(observation_shape(spaces), **kwargs)
        except Exception as error:  # the user's code may raise anything
            _refuse(path, f"{_call_text(own, kwargs)} raised {error_text(error)}")
        if not hasattr(module, "_parameters"):
            _refuse(path, "its __init__ must call super().__init__() first")
        if any(isinstance(value, UninitializedParameter) for value in module.parameters()):
            with torch.no_grad():  # lazy layers draw their values in the first call
                _call(path, module, spaces, example_observations(spaces, ROWS))
    return module


def checked_module(path: str, kwargs: Mapping[str, Any], spaces: Spaces) -> CheckedModule:
    """Return the module for these spaces, checked when it is first asked for.

    Raises:
        ValueError: It can't serve as a network; in one line that says why.
    """
    key = _load_class(path), repr(kwargs), spaces.parts, spaces.frames
    if key not in _checked:
        _checked[key] = _check(path, kwargs, spaces)
    return _checked[key]


def _check(path: str, kwargs: Mapping[str, Any], spaces: Spaces) -> CheckedModule:
    module, again = (make_module(path, kwargs, spaces, seed=0) for _ in range(2))
    values = CheckedModule.values_of(module)
    for find_problem in (_dropout, _plain_tensor, _unsuitable_value):
        _refuse_any(path, find_problem(module))
    _refuse_any(path, _unseeded_value(values, CheckedModule.values_of(again)))
    obs = example_observations(spaces, ROWS)
    features = _features(path, module, spaces, obs)
    _refuse_any(path, _changed_value(values, CheckedModule.values_of(again)))
    for rows, reason in (
        (slice(None), "for the same observations again: it has random numbers or a state"),
        (slice(1), "for an observation alone: those of one must not depend on others in the batch"),
    ):
        if not _close(_features(path, module, spaces, obs[rows]), features[rows]):
            _refuse(path, f"it returns other features {reason}")
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    _refuse_any(path, _unused(trained, features))
    return CheckedModule(module, values, frozenset(trained), features.shape[1])


def _load_class(path: str) -> Callable[..., nn.Module]:
    name, attribute = split_path(path)
    try:
        own = getattr(import_module(name), attribute, None)
    except Exception as error:  # the user's code may raise anything
        _refuse(path, f"{name} can't be imported: {error_text(error)}")
    if own is None:
        _refuse(path, f"{name} has no {attribute}")
    # A file may name the class, so it must be one that does nothing but make a network.
    is_module = isinstance(own, type) and issubclass(own, nn.Module)
    if not is_module or own.__module__.partition(".")[0] == "torch":
        _refuse(path, f"{attribute} must be a class of yours that extends torch.nn.Module")
    made: Callable[..., nn.Module] = own
    return made


def _features(path: str, module: nn.Module, spaces: Spaces, obs: Tensor) -> Tensor:
    """Return the features [batch, features] of observations, which must stay as they are."""
    given = obs.clone()
    features = _call(path, module, spaces, given)
    if not torch.equal(given, obs):
        _refuse(path, "forward changes its input in place: change a copy of it")
    if not isinstance(features, Tensor):
        _refuse(path, f"forward returns {type(features).__name__}, and must return a tensor")
    shape = list(features.shape)
    if len(shape) != 2 or shape[0] != len(obs) or not shape[1]:
        _refuse(
            path,
            f"forward returns shape {shape} for {len(obs)} observations: return features"
            f" [{len(obs)}, features], for example by flatten(1)",
        )
    if not features.is_floating_point():
        _refuse(path, f"forward returns {features.dtype}, and must return decimal numbers")
    return features


def _call(path: str, module: nn.Module, spaces: Spaces, obs: Tensor) -> Any:
    try:
        return module(observation_parts(obs, spaces))
    except Exception as error:  # the user's code may raise anything
        shape = observation_shape(spaces)
        what = f"{len(obs)} observations of shape {_listed(shape)}"
        _refuse(path, f"forward of {what} raised {error_text(error)}")


def _dropout(module: nn.Module) -> str | None:
    for name, layer in module.named_modules():
        if isinstance(layer, DROPOUT) and layer.p > 0:
            return (
                f"{name or 'it'} is {type(layer).__name__} with p={layer.p:g}, and features must"
                " follow from the observation alone: leave it out, or set p to 0"
            )
    return None


def _plain_tensor(module: nn.Module) -> str | None:
    for name, layer in module.named_modules():
        for attribute, value in vars(layer).items():
            if isinstance(value, Tensor):
                full = f"{name}.{attribute}".lstrip(".")
                return f"{full} is a plain tensor: make it one by register_buffer"
    return None


def _unsuitable_value(module: nn.Module) -> str | None:
    for name, value in CheckedModule.values_of(module).items():
        if value.is_complex():
            return f"{name} has complex numbers, and must have real ones"
        is_whole = not value.is_floating_point() and value.numel()
        if is_whole and int(value.long().abs().max()) > LARGEST_WHOLE:
            return f"{name} has whole numbers above {LARGEST_WHOLE}, which are too large"
    return None


def _unseeded_value(values: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> str | None:
    for name in _differing(values, again):
        return f"initial values of {name} follow from no seed: draw them by torch, not by NumPy"
    return None


def _changed_value(values: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> str | None:
    for name in _differing(values, before):
        return (
            f"forward changes {name}, as BatchNorm does: use LayerNorm or GroupNorm, with which"
            " features follow from the observation alone"
        )
    return None


def _unused(trained: Mapping[str, Tensor], features: Tensor) -> str | None:
    if not trained:
        return None
    gradients = [None] * len(trained)
    if features.requires_grad:
        # Other weights than ones, whose gradient through a last LayerNorm would be 0.
        weights = torch.linspace(0.5, 1.5, features.numel()).view_as(features)
        total = (features * weights).sum()
        gradients = torch.autograd.grad(total, [*trained.values()], allow_unused=True)  # type: ignore[assignment]
    unused = [name for name, gradient in zip(trained, gradients, strict=True) if gradient is None]
    if not unused:
        return None
    shown = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
    return f"features do not depend on {shown}: use it or remove it"


def _differing(values: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Iterator[str]:
    for name, value in values.items():
        if name not in others or not torch.equal(value, others[name]):
            yield name


def _close(features: Tensor, others: Tensor) -> bool:
    return torch.allclose(features, others, TOLERANCE, TOLERANCE, equal_nan=True)


def _with_frames(spaces: Spaces, shape: Shape) -> Shape:
    return (spaces.frames, *shape) if spaces.frames else shape


def _call_text(own: Callable[..., nn.Module], kwargs: Mapping[str, Any]) -> str:
    words = ["observation_shape", *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{getattr(own, '__name__', own)}({', '.join(words)})"


def _listed(shape: Shape | dict[str, Shape]) -> str:
    if isinstance(shape, dict):
        return ", ".join(f"{name} {list(sides)}" for name, sides in shape.items())
    return str(list(shape))


def _refuse_any(path: str, problem: str | None) -> None:
    if problem:
        _refuse(path, problem)


def _refuse(path: str, problem: str) -> NoReturn:
    raise ValueError(f"network.path={path}: {problem}")
