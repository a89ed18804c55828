from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.compiling.worth_compiling import can_compile, worth_compiling
from dqn_cli.training import devices
from dqn_cli.training.settings import Device, Settings

Compose = Callable[..., Settings]

EACH_STEP = ("learning_starts=0", "train_every=1", "updates_per_train=1")
SLOW_START = ("learning_starts=1000", "train_every=4", "updates_per_train=2")


@pytest.mark.parametrize(
    ("words", "worth"),
    [
        (("steps=20000", *EACH_STEP), True),
        (("steps=19999", *EACH_STEP), False),
        # (40999 - 1000) / 4 are 9999 trainings, of two updates each
        (("steps=41000", *SLOW_START), True),
        (("steps=40999", *SLOW_START), False),
        (("steps=40999", *SLOW_START, "compile=true"), True),
        (("steps=41000", *SLOW_START, "compile=false"), False),
        (("steps=100", "compile=true", "device=cpu"), True),
        (("steps=41000", *SLOW_START, "device=cpu"), True),
        # How many episodes the steps hold is not known before.
        (("steps=41000", *SLOW_START, "episodes=1"), True),
    ],
)
def test_a_run_is_compiled_where_it_is_asked_for_or_has_twenty_thousand_updates(
    settings_of: Compose, words: tuple[str, ...], worth: bool
) -> None:
    assert worth_compiling(settings_of(*words)) is worth


@pytest.mark.parametrize("members", [2, 16])
@pytest.mark.parametrize(("steps", "worth"), [(10_000, True), (9999, False)])
def test_several_members_are_compiled_from_ten_thousand_updates_on(
    settings_of: Compose, steps: int, worth: bool, members: int
) -> None:
    settings = settings_of(f"steps={steps}", *EACH_STEP)
    assert worth_compiling(settings, members) is worth
    assert not worth_compiling(settings, 1)


@pytest.mark.parametrize("word", ["auto", "false"])
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_only_the_cpu_is_compiled_for(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, device: str, word: str
) -> None:
    monkeypatch.setitem(devices.AVAILABLE, Device[device], lambda: True)
    settings = settings_of("steps=50000", *SLOW_START, f"device={device}", f"compile={word}")
    assert not worth_compiling(settings)
    assert not can_compile(settings)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    ("network", "device", "goes_to_gpu"),
    [("mlp", "auto", False), ("nature", "auto", True), ("nature", "cpu", False)],
)
def test_a_run_can_be_compiled_unless_it_goes_to_a_gpu(
    settings_of: Compose,
    monkeypatch: pytest.MonkeyPatch,
    network: str,
    device: str,
    goes_to_gpu: bool,
    there: bool,
) -> None:
    monkeypatch.setitem(devices.AVAILABLE, Device.cuda, lambda: there)
    settings = settings_of(f"network={network}", f"device={device}")
    assert can_compile(settings) is not (there and goes_to_gpu)
