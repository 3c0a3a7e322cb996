"""Parts of a block: linear layers that receive the very same tensor, and what they make together.

Found by running the block once and looking at which tensors go where, not by names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from engines.quantize.block import LINEAR, Block, Call
from engines.quantize.skeleton import hidden_of


@dataclass(frozen=True)
class Part:
    """Linear layers with one common input.

    Attributes:
        paths: of the layers in the block, in the order in which data reaches them.
        source: path of the module that returned their input and has weights of its own, such as a
            norm; "" where there is none.
    """

    paths: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True)
class Seen:
    """A tensor as it was at one moment: `version` counts what was written into it in place."""

    tensor: Tensor
    version: int

    def same(self, other: Seen) -> bool:
        """Whether both are one tensor, perhaps in another shape."""
        a, b = self.tensor, other.tensor
        return (
            a.data_ptr() == b.data_ptr()
            and a.numel() == b.numel()
            and a.shape[-1] == b.shape[-1]
            and self.version == other.version
        )


@dataclass(frozen=True)
class Flow:
    """What goes into all linear layers, and what comes out of all modules with weights, by path.

    Both in the order of time.
    """

    inputs: dict[str, Seen]
    outputs: dict[str, Seen]


@torch.no_grad()
def trace(block: Block) -> Flow:
    """Run one sequence and see what flows.

    Everything is held until the end, as memory that is used again would look like the same tensor.
    """
    flow = Flow({}, {})

    def before(path: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            flow.inputs.setdefault(path, Seen(args[0], args[0]._version))

        return hook

    def after(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, args: tuple[Any, ...], made: Any) -> None:
            if isinstance(made, Tensor):
                flow.outputs.setdefault(path, Seen(made, made._version))

        return hook

    handles: list[Any] = []
    for path, part in block.module.named_modules():
        if isinstance(part, LINEAR):
            handles.append(part.register_forward_pre_hook(before(path)))
        if path and any(True for _ in part.parameters(recurse=False)):
            handles.append(part.register_forward_hook(after(path)))
    try:
        for call in sample(block, 1).stream:
            call.of(block.module)
    finally:
        for handle in handles:
            handle.remove()
    return flow


def find_parts(block: Block, flow: Flow | None = None) -> list[Part]:
    """The parts of a block in the order in which data reaches them.

    All linear layers of the block's module are looked at, whether they are to be quantized or not.
    One that the traced tokens do not reach (an expert) becomes a part of its own, at the end.

    Args:
        block: with a stream.
        flow: what `trace` returned for it, where that is known already.
    """
    flow = flow or trace(block)
    parts: list[Part] = []
    for path, x in flow.inputs.items():
        twins = tuple(other for other, y in flow.inputs.items() if y.same(x))
        if twins[0] == path:
            source = next((name for name, y in flow.outputs.items() if y.same(x)), "")
            parts.append(Part(twins, source))
    missed = [path for path in linear_paths(block) if path not in flow.inputs]
    return parts + [Part((path,)) for path in missed]


def linear_paths(block: Block) -> list[str]:
    """All linear layers of the block's module, also those that are not to be quantized."""
    return [path for path, part in block.module.named_modules() if isinstance(part, LINEAR)]


def inspected(block: Block, paths: Sequence[str]) -> str:
    """Path of the module whose output tells how well a part is rounded; "" is the block.

    It is the layer itself where there is one, else the innermost module that holds them all: the
    attention for queries, keys and values, the MLP for gate and up (AWQ, section 3.2).
    """
    if len(paths) == 1:
        return paths[0]
    common: list[str] = []
    for names in zip(*(path.split(".")[:-1] for path in paths), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    lists = (nn.ModuleList, nn.ModuleDict)  # they hold modules and are never called
    while common and isinstance(block.module.get_submodule(".".join(common)), lists):
        common.pop()
    return ".".join(common)


def sample(block: Block, tokens: int) -> Block:
    """The same block with only so much of its stream that `tokens` tokens flow, or a little more.

    Whole sequences are taken, at even distances, as attention needs them.
    """
    stream = list(block.stream)
    if not stream:
        return block
    rows, length = hidden_of(stream[0]).shape[:2]
    wanted = max(1, -(-tokens // length))  # sequences
    calls = min(len(stream), wanted)
    keep = min(rows, -(-wanted // calls))
    places = [number * len(stream) // calls for number in range(calls)]
    few = [_first_rows(stream[place], keep) for place in places]
    return replace(block, stream=few, take=None)


class Inspected:
    """What a module of a block returns, compared with what it returned at first."""

    def __init__(self, block: Block, path: str) -> None:
        """Remember the present inputs and outputs of the module at `path`; "" is the block."""
        self._block = block
        self._module = block.module.get_submodule(path)
        self._calls = block.calls(path) if path else list(block.stream)
        with torch.no_grad():
            self._wanted = [call.of(self._module) for call in self._calls]

    @property
    def reached(self) -> bool:
        """Whether any token flows through it."""
        return any(made.numel() for made in self._wanted)

    @torch.no_grad()
    def error(self) -> float:
        """Squared change of the output, as a share of the output's own square."""
        wrong = right = 0.0
        for call, wanted in zip(self._calls, self._wanted, strict=True):
            self._block.check()
            wrong += float((call.of(self._module) - wanted).square_().sum())
            right += float(wanted.square().sum())
        return wrong / max(right, torch.finfo(torch.float32).tiny)


def _first_rows(call: Call, rows: int) -> Call:
    """The first `rows` sequences of a batch."""
    batch = hidden_of(call).shape[0]

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == batch:
            return value[:rows]
        if isinstance(value, tuple):
            return tuple(cut(one) for one in value)
        return value

    if rows == batch:
        return call
    return Call(
        tuple(cut(one) for one in call.args),
        {name: cut(one) for name, one in call.kwargs.items()},
    )
