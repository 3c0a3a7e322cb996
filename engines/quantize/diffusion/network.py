"""Which layers of a diffusion network are quantized, in which order, and how finely.

Layers are found by their type and put in the order in which data reaches them; names do not matter,
so any network of convolutions and linear layers can be walked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS = (nn.Conv2d, nn.Linear, nn.Conv1d)
_EDGE_BITS = 8  # of the first and the last layers

Kept = Literal["nothing", "ways"]
"""What stays in floating point: nothing, or the convolutions that halve and the short cuts."""


@dataclass(frozen=True)
class Width:
    """Bits of a layer; an edge is one of the first or last layers, which nobody trains."""

    weight: int
    activation: int
    edge: bool = False


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Full name -> layer, as they are registered."""
    return {name: m for name, m in network.named_modules() if isinstance(m, LAYERS)}


@torch.no_grad()
def order_of(network: nn.Module, run: Callable[[], object]) -> list[str]:
    """Names of the layers in the order in which data reaches them.

    Args:
        network: to be watched.
        run: calls it once.
    """
    seen: list[str] = []

    def noting(name: str) -> Callable[..., None]:
        return lambda _module, _args: seen.append(name)

    layers = layers_of(network)
    hooks = [layer.register_forward_pre_hook(noting(name)) for name, layer in layers.items()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return list(dict.fromkeys(seen))


def widths(
    network: nn.Module, order: Sequence[str], weight: int, activation: int, kept: Kept,
    skip: Sequence[str] = (),
) -> dict[str, Width]:  # fmt: skip
    """How finely each layer is rounded, in `order`; layers that are left out stay as they are.

    All layers up to the first convolution (those of the time, and the one that takes the picture)
    and the last one keep 8 bits: in a U-Net, EfficientDM's "first three and last". With
    `kept` "ways", convolutions with a stride and those of one pixel that change the channels, the
    short cuts, stay in floating point, as its code has it.

    Args:
        network: of the layers.
        order: from `order_of`.
        weight: bits of a weight's code.
        activation: bits of an input's code, 16 for none.
        kept: what stays in floating point.
        skip: parts of names that stay as well.
    """
    layers = layers_of(network)
    found: dict[str, Width] = {}
    first = next((i for i, n in enumerate(order) if not isinstance(layers[n], nn.Linear)), 0)
    for place, name in enumerate(order):
        if any(part in name for part in skip) or (kept == "ways" and _is_way(layers[name])):
            continue
        edge = place <= first or place == len(order) - 1
        bits = max(weight, _EDGE_BITS) if edge else weight
        inputs = max(activation, _EDGE_BITS) if edge else activation
        found[name] = Width(bits, inputs, edge)
    return found


def _is_way(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Linear):
        return False
    assert isinstance(layer, nn.Conv2d | nn.Conv1d)
    halves = any(side > 1 for side in layer.stride)
    dot = all(side == 1 for side in layer.kernel_size)
    return halves or (dot and layer.in_channels != layer.out_channels)


def units_of(network: nn.Module, chosen: Mapping[str, object]) -> list[tuple[str, ...]]:
    """The layers in the groups that are reconstructed together, by the first layer of each.

    A unit is the smallest module with at least two layers in it, such as a residual block, an
    attention or the two layers of the time; what stands alone is a unit of one. The module of a
    unit is `common(unit)`.

    Args:
        network: to be divided.
        chosen: names of the layers that are quantized, in the order of the data.
    """
    found: list[tuple[str, ...]] = []

    def divide(prefix: str, module: nn.Module) -> None:
        inside = [name for name in chosen if _within(name, prefix)]
        if not inside:
            return
        children = [(_joined(prefix, name), child) for name, child in module.named_children()]
        several = any(sum(_within(n, path) for n in chosen) > 1 for path, _ in children)
        called = not isinstance(module, nn.ModuleList | nn.ModuleDict) and prefix
        if isinstance(module, LAYERS) or (called and not several and len(inside) > 1):
            found.append(tuple(inside))
            return
        for path, child in children:
            divide(path, child)

    divide("", network)
    place = {name: number for number, name in enumerate(chosen)}
    return sorted(found, key=lambda unit: min(place[name] for name in unit))


def common(unit: Sequence[str]) -> str:
    """Name of the module that holds all layers of a unit."""
    if len(unit) == 1:
        return unit[0]
    parts = [name.split(".") for name in unit]
    shared: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ".".join(shared)


def compute(layer: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """What a layer makes of `x` with another weight of its shape."""
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, layer.bias)
    assert isinstance(layer, nn.Conv2d | nn.Conv1d)
    return layer._conv_forward(x, weight, layer.bias)


def _within(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
