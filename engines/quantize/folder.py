"""A language model as a folder: config.json, safetensors shards, a tokenizer.

Nothing is read into memory but what is asked for, tensor by tensor. What cannot be used is refused
in one sentence before any work begins: pickled weights, code of the model's own, shards that are
missing or end early.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engines.base import UserError

CONFIG = "config.json"
PIPELINE = "model_index.json"  # of a diffusion pipeline
INDEX = "model.safetensors.index.json"
_WHOLE = ("model.safetensors", "diffusion_pytorch_model.safetensors")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: its shard, dtype and shape."""

    shard: Path
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of its values."""
        count = 1
        for side in self.shape:
            count *= side
        return count * self.dtype.itemsize


@dataclass(frozen=True)
class ModelFolder:
    """A folder that was looked over.

    Attributes:
        path: the folder.
        config: what config.json says.
        places: every tensor by its name in the files.
    """

    path: Path
    config: Mapping[str, Any]
    places: Mapping[str, Place]

    @property
    def name(self) -> str:
        """The folder's name, for file names and sentences."""
        return self.path.name

    @property
    def quantization(self) -> Mapping[str, Any] | None:
        """The `quantization_config` of a folder that holds a quantized model."""
        found = self.config.get("quantization_config")
        return found if isinstance(found, Mapping) else None

    @property
    def bytes(self) -> int:
        """Size of all tensors."""
        return sum(place.bytes for place in self.places.values())

    @property
    def has_tokenizer(self) -> bool:
        """Whether text can be turned into tokens."""
        return any((self.path / name).is_file() for name in _TOKENIZERS)

    @cached_property
    def architecture(self) -> str:
        """Name of the architecture, such as "LlamaForCausalLM"."""
        names = self.config.get("architectures") or [str(self.config.get("model_type", "?"))]
        return str(names[0])

    def tensor(self, name: str) -> Tensor:
        """One tensor as it is stored, on the CPU.

        Raises:
            UserError: there is none of that name, or it cannot be read.
        """
        place = self.places.get(name)
        if place is None:
            raise UserError(f"{self.name} lacks the tensor {name}; fetch the model again")
        try:
            with safe_open(place.shard, framework="pt") as shard:
                return shard.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{place.shard.name} of {self.name} cannot be read; fetch that file again"
            ) from error


def open_folder(path: Path) -> ModelFolder:
    """Look a model folder over; reads config and headers, no weights.

    Raises:
        UserError: it is not one that can be used; the sentence says why and what to do.
    """
    if not path.is_dir():
        raise UserError(f"{path.name} is no folder; choose the folder that holds {CONFIG}")
    if is_diffusion(path):
        raise UserError(
            f"{path.name} is a diffusion model, and this method is for language models; choose "
            "PTQ4DM or EfficientDM"
        )
    return read_folder(path)


def is_diffusion(path: Path) -> bool:
    """Whether a folder holds a diffusion pipeline, or a network of diffusers alone."""
    if (path / PIPELINE).is_file():
        return True
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "_class_name" in config


def read_folder(path: Path) -> ModelFolder:
    """Look the folder of a model of any kind over; reads config and headers, no weights.

    Raises:
        UserError: it is not one that can be used; the sentence says why and what to do.
    """
    config = _json(path, CONFIG)
    if "auto_map" in config:
        raise UserError(
            f"{path.name} brings code of its own, which is never run here; choose a model whose "
            "architecture transformers knows"
        )
    places: dict[str, Place] = {}
    for shard in _shards(path):
        places.update(_header(shard, path.name))
    return ModelFolder(path, config, places)


def _shards(path: Path) -> list[Path]:
    if (path / INDEX).is_file():
        named = _json(path, INDEX).get("weight_map")
        if not isinstance(named, dict):
            raise UserError(f"{INDEX} of {path.name} has no weight_map; fetch that file again")
        shards = [path / os.path.basename(str(name)) for name in dict.fromkeys(named.values())]
        missing = [shard.name for shard in shards if not shard.is_file()]
        if missing:
            raise UserError(f"{missing[0]} of {path.name} is missing; fetch that file")
        return shards
    found = sorted(path.glob("*.safetensors"))
    whole = [one for one in found if one.name in _WHOLE]
    if found:
        return whole or found
    if any(one.suffix in _PICKLES for one in path.iterdir()):
        raise UserError(
            f"The weights of {path.name} are pickled, which could run foreign code; choose a "
            "version of the model with .safetensors files"
        )
    raise UserError(f"There are no .safetensors files in {path.name}; fetch the whole model")


def _header(shard: Path, folder: str) -> dict[str, Place]:
    try:
        with safe_open(shard, framework="pt") as file:
            places: dict[str, Place] = {}
            for name in file.keys():  # noqa: SIM118  (safe_open is no mapping)
                part = file.get_slice(name)
                dtype = _DTYPES.get(part.get_dtype(), torch.float8_e4m3fn)
                places[name] = Place(shard, dtype, tuple(part.get_shape()))
            return places
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{shard.name} of {folder} is damaged or ends early; fetch that file again"
        ) from error


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((path / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"There is no {name} in {path.name}; choose the folder that holds it"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{name} of {path.name} cannot be read; fetch that file again") from error
    if not isinstance(found, dict):
        raise UserError(f"{name} of {path.name} is not what it should be; fetch that file again")
    return found


def model_facts(path: Path) -> tuple[str, ...]:
    """A model folder in a few words: architecture, weights, layers, size, how it is stored.

    Raises:
        UserError: it cannot be used; the sentence says why.
    """
    folder = open_folder(path)
    layers = next(
        (folder.config[k] for k in ("num_hidden_layers", "n_layer") if k in folder.config), None
    )
    stored = folder.quantization
    dtypes = {place.dtype for place in folder.places.values() if len(place.shape) > 1}
    how = (
        f"quantized ({stored.get('quant_method', '?')})"
        if stored
        else ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
    )
    words = [folder.architecture.removesuffix("ForCausalLM")]
    if not stored:
        weights = sum(place.bytes // place.dtype.itemsize for place in folder.places.values())
        words.append(f"{weights / 1e6:.3g} M weights")
    if layers is not None:
        words.append(f"{layers} layers")
    return (*words, f"{folder.bytes / 1e6:.3g} MB", how)
