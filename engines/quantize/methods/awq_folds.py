"""Where AWQ's scales can go: what, before a linear layer, can take their inverse.

Input channel j of a layer may be scaled by s_j if what makes that channel is divided by s_j: the
weight of a norm, or a row of another linear layer. Which they are is found by tracing one sequence
and by trying: a fold counts only if the block returns the same with it. So no architecture is known
by name, and a tensor that has other readers (a router, fused experts) refuses itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from engines.quantize.block import LINEAR, Block
from engines.quantize.methods.parts import Flow, Part, find_parts, sample, trace
from engines.quantize.skeleton import hidden_of

Kind = Literal["norm", "norm about one", "linear"]

_SAME = 1e-4  # relative change of what a block adds, under which two results are one


@dataclass(frozen=True)
class Fold:
    """A place for the scales of the inputs of some linear layers.

    Attributes:
        source: path of the norm or linear layer that takes the inverse.
        kind: a norm with factor `weight`, one with factor 1 + `weight` (Gemma), or a linear layer.
        targets: paths of all linear layers that read what it makes.
        rows: (in,) int64, which output of `source` each input channel of the targets is; several
            may be the same one, as the values of shared heads are (grouped-query attention).
    """

    source: str
    kind: Kind
    targets: tuple[str, ...]
    rows: Tensor

    def shared(self, values: Tensor) -> Tensor:
        """(in,) numbers, with their mean wherever channels have one source."""
        total = torch.bincount(self.rows, values)
        return (total / self.rows.bincount())[self.rows].to(values.dtype)

    def storable(self, block: Block, scale: Tensor) -> Tensor:
        """The scale next to `scale` (in,) that leaves a norm's weight a bfloat16 number.

        Norms are stored in the checkpoint's type. If the folded weight were rounded to it
        afterwards, every channel would be off by up to 0.4 %; so the scale is the one to be moved.
        """
        if self.kind == "linear":
            return scale
        one = 1.0 if self.kind == "norm about one" else 0.0
        weight = block.module.get_submodule(self.source).get_parameter("weight").detach()
        stored = ((weight + one) / scale - one).bfloat16().float()
        moved = (weight + one) / (stored + one)
        return torch.where((moved / scale - 1).abs() < 0.01, moved, scale)

    @torch.no_grad()
    def apply(self, block: Block, scale: Tensor) -> None:
        """Multiply the targets' input channels by `scale` (in,); equal where `rows` are."""
        for path in self.targets:
            block.weight(path).mul_(scale)
        source = block.module.get_submodule(self.source)
        weight = source.get_parameter("weight").detach()
        if self.kind == "linear":
            weight = block.weight(self.source)
            scale = weight.new_ones(weight.shape[0]).index_copy_(0, self.rows, scale)
            weight.div_(scale.unsqueeze(1))
        elif self.kind == "norm":
            weight.div_(scale)
        else:
            weight.add_(1).div_(scale).sub_(1)
        bias = getattr(source, "bias", None)
        if isinstance(bias, Tensor):
            bias.detach().div_(scale)


def find_folds(block: Block, flow: Flow | None = None) -> list[Fold]:
    """All folds that leave the block's output as it is, at most one for every part of it.

    Args:
        block: with a stream.
        flow: what `trace` returned for it, where that is known already.
    """
    flow = flow or trace(block)
    probe = _Probe(block)
    folds: list[Fold] = []
    for part in find_parts(block, flow):
        block.check()
        fold = next((one for one in _candidates(block, part, flow) if probe.holds(one)), None)
        if fold is not None:
            folds.append(fold)
    return folds


class _Probe:
    """Tries folds on one sequence."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._call = next(iter(sample(block, 1).stream))
        with torch.no_grad():
            self._wanted = self._call.of(block.module)
        self._added = self._wanted - hidden_of(self._call)

    @torch.no_grad()
    def holds(self, fold: Fold) -> bool:
        """Whether scales of 1/2, 1 and 2, which cost no precision, leave the output the same."""
        random = torch.Generator().manual_seed(0)
        by_row = 2.0 ** torch.randint(-1, 2, (int(fold.rows.max()) + 1,), generator=random)
        with _unchanged(self._block, fold):
            fold.apply(self._block, by_row.to(self._wanted.device)[fold.rows])
            change = self._call.of(self._block.module) - self._wanted
        return bool(change.norm() <= _SAME * self._added.norm())


@contextmanager
def _unchanged(block: Block, fold: Fold) -> Iterator[None]:
    """What a fold changes is afterwards what it was."""
    touched = [
        parameter.detach()
        for path in (fold.source, *fold.targets)
        for parameter in block.module.get_submodule(path).parameters(recurse=False)
    ]
    kept = [parameter.clone() for parameter in touched]
    try:
        yield
    finally:
        for parameter, value in zip(touched, kept, strict=True):
            parameter.copy_(value)


def _candidates(block: Block, part: Part, flow: Flow) -> Iterator[Fold]:
    """What might take the inverse of a part's scales, likeliest first."""
    if part.paths[0] not in flow.inputs:
        return
    columns = block.weight(part.paths[0]).shape[1]
    own = torch.arange(columns, device=block.weight(part.paths[0]).device)
    source = block.module.get_submodule(part.source) if part.source else None
    if source is not None and not isinstance(source, LINEAR):
        if _is_factor(source, columns):
            yield Fold(part.source, "norm", part.paths, own)
            yield Fold(part.source, "norm about one", part.paths, own)
        return
    for path in _before(part, flow):
        outputs = block.weight(path).shape[0]
        rows = _carried(flow.outputs[path].tensor, flow.inputs[part.paths[0]].tensor)
        if rows is not None:
            yield Fold(path, "linear", part.paths, rows)
        # The output itself times something, or the last ones of it (gate and up in one layer).
        if outputs >= columns:
            yield Fold(path, "linear", part.paths, own + (outputs - columns))


def _is_factor(source: nn.Module, columns: int) -> bool:
    weight = getattr(source, "weight", None)
    return isinstance(weight, Tensor) and weight.shape == (columns,)


def _before(part: Part, flow: Flow) -> list[str]:
    """Linear layers beside those of a part that data reaches earlier, the latest first."""
    if part.source:
        return [part.source]
    place = part.paths[0].rpartition(".")[0]
    earlier: list[str] = []
    for path in flow.inputs:
        if path == part.paths[0]:
            break
        if path.rpartition(".")[0] == place and path in flow.outputs:
            earlier.insert(0, path)
    return earlier


def _carried(made: Tensor, x: Tensor) -> Tensor | None:
    """Which output of a layer each input channel of another is at the first token, if all are.

    The first token of a causal model attends to itself alone, so what attention returns for it is
    its value, however heads are laid out or shared.
    """
    value = made.reshape(-1, made.shape[-1])[0].float()
    wanted = x.reshape(-1, x.shape[-1])[0].float()
    order = value.argsort()
    ranked = value[order]
    after = torch.searchsorted(ranked, wanted).clamp_max(len(ranked) - 1)
    before = (after - 1).clamp_min(0)
    closer = (ranked[after] - wanted).abs() <= (ranked[before] - wanted).abs()
    found = torch.where(closer, after, before)
    near = (ranked[found] - wanted).abs() <= 1e-5 * value.abs().max()
    return order[found] if bool(near.all()) else None
