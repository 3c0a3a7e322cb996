"""How exactly convolutions are worked out."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from kernels.precision import fast_bfloat16


def mixed(device: torch.device, wanted: bool = True) -> AbstractContextManager[Any]:
    """bfloat16 for convolutions where it is wanted and the processor has it; weights stay float32.

    Args:
        device: of the tensors.
        wanted: False works in float32 throughout.
    """
    enabled = wanted and fast_bfloat16(device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
