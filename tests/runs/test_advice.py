from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.runs import advice as module
from dqn_cli.runs.advice import advice, has_bfloat16
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
IMAGES = (4, 84, 84)
SLOW = (
    "warning: this processor has no instructions for bfloat16 and is several times slower with it:"
    " network.bfloat16=false is faster"
)


@pytest.mark.parametrize(
    ("words", "device", "processor", "told"),
    [
        (["network.bfloat16=true"], "cpu", {"architecture": "x86_64"}, [SLOW]),
        (["network.bfloat16=true"], "cpu", {"architecture": "x86_64", "amx_bf16": True}, []),
        (["network.bfloat16=true"], "cuda", {"architecture": "x86_64"}, []),
        ([], "cpu", {"architecture": "x86_64"}, []),
    ],
)
def test_bfloat16_is_not_for_every_processor(
    settings_of: Compose,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    device: str,
    processor: dict[str, object],
    told: list[str],
) -> None:
    monkeypatch.setattr(module, "PROCESSOR", processor)
    assert list(advice(settings_of("network=nature", *words), IMAGES, device)) == told


def test_what_a_processor_says_of_bfloat16() -> None:
    assert not has_bfloat16({"architecture": "x86_64", "avx512_bf16": False, "avx512_f": True})
    assert has_bfloat16({"architecture": "x86_64", "avx512_bf16": True})
    assert has_bfloat16({"architecture": "aarch64"})
    assert has_bfloat16({})


def test_a_run_that_never_learns_is_told_so(settings_of: Compose) -> None:
    (told,) = advice(settings_of("steps=100", "learning_starts=100"), (4,), "cpu")
    assert told == "warning: nothing will be learned: learning_starts=100 is not below steps=100"
