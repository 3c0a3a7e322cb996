"""Whether a model fits into what memory is free."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from engines.base import UserError
from engines.quantize.folder import open_folder

_SPARE = 1.1  # for what a model makes on its way, as a share of what it takes


def taken(folder: Path) -> int:
    """Bytes that a model takes once it is loaded: codes as they are stored, the rest in float32.

    Scales count as float32 too, which they need not be: at most a tenth too much.

    Raises:
        UserError: there is no model in the folder, or a file of it is damaged.
    """
    total = 0
    for place in open_folder(folder).places.values():
        wide = place.dtype.is_floating_point
        total += place.bytes // place.dtype.itemsize * (4 if wide else place.dtype.itemsize)
    return total


def free(device: str) -> int:
    """Bytes of memory that nobody uses, of this machine or of the GPU `device`."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def fits(needed: int, device: str) -> bool:
    """Whether there is memory now for a model that takes so many bytes."""
    return _SPARE * needed <= free(device)


def refusal(name: str, needed: int, device: str) -> UserError:
    """What to tell where it does not fit."""
    return UserError(
        f"{name} takes {_SPARE * needed / 1e9:.3g} GB of memory to answer, and "
        f"{free(device) / 1e9:.3g} GB are free; close what else runs, or ask a smaller model"
    )
