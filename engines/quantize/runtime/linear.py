"""A linear layer whose weight stays in few bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engines.base import UserError
from engines.quantize.block import LINEAR
from engines.quantize.runtime.layouts import Layout, Stored
from engines.quantize.runtime.products import Product, product


class QuantizedLinear(nn.Module):
    """Takes the place of `nn.Linear` or of GPT-2's `Conv1D`: y = x W^T + bias."""

    def __init__(self, stored: Stored, bias: nn.Parameter | None, device: torch.device) -> None:
        """Take a weight.

        Args:
            stored: the weight; what it is multiplied with is made of it, and it is let go.
            bias: (out,) or None; may still be on the meta device.
            device: where the weight is to be.
        """
        super().__init__()
        self.out_features, self.in_features = stored.layer.shape
        self.kind = stored.layer.kind
        self.bias = bias
        # Models ask their layers' weights for types, and GPT-2 would fill them: there is nothing.
        self.weight = torch.empty(0, device=device)
        self.weight._is_hf_initialized = True  # pyright: ignore[reportAttributeAccessIssue]
        # Not buffers: transformers empties those that are not in a checkpoint while it loads one.
        self._product: Product = product(stored.layer, device)
        self._order = None if stored.order is None else stored.order.to(device)
        self._device = torch.empty(0, device=device).device

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(..., in) of any float type -> (..., out) of the same."""
        if self._order is not None:
            x = x.index_select(-1, self._order)
        y = self._product(x)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """For printing a model."""
        return f"{self.in_features}, {self.out_features}, kind={self.kind}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantizedLinear:
        """Types of stored tensors stay as they are.

        Raises:
            RuntimeError: the model is moved to another device, for which the weights would have
                to be prepared anew.
        """
        there = fn(torch.empty(0, device=self._device)).device
        if there != self._device:
            raise RuntimeError(
                f"A quantized model stays where it was loaded: load it on {there} instead."
            )
        super()._apply(cast("Any", fn), recurse)
        return self


def place_layers(
    model: PreTrainedModel,
    layout: Layout,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """Put quantized layers into a model that is on the meta device, one after another.

    Args:
        model: its linear layers are replaced.
        layout: where the weights are.
        device: where they are to be.
        check: called before every layer; what it raises ends the loading.

    Returns:
        The names in the model of the layers that were replaced.

    Raises:
        UserError: the model has no such layer, or one of another shape.
    """
    modules = dict(model.named_modules())
    prefix = f"{model.base_model_prefix}."
    placed: list[str] = []
    for stored_name in layout.modules:
        check()
        names = (stored_name, stored_name.removeprefix(prefix), prefix + stored_name)
        name = next((n for n in names if isinstance(modules.get(n), LINEAR)), None)
        if name is None:
            raise UserError(
                f"{layout.folder.name} holds a weight {stored_name} that its architecture "
                f"({layout.folder.architecture}) does not have; fetch the model again"
            )
        linear = modules[name]
        stored = layout.read(stored_name)
        shape = _shape(linear)
        if stored.layer.shape != shape:
            raise UserError(
                f"{stored_name} of {layout.folder.name} is {stored.layer.shape} where its "
                f"config.json asks for {shape}; fetch the model again"
            )
        bias = cast("nn.Parameter | None", linear.bias)
        with torch.device(device):
            model.set_submodule(name, QuantizedLinear(stored, bias, device))
        placed.append(name)
    return placed


def _shape(linear: nn.Module) -> tuple[int, int]:
    """(out, in) of `nn.Linear` or `Conv1D`."""
    weight = cast("Tensor", linear.weight)
    rows, columns = weight.shape
    return (rows, columns) if isinstance(linear, nn.Linear) else (columns, rows)
