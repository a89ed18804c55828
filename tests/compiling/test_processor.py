from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from dqn_cli.compiling import processor
from dqn_cli.compiling.processor import onednn_threshold


@pytest.mark.parametrize(
    ("capabilities", "threshold"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True, "avx_vnni": True}, 2**22),  # Zen 5
        ({"cpu_name": "AMD EPYC", "avx512_f": True, "avx_vnni": False}, math.inf),  # Zen 4
        ({"cpu_name": "AMD EPYC", "avx512_f": False, "avx_vnni": False}, math.inf),  # Zen 3
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_f": True, "avx_vnni": True}, math.inf),
        ({"architecture": "aarch64"}, math.inf),
        ({}, math.inf),
    ],
)
def test_onednn_is_for_processors_that_mkl_uses_half_of(
    capabilities: dict[str, Any], threshold: float
) -> None:
    assert onednn_threshold(capabilities) == threshold


def test_the_threshold_is_that_of_this_processor() -> None:
    assert onednn_threshold(processor.CAPABILITIES) == processor.ONEDNN_THRESHOLD
    assert processor.HAS_ONEDNN is torch.backends.mkldnn.is_available()


def test_instructions_are_the_sorted_names_of_what_the_processor_has() -> None:
    names = processor.INSTRUCTIONS
    assert names == sorted(names)
    assert all(processor.CAPABILITIES[name] is True for name in names)
    others = processor.CAPABILITIES.keys() - set(names)
    assert not any(processor.CAPABILITIES[name] is True for name in others)
