"""The processor: its instructions, and the library that is faster for large matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

# Releases of PyTorch that have no such function tell nothing.
CAPABILITIES: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
INSTRUCTIONS = sorted(name for name, has in CAPABILITIES.items() if has is True)
HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def onednn_threshold(capabilities: Mapping[str, Any]) -> float:
    """Return the number of multiplications from which oneDNN is faster than MKL.

    MKL, PyTorch's own library, uses half of the vector width of AMD processors since Zen 5, which
    have AVX-VNNI beside AVX-512. oneDNN uses all of it, but takes longer to start. MKL is as fast
    or faster on all others.
    """
    is_amd = "AMD" in capabilities.get("cpu_name", "")
    is_wide = capabilities.get("avx512_f") and capabilities.get("avx_vnni")
    return 2**22 if is_amd and is_wide else math.inf


ONEDNN_THRESHOLD = onednn_threshold(CAPABILITIES)
