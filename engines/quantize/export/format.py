"""What every export format is: which weights it can hold, as which tensors, and what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from math import gcd
from typing import Any, ClassVar

import torch
from torch import Tensor

from engines.quantize.export.traits import Traits
from engines.quantize.layers import Grouped, QuantizedLayer


class Format(ABC):
    """One way of writing a quantized model; an instance knows all the layers of its model."""

    name: ClassVar[str]
    title: ClassVar[str]
    half: ClassVar[bool] = False
    """Whether its kernels compute in 16 bits, so that a float32 model becomes a float16 one."""

    packages: ClassVar[str] = "transformers"
    """What loading takes, for the model card."""

    where: ClassVar[str] = ""
    """On what it loads, or what else loads it, for the model card."""

    arguments: ClassVar[str] = ""
    """Further arguments of `from_pretrained`, for the model card."""

    def __init__(
        self,
        layers: Mapping[str, Traits],
        method: str = "",
        source: torch.dtype = torch.float32,
    ) -> None:
        """Begin an export.

        Args:
            layers: every quantized weight by the name of its module; none is refused.
            method: id of the method, for formats that say it.
            source: type of the source's weights.
        """
        self.layers = layers
        self.method = method
        halves = (torch.float16, torch.bfloat16)
        self.dtype = source if source in halves or not self.half else torch.float16
        """Type of what is not quantized."""

    @staticmethod
    @abstractmethod
    def reason(layer: Traits) -> str:
        """Why the format cannot hold such a weight, as "it has 3 bits, and AWQ's are 4", or ""."""

    @abstractmethod
    def pack(self, name: str, layer: QuantizedLayer) -> dict[str, Tensor]:
        """What is stored of a weight: end of the tensor's name, such as "qweight" -> tensor."""

    @abstractmethod
    def config(self, plain: Sequence[str]) -> dict[str, Any] | None:
        """The `quantization_config` of config.json.

        Args:
            plain: names of the modules whose matrices are not quantized, embeddings among them.
        """

    def loading(self, folder: str) -> str:
        """For the model card: what loads a folder of that name, and how."""
        where = f", {self.where}" if self.where else ""
        return (
            f"With `pip install {self.packages}`{where}.\n\n"
            "```python\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{folder}"{self.arguments})\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}")\n'
            "```"
        )


def no_grouped(layer: Traits, title: str) -> str:
    """Why a format of plain integer groups along the inputs cannot hold a weight, or ""."""
    if layer.kind != "grouped":
        return f"its {layer.kind} codes are no integers with scales, which is all that {title} has"
    if layer.outliers:
        return f"it keeps outliers beside its codes, and {title} has no place for them"
    if layer.dim == "out":
        return f"its groups run along the outputs, and {title}'s run along the inputs"
    return ""


def common_group(layers: Iterable[Traits]) -> int:
    """A group size that divides all; -1, as the formats have it, where all groups are whole rows.

    A coarser group is then written as several finer ones with the same scale.
    """
    layers = list(layers)
    if all(layer.group_size == layer.shape[1] for layer in layers):
        return -1
    return gcd(*(layer.group_size for layer in layers))


def finer(part: Tensor, layer: Grouped, group: int) -> Tensor:
    """Scales or zero points (out, in / g) of a layer, for groups of a `common_group`."""
    return part if group == -1 else part.repeat_interleave(layer.group_size // group, dim=1)


def zeros(layer: Grouped) -> Tensor:
    """Zero points as (out, in / g) uint8; the middle of the codes for symmetric layers."""
    if layer.zero is not None:
        return layer.zero
    return torch.full_like(layer.scale, 2 ** (layer.bit_width - 1), dtype=torch.uint8)


def head(plain: Sequence[str]) -> list[str]:
    """The modules that stay as they are; the output head always does, written or tied."""
    return sorted({*plain, "lm_head"})
