"""A wider network that begins as a narrow one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from engines.raw.yond.arch import GuidedResUnet


def grow(wide: GuidedResUnet, narrow: Mapping[str, Tensor]) -> None:
    """Make a fresh wide network work out what a narrow one of as many levels does.

    The narrow network's channels come first at every level and hear nothing of the new ones to
    begin with, so training goes on from where the narrow network stood. (Chen et al. 2016,
    "Net2Net", has the idea; there channels are doubled.)

    Args:
        wide: initialised; changed in place.
        narrow: tensors of the narrow network.
    """
    state = wide.state_dict()
    for name, tensor in narrow.items():
        new, old = state[name], tensor.to(state[name].dtype)
        if new.ndim == 1:
            new[: len(old)] = old
            continue
        if name.startswith("upv"):  # transposed convolutions have their inputs first
            new, old = new.transpose(0, 1), old.transpose(0, 1)
        columns = torch.arange(old.shape[1])
        if ".short_cut." in name:  # what came up, then what was kept on the way down
            half = old.shape[1] // 2
            columns = torch.cat([columns[:half], columns[:half] + new.shape[1] // 2])
        new[: len(old)] = 0.0
        new[: len(old), columns] = old
    wide.load_state_dict(state)
