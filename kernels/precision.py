"""What the processor at hand multiplies natively."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 take less time than in float32, sums being float32 in both."""
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
