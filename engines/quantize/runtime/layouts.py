"""Quantized weights as folders hold them, read one at a time; ours and third parties'.

What a folder is, its `quantization_config` says; what a weight is, its tensors do.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engines.base import UserError
from engines.quantize.export.bitsandbytes import read_eight, read_four
from engines.quantize.export.studio import METHOD, VERSION
from engines.quantize.folder import ModelFolder
from engines.quantize.kinds import layer_kind
from engines.quantize.layers import Grouped, QuantizedLayer
from kernels.packing import unpack_awq, unpack_bits, unpack_gptq

__all__ = ["Layout", "Stored", "layout_of"]


@dataclass(frozen=True)
class Stored:
    """A weight as it was read.

    Attributes:
        layer: the weight.
        order: (in,) int64 where its columns were sorted: column j belongs to input order[j].
    """

    layer: QuantizedLayer
    order: Tensor | None = None


class Layout(ABC):
    """How one folder holds its quantized weights.

    Attributes:
        suffixes: ends of the names of their tensors.
    """

    suffixes: frozenset[str]

    def __init__(self, folder: ModelFolder) -> None:
        """Look at the names of the folder's tensors."""
        self.folder = folder
        self.config: Mapping[str, Any] = folder.quantization or {}

    @property
    @abstractmethod
    def modules(self) -> Sequence[str]:
        """Names of the modules whose weights are quantized, as in the files."""

    def read(self, module: str) -> Stored:
        """The weight of a module.

        Raises:
            UserError: a tensor is missing or contradicts another.
        """
        try:
            return self._read(module)
        except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"The quantized weight {module} of {self.folder.name} contradicts itself; fetch "
                "the model again"
            ) from error

    @abstractmethod
    def _read(self, module: str) -> Stored: ...

    def _ending(self, suffix: str) -> list[str]:
        """Modules that have a tensor of that suffix."""
        end = f".{suffix}"
        return [name.removesuffix(end) for name in self.folder.places if name.endswith(end)]

    def _tensor(self, module: str, suffix: str) -> Tensor:
        return self.folder.tensor(f"{module}.{suffix}")

    def _has(self, module: str, suffix: str) -> bool:
        return f"{module}.{suffix}" in self.folder.places


class _Studio(Layout):
    """docs/quantized-layout.md."""

    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        if self.config.get("version") != VERSION:
            raise UserError(f"{folder.name} was made by a newer Noise Studio; update the studio")
        entries = self.config["layers"].values()
        self.suffixes = frozenset(suffix for entry in entries for suffix in entry["tensors"])

    @property
    def modules(self) -> Sequence[str]:
        return list(self.config["layers"])

    def _read(self, module: str) -> Stored:
        entry = self.config["layers"][module]
        tensors = {suffix: self._tensor(module, suffix) for suffix in entry["tensors"]}
        return Stored(layer_kind(entry["kind"]).from_tensors(tensors, entry))


class _CompressedTensors(Layout):
    """compressed-tensors' "pack-quantized"."""

    suffixes = frozenset(
        ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx")
    )

    @property
    def modules(self) -> Sequence[str]:
        return self._ending("weight_packed")

    def _read(self, module: str) -> Stored:
        bits = int(self._weights(module)["num_bits"])
        rows, columns = (int(side) for side in self._tensor(module, "weight_shape"))
        codes = unpack_bits(self._tensor(module, "weight_packed"), bits, columns)
        scale = self._tensor(module, "weight_scale")
        zero = None
        if self._has(module, "weight_zero_point"):
            zero = self._tensor(module, "weight_zero_point")
            if zero.dtype == torch.int32:
                zero = unpack_bits(zero.T, bits, rows).T
            else:  # older writers did not pack them
                zero = (zero.int() + 2 ** (bits - 1)).to(torch.uint8)
            zero = zero.contiguous()
        order = self._tensor(module, "weight_g_idx") if self._has(module, "weight_g_idx") else None
        return _grouped(codes, scale, zero, bits, (rows, columns), order)

    def _weights(self, module: str) -> Mapping[str, Any]:
        """Settings of the config group that a module is in; exact names come before patterns."""
        best: tuple[int, Mapping[str, Any]] | None = None
        for group in self.config["config_groups"].values():
            for target in group["targets"]:
                pattern = target.removeprefix("re:")
                if target == module:
                    rank = 0
                elif target.startswith("re:") and re.match(pattern, module):
                    rank = 1
                elif target == "Linear":
                    rank = 2
                else:
                    continue
                if best is None or rank < best[0]:
                    best = rank, group["weights"]
        if best is None:
            raise KeyError(module)
        return best[1]


class _Awq(Layout):
    """AutoAWQ's "gemm" and "gemv"."""

    suffixes = frozenset(("qweight", "qzeros", "scales"))

    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        self._version = str(self.config.get("version", "gemm")).lower()
        bits = self.config.get("bits", 4)
        if self._version not in ("gemm", "gemv") or bits != 4:
            raise UserError(
                f"{folder.name} is stored as AWQ {self._version} with {bits} bits; only gemm and "
                "gemv with 4 bits can be read here, so choose such a version of it"
            )

    @property
    def modules(self) -> Sequence[str]:
        return self._ending("qweight")

    def _read(self, module: str) -> Stored:
        words, zeros, scale = (self._tensor(module, s) for s in ("qweight", "qzeros", "scales"))
        if self._version == "gemm":
            codes, scale = unpack_awq(words), scale.T.contiguous()
            zero = unpack_awq(zeros)
        else:
            # Rows as in the weight, plain order; the last groups may be padding.
            codes = unpack_bits(words, 4, words.shape[1] * 8)
            size = int(self.config["group_size"])
            groups = codes.shape[1] // size if size > 0 else 1
            zero = unpack_bits(zeros, 4, zeros.shape[1] * 8)[:, :groups].contiguous()
            scale = scale[:, :groups].contiguous()
        return _grouped(codes, scale, zero, 4, tuple(codes.shape), None)


class _Gptq(Layout):
    """AutoGPTQ's and GPTQModel's; whether zero points are stored less one is seen, not believed."""

    suffixes = frozenset(("qweight", "qzeros", "scales", "g_idx"))

    def __init__(self, folder: ModelFolder) -> None:
        super().__init__(folder)
        dynamic = self.config.get("dynamic") or {}
        self._dynamic = [
            (re.compile(pattern.removeprefix("+:")), settings)
            for pattern, settings in dynamic.items()
            if not pattern.startswith("-:")
        ]

    @property
    def modules(self) -> Sequence[str]:
        return self._ending("qweight")

    def _read(self, module: str) -> Stored:
        settings = next((s for p, s in self._dynamic if p.match(module)), {})
        bits = int(settings.get("bits", self.config["bits"]))
        codes = unpack_gptq(self._tensor(module, "qweight"), bits)
        scale = self._tensor(module, "scales").T.contiguous()
        stored = unpack_bits(self._tensor(module, "qzeros"), bits, codes.shape[0]).T.contiguous()
        order = self._tensor(module, "g_idx") if self._has(module, "g_idx") else None
        zero = self._true(stored, bits)
        return _grouped(codes, scale, zero, bits, tuple(codes.shape), order)

    def _true(self, stored: Tensor, bits: int) -> Tensor | None:
        """Zero points from stored ones; None where they are the middle of the codes."""
        middle = 2 ** (bits - 1)
        all_middle = any(bool((stored == said).all()) for said in (middle - 1, middle))
        if self.config.get("sym", True) and all_middle:
            return None
        if str(self.config.get("checkpoint_format", "gptq")) == "gptq_v2":
            return stored
        # A zero point of 0 was stored as -1, which is all ones in the bits of a code.
        return ((stored.int() + 1) & (2**bits - 1)).to(torch.uint8)


class _BitsAndBytes(Layout):
    """bitsandbytes' 4 bits and INT8, as transformers saves them."""

    suffixes = frozenset(("weight", "SCB", "weight_format"))

    @property
    def modules(self) -> Sequence[str]:
        return [*self._ending("weight.absmax"), *self._ending("SCB")]

    def _read(self, module: str) -> Stored:
        if self._has(module, "SCB"):
            weight, scale = self._tensor(module, "weight"), self._tensor(module, "SCB")
            return Stored(read_eight(weight, scale))
        prefix = f"{module}.weight."
        beside = {
            name.removeprefix(prefix): self.folder.tensor(name)
            for name in self.folder.places
            if name.startswith(prefix)
        }
        return Stored(read_four(self._tensor(module, "weight"), beside))


_LAYOUTS: dict[str, Callable[[ModelFolder], Layout]] = {
    METHOD: _Studio,
    "compressed-tensors": _CompressedTensors,
    "awq": _Awq,
    "gptq": _Gptq,
    "bitsandbytes": _BitsAndBytes,
}


def layout_of(folder: ModelFolder) -> Layout:
    """The layout of a folder whose config says that it is quantized.

    Raises:
        UserError: it cannot be read here.
    """
    config = folder.quantization or {}
    method = str(config.get("quant_method", "?"))
    packed = config.get("format", "pack-quantized") == "pack-quantized"
    made = _LAYOUTS.get(method)
    if made is None or (method == "compressed-tensors" and not packed):
        said = method if packed else f"{method}, {config['format']}"
        raise UserError(
            f"{folder.name} is quantized in a way that is not known here ({said}); choose the "
            "original model, or one stored as compressed-tensors, AWQ, GPTQ or bitsandbytes"
        )
    return made(folder)


def _grouped(
    codes: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    bits: int,
    shape: tuple[int, ...],
    group_of: Tensor | None,
) -> Stored:
    """A weight with groups along the inputs, whose columns may be in any order.

    Raises:
        ValueError: sizes that do not fit each other.
    """
    rows, columns = shape
    groups = scale.shape[-1]
    fits = codes.shape == (rows, columns) and scale.shape == (rows, groups)
    if not fits or columns % groups or (zero is not None and zero.shape != scale.shape):
        raise ValueError(f"{tuple(codes.shape)}, {tuple(scale.shape)} for {shape}")
    size, order = columns // groups, None
    if group_of is not None and not torch.equal(
        group_of.long(), torch.arange(columns, device=group_of.device) // size
    ):
        if not bool((torch.bincount(group_of.long(), minlength=groups) == size).all()):
            raise ValueError("Groups of several sizes.")
        order = torch.argsort(group_of.long(), stable=True)
        codes = codes[:, order]
    return Stored(Grouped(codes, scale, zero, bits, size), order)
