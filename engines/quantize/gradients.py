"""Gradients of the language-model loss, block by block from the last to the first.

The states before every block are kept from the way forward; on the way back each block is read
again, run again with its inputs recorded, and let go. Weights need no gradient of their own: that
of a linear layer is the product of what came in and of the gradient of what went out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engines.quantize.block import Block
from engines.quantize.scratch import save_tensors
from engines.quantize.skeleton import Skeleton, hidden_of, with_hidden
from engines.quantize.stream import Stream

# Called with a layer's path in its block, its weight (out, in), what came in (tokens, in) and the
# gradient, of the loss summed over all tokens, of what went out (tokens, out). What it returns is
# kept.
See = Callable[[str, Tensor, Tensor, Tensor], Tensor]


def sweep(
    skeleton: Skeleton,
    tokens: Tensor,
    folder: Path,
    name: str,
    see: See,
    check: Callable[[], None],
    progress: Callable[[float, float, str], None],
) -> None:
    """Find what `see` makes of every linear layer; kept in `folder` block by block.

    Args:
        skeleton: of the model.
        tokens: (windows, length) int64.
        folder: the scratch folder; blocks that it holds already are not asked for again.
        name: of the files.
        see: what to keep of a layer.
        check: raises Cancelled.
        progress: (blocks done, blocks, text).
    """
    count = len(skeleton.blocks)
    if all(_path(folder, name, index).is_file() for index in range(count)):
        return
    skeleton.load_outside()
    skeleton.load(skeleton.blocks[0])
    with torch.no_grad():
        stream = Stream(skeleton, tokens, folder, name)
    entered: list[Tensor] = []
    for index, block in enumerate(skeleton.blocks):
        progress(0.5 * index, count, f"gradients: forward, block {index + 1} of {count}")
        skeleton.load(block)
        entered.append(stream.states.clone())
        stream.run(index, skeleton.block(index), check)
        stream.step()
        skeleton.drop(block)
    upward = _at_the_end(stream, check)
    for index in reversed(range(count)):
        progress(count - 0.5 * index, count, f"gradients: backward, block {index + 1} of {count}")
        skeleton.load(skeleton.blocks[index])
        stream.states = entered.pop()
        found, upward = _back(skeleton, index, stream, upward, see, check)
        save_tensors(_path(folder, name, index), found, {})
        skeleton.drop(skeleton.blocks[index])


def found_for(folder: Path, index: int, name: str = "gradients") -> Mapping[str, Tensor]:
    """What a sweep kept of block `index`, {} where there was none."""
    path = _path(folder, name, index)
    return load_file(path) if path.is_file() else {}


def _path(folder: Path, name: str, index: int) -> Path:
    return folder / f"{name}-{index:04}.safetensors"


def _at_the_end(stream: Stream, check: Callable[[], None]) -> Tensor:
    """Gradient of the loss, summed over tokens, at the last block's output, as its states are."""
    gradients = torch.empty_like(stream.states)
    for number, tokens in enumerate(stream.tokens):
        check()
        hidden = stream.states[number].clone().requires_grad_(True)
        with torch.enable_grad():
            logits = stream.logits(tokens, hidden)
            loss = nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="sum")
        (gradients[number],) = torch.autograd.grad(loss, hidden)
    return gradients


def _back(
    skeleton: Skeleton,
    index: int,
    stream: Stream,
    upward: Tensor,
    see: See,
    check: Callable[[], None],
) -> tuple[dict[str, Tensor], Tensor]:
    """Through one block: what `see` kept, and the gradient at the block's input."""
    module = skeleton.block(index)
    paths = skeleton.linears(index)
    block = Block(index, len(skeleton.blocks), skeleton.blocks[index], module, paths)
    came: dict[str, list[Tensor]] = {path: [] for path in paths}
    went: dict[str, list[Tensor]] = {path: [] for path in paths}

    def hook(path: str) -> Any:
        def keep(_: nn.Module, args: tuple[Any, ...], made: Tensor) -> None:
            came[path].append(args[0].detach().reshape(-1, args[0].shape[-1]))
            made.register_hook(lambda g: went[path].append(g.reshape(-1, g.shape[-1])))

        return keep

    handles = [module.get_submodule(path).register_forward_hook(hook(path)) for path in paths]
    downward = torch.empty_like(upward)
    try:
        for part, call in zip(stream.parts, stream.calls(index), strict=True):
            check()
            hidden = hidden_of(call).detach()
            hidden.requires_grad_(True)
            with torch.enable_grad():
                made = with_hidden(call, hidden).of(module)
            (gradient,) = torch.autograd.grad(made, hidden, upward[part].to(made.device))
            downward[part] = gradient.cpu()
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, Tensor] = {}
    for path in paths:
        check()
        if went[path]:
            found[path] = see(
                path, block.weight(path), torch.cat(came[path]), torch.cat(went[path])
            )
    return found, downward
