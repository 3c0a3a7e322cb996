"""The walk through a model: a block is read, quantized, measured, kept, and let go.

Calibration text flows on as the full-precision model makes it, as AWQ, AdaDim and VPTQ have it.
The text that is measured on flows twice, through the original and through the quantized blocks, so
that both perplexities are there at the end without either model ever being whole in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from engines.quantize.block import Block
from engines.quantize.gradients import found_for
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.method import Method
from engines.quantize.scratch import BlockReport, Done, LayerReport, Scratch
from engines.quantize.skeleton import Skeleton
from engines.quantize.stream import Stream, window_loss
from engines.quantize.text import perplexity_of

_JUDGED = 1024  # tokens on which errors are taken
Plan = Callable[[str], "Grid | None"]  # full name of a linear layer -> its grid, None to keep it


@dataclass(frozen=True)
class Walked:
    """What a walk found: perplexities on the evaluation text, the mean divergence, the blocks.

    `divergence` is KL(original || quantized) in nats a token; `window` the logits (length,
    vocabulary) of the quantized model for the first window, for checking what was written.
    """

    perplexity: float
    perplexity_original: float
    divergence: float
    blocks: Sequence[BlockReport]
    window: Tensor


def walk(
    skeleton: Skeleton,
    method: Method,
    plan: Plan,
    *,
    calibration: Tensor,
    evaluation: Tensor,
    scratch: Scratch,
    check: Callable[[], None],
    progress: Callable[[float, float, str], None],
    accept: Callable[[str, QuantizedLayer], None] = lambda name, layer: None,
) -> Walked:
    """Quantize all blocks; those that `scratch` holds already are not done again.

    Args:
        skeleton: of the model, empty.
        method: how codes are chosen.
        plan: how finely each layer is rounded.
        calibration: (windows, length) int64.
        evaluation: (windows, length) int64.
        scratch: where finished blocks are kept.
        check: raises Cancelled.
        progress: (blocks done, blocks, text).
        accept: called with the full name of every layer and what it became, block by block; what
            it raises ends the walk, before time is spent on the blocks that follow.

    Raises:
        UserError: the folder lacks something.
        Cancelled: passed through from `check`.
    """
    count = len(skeleton.blocks)
    skeleton.load_outside()
    skeleton.load(skeleton.blocks[0])
    with torch.no_grad():
        told, before, after = (
            Stream(skeleton, tokens, scratch.folder, name)
            for name, tokens in (("told", calibration), ("was", evaluation), ("is", evaluation))
        )
    reports: list[BlockReport] = []
    for index, name in enumerate(skeleton.blocks):
        progress(index, count, f"block {index + 1} of {count}")
        check()
        module = skeleton.block(index)
        skeleton.load(name)
        before.run(index, module, check)
        if scratch.whole(index):
            told.run(index, module, check)
        else:
            block = Block(
                index, count, name, module, _order(skeleton, index, told), told.calls(index),
                found_for(scratch.folder, index), check,
                lambda share, text, i=index: progress(i + share, count, f"block {i + 1}: {text}"),
            )  # fmt: skip
            scratch.save(index, _quantized(block, method, plan, told, skeleton))
        done = scratch.load(index)
        for path, layer in done.layers.items():
            accept(f"{name}.{path}", layer)
        hooks = put(module, done)
        after.run(index, module, check)
        for hook in hooks:
            hook.remove()
        for stream in (before, told, after):
            stream.step()
        reports.append(done.report)
        skeleton.drop(name)
    progress(count, count, "measuring")
    return _judged(before, after, reports, check)


def put(module: nn.Module, done: Done) -> list[Any]:
    """Give a filled block the weights that it has when quantized; returns hooks for its inputs."""
    hooks: list[Any] = []
    with torch.no_grad():
        for path, value in done.plain.items():
            owner, _, leaf = path.rpartition(".")
            getattr(module.get_submodule(owner), leaf).copy_(value)
        for path, layer in done.layers.items():
            linear = module.get_submodule(path)
            Block(0, 1, "", module, (path,)).weight(path).copy_(layer.dequantize())
            hooks.append(linear.register_forward_pre_hook(_preparing(layer)))
    return hooks


def _preparing(layer: QuantizedLayer) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    return lambda _, args: (layer.prepare_input(args[0]), *args[1:])


def _order(skeleton: Skeleton, index: int, stream: Stream) -> tuple[str, ...]:
    """Paths of a block's linear layers in the order in which data reaches them."""
    module = skeleton.block(index)
    seen: list[str] = []
    paths = skeleton.linears(index)
    first = stream.calls(index)[:1]
    Block(index, 1, "", module, paths, first).sweep(paths, lambda path, _: seen.append(path))
    return tuple(dict.fromkeys([*seen, *paths]))


def _quantized(block: Block, method: Method, plan: Plan, told: Stream, skeleton: Skeleton) -> Done:
    """Quantize a block, and take the calibration text through it as it came."""
    begun = time.monotonic()
    grids = {path: plan(f"{block.name}.{path}") for path in block.linears}
    chosen = {path: grid for path, grid in grids.items() if grid is not None}
    if chosen and method.uses == "activations":
        block = replace(block, take=told.keep)  # it is run for its inputs; once is enough
    else:
        told.run(block.index, block.module, block.check)
    layers = method.quantize(block, chosen) if chosen else {}
    errors = _errors(block, layers)
    held = {f"{path}.weight" for path in layers}
    plain = {
        path: value.detach().clone()
        for path, value in block.module.state_dict().items()
        if path not in held
    }
    report = BlockReport(
        block.name, 0.0, 0.0,
        tuple(
            LayerReport(
                f"{block.name}.{path}", layer.shape[0] * layer.shape[1], layer.bits, errors[path]
            )
            for path, layer in layers.items()
        ),
        tuple(block.notes),
    )  # fmt: skip
    done = Done(layers, plain, report)
    if block.take is not None:  # nobody ran it as it came
        skeleton.load(block.name)
        told.run(block.index, block.module, block.check)
    hooks = put(block.module, done)
    error = _output_error(block, told)
    for hook in hooks:
        hook.remove()
    seconds = time.monotonic() - begun
    return Done(layers, plain, BlockReport(block.name, seconds, error, report.layers, report.notes))


def _errors(block: Block, layers: Mapping[str, QuantizedLayer]) -> dict[str, float]:
    """Relative squared error of every layer's output on the first part of the calibration text.

    The block holds its weights in full precision here (folded, where the method folds).
    """
    found = {path: [0.0, 1e-20] for path in layers}

    def see(path: str, x: Tensor) -> None:
        x = x[:_JUDGED]
        exact = x @ block.weight(path).T
        # One dense copy at a time: all of them would take as much memory as the block.
        weight = layers[path].dequantize().to(x.device)
        made = layers[path].prepare_input(x) @ weight.T
        found[path][0] += float((made - exact).square().sum())
        found[path][1] += float(exact.square().sum())

    one = Block(block.index, block.count, block.name, block.module, block.linears, block.stream[:1])
    one.sweep(tuple(layers), see)
    return {path: error / power for path, (error, power) in found.items()}


@torch.no_grad()
def _output_error(block: Block, told: Stream) -> float:
    """Relative squared error of what the block adds, on the first part of the text."""
    part, call = told.parts[0], block.stream[0]
    made = call.of(block.module).cpu()
    wanted = told.made[part]
    added = wanted - told.states[part]
    return float((made - wanted).square().sum() / (added.square().sum() + 1e-20))


@torch.no_grad()
def _judged(
    before: Stream, after: Stream, blocks: Sequence[BlockReport], check: Callable[[], None]
) -> Walked:
    losses: list[tuple[Tensor, Tensor]] = []
    divergence, first = 0.0, torch.empty(0)
    for number, tokens in enumerate(before.tokens):
        check()
        was = before.logits(tokens, before.states[number])
        now = after.logits(tokens, after.states[number])
        losses.append((window_loss(was, tokens), window_loss(now, tokens)))
        divergence += float(
            nn.functional.kl_div(
                now.log_softmax(-1), was.log_softmax(-1), log_target=True, reduction="batchmean"
            )
        )
        first = now if number == 0 else first
    original, quantized = (
        perplexity_of(torch.stack(list(one))) for one in zip(*losses, strict=True)
    )
    return Walked(quantized, original, divergence / len(losses), blocks, first)
