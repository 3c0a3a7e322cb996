"""Hessians of layers' squared output errors, and the factor of their inverse that GPTQ walks along.

Frantar et al., "GPTQ" (ICLR 2023), sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engines.quantize.block import Block
from engines.quantize.methods.parts import find_parts

_DAMPING_RAISES = (1.0, 10.0, 100.0)
_TOGETHER = 1 << 26  # entries of the Hessians that are held at once: 256 MiB


@dataclass(frozen=True)
class Curvature:
    """How errors of a layer's columns hang together.

    Attributes:
        order: (in,) int64, the columns in the order in which they are to be rounded.
        upper: (in, in) float32, upper triangular U with U^T U = H^-1; rows and columns in `order`.
        diagonal: (in,) float32 of H before damping, columns as they are in the weight.
    """

    order: Tensor
    upper: Tensor
    diagonal: Tensor


def hessians(block: Block, paths: Sequence[str]) -> dict[str, Tensor]:
    """(2 / n) sum x x^T over all n calibration tokens, of what reaches each linear layer now.

    Args:
        block: whose stream is run once.
        paths: linear layers; those with the same input share one tensor, which nobody may change.

    Returns:
        path -> (in, in) float32; layers that saw no token are left out.
    """
    parts = _parts(block, paths)
    found = _of_parts(block, parts)
    return {path: found[part] for part in parts if part in found for path in part}


def factor(hessian: Tensor, *, damping: float = 0.01, act_order: bool = True) -> Curvature | None:
    """Damp a Hessian and factor its inverse.

    The factor comes from one Cholesky decomposition of H with rows and columns reversed, R R^T
    with R upper triangular, as U = R^-1: the inverse of H is never made. A column that no token
    reached (H_ii = 0) is rounded alone; the published code sets its weights to 0 instead, which
    other text would notice.

    Args:
        hessian: (in, in) float32; not changed.
        damping: share of the mean of the diagonal that is added to it; raised tenfold and again
            where the factor does not exist, each time in float32 and then in float64.
        act_order: columns with the largest diagonal first.

    Returns:
        The curvature; None where no damping helps, as with values that are not finite.
    """
    diagonal = hessian.diagonal().clone()
    order = torch.arange(len(diagonal), device=hessian.device)
    if act_order:
        order = diagonal.argsort(descending=True, stable=True)
    ordered = hessian[order][:, order]
    entries = ordered.diagonal()
    entries[entries == 0] = 1
    added = damping * float(entries.mean())
    for raised in _DAMPING_RAISES:
        for kind in (torch.float32, torch.float64):
            upper = _inverse_factor(ordered.to(kind), added * raised)
            if upper is not None:
                return Curvature(order, upper.float(), diagonal)
    return None


def curvatures(
    block: Block,
    paths: Sequence[str],
    *,
    damping: float = 0.01,
    act_order: bool = True,
    sequential: bool = False,
) -> Iterator[tuple[str, Curvature | None]]:
    """Every layer with its curvature, so many Hessians at a time as fit 256 MiB.

    Args:
        block: where what is consumed may be written back between two layers.
        paths: linear layers.
        damping: see `factor`.
        act_order: see `factor`.
        sequential: look at the inputs of a part only after the parts before it are done, so that
            layers written back are seen as they were written.

    Yields:
        (path, curvature), all of a part's one after the other; None, with a note to the person, for
        layers that no token reached or whose Hessian is of no use: round those to the nearest.
    """
    for batch in _batches(block, _parts(block, paths), sequential):
        found = _of_parts(block, batch)
        for part in batch:
            hessian = found.pop(part, None)
            curvature = None
            if hessian is not None:
                curvature = factor(hessian, damping=damping, act_order=act_order)
            if curvature is None:
                _note(block, part, reached=hessian is not None)
            del hessian
            for path in part:
                yield path, curvature


def _parts(block: Block, paths: Sequence[str]) -> list[tuple[str, ...]]:
    """`paths`, those with the same input together."""
    parts = [tuple(path for path in part.paths if path in paths) for part in find_parts(block)]
    return [part for part in parts if part]


def _of_parts(block: Block, parts: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], Tensor]:
    """The Hessian of every part that a token reached."""
    by_leader = {part[0]: part for part in parts}
    counts = dict.fromkeys(by_leader, 0)
    found: dict[tuple[str, ...], Tensor] = {}

    def see(path: str, x: Tensor) -> None:
        rows, before = x.shape[0], counts[path]
        if not rows:
            return
        part, total = by_leader[path], before + rows
        if part not in found:
            found[part] = x.new_zeros(x.shape[1], x.shape[1])
        found[part].addmm_(x.T, x, beta=before / total, alpha=2 / total)
        counts[path] += rows

    block.sweep(list(counts), see)
    return found


def _note(block: Block, part: Sequence[str], *, reached: bool) -> None:
    why = "what reached it could not be used" if reached else "no calibration token reached it"
    for path in part:
        block.note(f"{block.name}.{path} was rounded to nearest: {why}")


def _batches(
    block: Block, parts: Sequence[tuple[str, ...]], sequential: bool
) -> Iterator[list[tuple[str, ...]]]:
    batch: list[tuple[str, ...]] = []
    held = 0
    for part in parts:
        size = block.weight(part[0]).shape[1] ** 2
        if batch and (sequential or held + size > _TOGETHER):
            yield batch
            batch, held = [], 0
        batch.append(part)
        held += size
    if batch:
        yield batch


def _inverse_factor(hessian: Tensor, damping: float) -> Tensor | None:
    """Upper triangular U with U^T U = (H + damping I)^-1."""
    turned = hessian.flip(0, 1)
    turned.diagonal().add_(damping)
    lower, failed = torch.linalg.cholesky_ex(turned)
    if bool(failed):
        return None
    upper = lower.flip(0, 1)
    identity = torch.eye(len(upper), dtype=upper.dtype, device=upper.device)
    inverse = torch.linalg.solve_triangular(upper, identity, upper=True)
    return inverse if bool(inverse.isfinite().all()) else None
