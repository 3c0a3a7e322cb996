"""Ranges of weights and inputs: the share of the whole range that leaves the least error.

Both methods search the range by the error to the power 2.4 (Nahshan et al., "Loss Aware
Post-Training Quantization", 2019), shrinking it in steps of a hundredth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from engines.quantize.diffusion.layers import rounded
from engines.quantize.layers import Grouped

Search = Literal["minmax", "power"]
"""All of a range, or the part of it that leaves the least error."""

_POWER = 2.4
_SHARES = tuple(1.0 - 0.01 * step for step in range(80))
_WATCHED = 16_384  # values that are kept of a layer's input, a batch
_ROWS = 1 << 21  # weights that are looked at together
_LEAST = 1e-8
_LEAST_HALF = 2.0**-24


@dataclass(frozen=True)
class Seen:
    """A sample of what reaches a layer, with the ends of all of it."""

    values: Tensor
    low: float
    high: float


class Watch:
    """Samples what reaches layers while a network runs; a context, whose end stops it."""

    def __init__(self, layers: Mapping[str, nn.Module], seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._parts: dict[str, list[Tensor]] = {name: [] for name in layers}
        self._ends: dict[str, tuple[float, float]] = {}
        self._layers = layers

    def __enter__(self) -> Watch:
        self._hooks = [
            layer.register_forward_pre_hook(self._hook(name))
            for name, layer in self._layers.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def seen(self) -> dict[str, Seen]:
        """What was seen of every layer that was reached."""
        return {
            name: Seen(torch.cat(parts), *self._ends[name])
            for name, parts in self._parts.items()
            if parts
        }

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            flat = args[0].detach().reshape(-1).float()
            low, high = float(flat.min()), float(flat.max())
            old = self._ends.get(name, (low, high))
            self._ends[name] = min(low, old[0]), max(high, old[1])
            if len(flat) > _WATCHED:
                places = torch.randint(len(flat), (_WATCHED,), generator=self._generator)
                flat = flat[places.to(flat.device)]
            self._parts[name].append(flat.cpu())

        return see


def input_range(seen: Seen, bits: int, search: Search = "power") -> tuple[Tensor, Tensor]:
    """Scale () float32 and zero point () uint8 of an input, one grid for all of it.

    The range holds 0, so that the zeros with which convolutions are padded stay zeros.
    """
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    best, least = _steps(low, high, bits), float("inf")
    for share in _SHARES if search == "power" else ():
        scale, zero = _steps(share * low, share * high, bits)
        made = rounded(seen.values, scale, zero.float(), bits)
        error = float(made.sub_(seen.values).abs_().pow_(_POWER).mean())
        if error < least:
            best, least = (scale, zero), error
    return best


def weight_range(
    weight: Tensor, bits: int, *, symmetric: bool, search: Search = "power"
) -> tuple[Tensor, Tensor | None]:
    """Scale (out, 1) float16 and zero point (out, 1) uint8, None for symmetric grids, of each row.

    Args:
        weight: (out, rest) float32.
        bits: of a code.
        symmetric: whether 0 is the middle code of every row.
        search: how the range is chosen.
    """
    scales: list[Tensor] = []
    zeros: list[Tensor] = []
    for rows in weight.split(max(1, _ROWS // weight.shape[1])):
        low, high = rows.amin(1, True).clamp_max(0), rows.amax(1, True).clamp_min(0)
        best = _row_steps(low, high, bits, symmetric)
        least = torch.full_like(low, torch.inf)
        for share in _SHARES if search == "power" else ():
            scale, zero = _row_steps(share * low, share * high, bits, symmetric)
            made = rounded(rows, scale.float(), zero.float(), bits)
            error = made.sub_(rows).abs_().pow_(_POWER).sum(1, True)
            better = error < least
            least = torch.where(better, error, least)
            best = torch.where(better, scale, best[0]), torch.where(better, zero, best[1])
        scales.append(best[0])
        zeros.append(best[1])
    return torch.cat(scales), None if symmetric else torch.cat(zeros)


def coded(codes: Tensor, scale: Tensor, zero: Tensor | None, bits: int) -> Grouped:
    """A weight of one group a row; `codes` (out, rest) are whole numbers of any type."""
    return Grouped(codes.to(torch.uint8), scale, zero, bits, codes.shape[1])


def _steps(low: float, high: float, bits: int) -> tuple[Tensor, Tensor]:
    levels = 2**bits - 1
    scale = max((high - low) / levels, _LEAST)
    zero = min(max(round(-low / scale), 0), levels)
    return torch.tensor(scale), torch.tensor(zero, dtype=torch.uint8)


def _row_steps(low: Tensor, high: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Scales are rounded to what is stored before any code is computed."""
    levels = 2**bits - 1
    reach = 2.0 * torch.maximum(low.abs(), high) if symmetric else high - low
    scale = (reach / levels).clamp(_LEAST_HALF, torch.finfo(torch.float16).max).half()
    if symmetric:
        return scale, torch.full_like(low, 2 ** (bits - 1)).to(torch.uint8)
    return scale, (-low / scale.float()).round_().clamp_(0, levels).to(torch.uint8)
