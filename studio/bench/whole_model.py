"""A whole language model on each kernel: what a token takes, for `bench quantize-kernels`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from engines.quantize.layers import Grid
from engines.quantize.methods.grid import round_weight
from engines.quantize.runtime import LoadedLanguageModel, load_model, speed
from engines.quantize.runtime.layouts import Stored
from engines.quantize.runtime.linear import QuantizedLinear

_TURNS = 3  # of every system, one after another
_TOKENS = 32  # in a turn
_GRID = Grid(4, 64, symmetric=True)


def tokens(folder: Path) -> dict[str, float]:
    """System -> tokens a second when one text is written, the median of its turns.

    The linear layers of the blocks are of 4 bits where a system has them; embeddings and the head
    are of the type that is computed in.
    """
    systems = _systems(folder)
    spent: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(_TURNS):
        for name, loaded in systems.items():
            spent[name].append(speed(loaded, _TOKENS))
    return {name: median(found) for name, found in spent.items()}


def _systems(folder: Path) -> Mapping[str, LoadedLanguageModel]:
    wide, short = torch.float32, torch.bfloat16
    return {
        "float32": load_model(folder, dtype=wide),
        "bfloat16": load_model(folder, dtype=short),
        "bitsandbytes_nf4": _changed(load_model(folder, dtype=short), _theirs),
        "ours_4": _changed(load_model(folder, dtype=wide), _ours),
        "ours_4_bfloat16": _changed(load_model(folder, dtype=short), _ours),
    }


def _changed(
    loaded: LoadedLanguageModel, change: Callable[[nn.Linear], nn.Module]
) -> LoadedLanguageModel:
    """The model with other modules in place of its blocks' linear layers."""
    model: Any = loaded.model
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            model.set_submodule(name, change(module))
    return loaded


def _ours(linear: nn.Linear) -> nn.Module:
    layer = round_weight(linear.weight.detach().float(), _GRID)
    return QuantizedLinear(Stored(layer), linear.bias, torch.device("cpu"))


def _theirs(linear: nn.Linear) -> nn.Module:
    from bitsandbytes.nn.modules import Linear4bit

    made = Linear4bit(
        linear.in_features, linear.out_features, bias=linear.bias is not None,
        compute_dtype=torch.bfloat16, compress_statistics=False, quant_type="nf4",
    )  # fmt: skip
    made.load_state_dict(linear.state_dict())
    return made.to("cpu").eval().requires_grad_(False)
