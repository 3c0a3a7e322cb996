"""Writes an exported model, a layer at a time."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from engines.base import UserError
from engines.quantize.export.card import Card, licence_files, render
from engines.quantize.export.formats import FORMATS, refusal
from engines.quantize.export.shards import ShardWriter
from engines.quantize.export.traits import Traits
from engines.quantize.folder import CONFIG, ModelFolder
from engines.quantize.layers import QuantizedLayer

SHARD_BYTES = 2_000_000_000
_BESIDE = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "*.model", "chat_template*", "generation_config.json",
)  # fmt: skip


class Writer:
    """An export in the making; leaving its `with` block by an exception removes partial files.

    Memory is bounded by the largest single tensor.
    """

    def __init__(
        self,
        folder: Path,
        format: str,
        source: ModelFolder,
        layers: Mapping[str, Traits],
        *,
        method: str = "",
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Begin to write into `folder`, which exists and is empty.

        Args:
            folder: where to.
            format: one of `FORMATS`.
            source: the model that was quantized, for its config, tokenizer and types.
            layers: traits of every layer that `add` will be given, by name.
            method: id of the method, kept in our own layout's config.
            shard_bytes: most bytes of a shard.

        Raises:
            UserError: the format cannot hold one of the layers.
        """
        for name, layer in layers.items():
            reason = refusal(format, name, layer)
            if reason:
                raise UserError(reason)
        self.folder = folder
        self.format = FORMATS[format](layers, method, _dtype(source))
        self._source = source
        self._dtype = self.format.dtype
        self._shards = ShardWriter(folder, shard_bytes)
        self._missing = set(layers)
        self._plain: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._shards.close()

    @property
    def bytes(self) -> int:
        """Size of all tensors written so far."""
        return self._shards.bytes

    def add(self, name: str, layer: QuantizedLayer, bias: Tensor | None = None) -> None:
        """Write a quantized layer and its bias.

        Args:
            name: of its module, "model.layers.3.self_attn.q_proj"; one of `layers`.
            layer: its weight.
            bias: (out,) float.
        """
        self._missing.remove(name)
        for suffix, tensor in self.format.pack(name, layer).items():
            matrix = suffix == "weight" and tensor.dtype == torch.float32
            self._shards.add(f"{name}.{suffix}", tensor.to(self._dtype) if matrix else tensor)
        if bias is not None:
            self._shards.add(f"{name}.bias", self._rounded(bias))

    def add_plain(self, name: str, tensor: Tensor) -> None:
        """Write a parameter that is not quantized.

        A matrix takes the type that the source's have; a vector too, unless rounding would change
        it, as where scales were folded into a norm: then it stays float32.

        Args:
            name: as in the state dict, "model.norm.weight".
            tensor: of any type.
        """
        if tensor.ndim >= 2 and name.endswith(".weight"):
            self._plain.append(name.removesuffix(".weight"))
        self._shards.add(name, self._rounded(tensor))

    def finish(self, card: Card) -> None:
        """Write what belongs beside the weights, and give the files their names.

        Raises:
            ValueError: a layer was announced and never written.
        """
        if self._missing:
            raise ValueError(f"{sorted(self._missing)[0]} was never written.")
        config: dict[str, Any] = {
            key: value
            for key, value in self._source.config.items()
            if key not in ("quantization_config", "_name_or_path")
        }
        config["torch_dtype" if "torch_dtype" in config else "dtype"] = str(
            self._dtype
        ).removeprefix("torch.")
        stored = self.format.config(self._plain)
        if stored is not None:
            config["quantization_config"] = stored
        self._write(CONFIG, json.dumps(config, indent=2) + "\n")
        for path in self._beside():
            shutil.copyfile(path, self.folder / path.name)
        name, form = self.folder.name, self.format
        text = render(card, self._source, form.title, form.loading(name), name)
        self._write("README.md", text)
        self._shards.finish()

    def _beside(self) -> list[Path]:
        source = self._source.path
        found = {path for pattern in _BESIDE for path in source.glob(pattern) if path.is_file()}
        return sorted(found | set(licence_files(source)))

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def _rounded(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        rounded = tensor.to(self._dtype)
        if tensor.ndim < 2 and not torch.equal(rounded.to(tensor.dtype), tensor):
            return tensor.to(torch.float32)
        return rounded


def _dtype(source: ModelFolder) -> torch.dtype:
    """The type that most of the source's weights have."""
    sizes: Counter[torch.dtype] = Counter()
    for place in source.places.values():
        if place.dtype.is_floating_point and len(place.shape) > 1:
            sizes[place.dtype] += place.bytes
    return sizes.most_common(1)[0][0] if sizes else torch.float32
