"""A diffusion model as a folder: one of diffusers' pipelines, or the network of one alone.

Like `engines.quantize.folder`, this reads safetensors and JSON only, and says in one sentence what
cannot be used before any work begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import UserError
from engines.quantize.folder import CONFIG, PIPELINE, ModelFolder, is_diffusion, read_folder

NETWORKS = ("UNet2DModel", "UNet2DConditionModel")
"""Networks that can be quantized, as `_class_name` of a config.json has them."""

SCHEDULER = "scheduler_config.json"
_DEFAULT = {"num_train_timesteps": 1000, "beta_schedule": "linear", "clip_sample": True}
_SIDE = 8192  # pixels or channels of a picture that are believed
_STEPS = 20_000  # most training steps of a schedule that is believed


@dataclass(frozen=True)
class DiffusionFolder:
    """A folder that was looked over.

    Attributes:
        path: as the person chose it.
        network: where the network lies, read as a model folder: `path` itself or its `unet`.
        scheduler: what the scheduler's config says; that of DDPM where a network comes alone.
        parts: folders of a pipeline by name ("vae", "text_encoder"); none for a network alone.
        pipeline: class of the pipeline, "" for a network alone.
    """

    path: Path
    network: ModelFolder
    scheduler: Mapping[str, Any]
    parts: Mapping[str, Path]
    pipeline: str

    @property
    def name(self) -> str:
        """The folder's name, for file names and sentences."""
        return self.path.name

    @property
    def kind(self) -> str:
        """Class of the network, one of `NETWORKS`."""
        return str(self.network.config["_class_name"])


def open_diffusion(path: Path) -> DiffusionFolder:
    """Look a folder over; reads configs and headers, no weights.

    Raises:
        UserError: it is none that can be quantized here; the sentence says why and what to do.
    """
    if not path.is_dir():
        raise UserError(f"{path.name} is no folder; choose the folder that holds {PIPELINE}")
    if not is_diffusion(path):
        named = (path / CONFIG).is_file()
        raise UserError(
            f"{path.name} is a language model, and this method is for diffusion models; choose "
            "AWQ, GPTQ or another method for language models"
            if named
            else f"There is no {PIPELINE} in {path.name}; choose the folder of a diffusion pipeline"
        )
    index = _json(path / PIPELINE) if (path / PIPELINE).is_file() else {}
    parts = {name: path / name for name in index if (path / name).is_dir()}
    if "unet" not in parts and (path / CONFIG).is_file():  # also DDPM's first pipelines lie so
        return _checked(DiffusionFolder(path, read_folder(path), _scheduler(path), {}, ""))
    if "unet" not in parts:
        raise UserError(
            f"{path.name} ({index.get('_class_name', '?')}) has no U-Net, and transformers that "
            "make pictures cannot be quantized here yet; choose a pipeline with a folder unet"
        )
    scheduler = _scheduler(parts.get("scheduler", path))
    network = read_folder(parts["unet"])
    found = DiffusionFolder(path, network, scheduler, parts, str(index.get("_class_name", "?")))
    return _checked(found)


def diffusion_facts(path: Path) -> tuple[str, ...]:
    """A diffusion model in a few words: network, weights, picture, size, how it is stored.

    Raises:
        UserError: it cannot be used; the sentence says why.
    """
    folder = open_diffusion(path)
    config, stored = folder.network.config, folder.network.quantization
    words = [folder.pipeline.removesuffix("Pipeline") or "Network alone", folder.kind]
    if not stored:
        places = folder.network.places.values()
        words.append(f"{sum(p.bytes // p.dtype.itemsize for p in places) / 1e6:.3g} M weights")
    height, width = picture_size(config)
    words.append(f"{width} x {height} x {config.get('in_channels', '?')}")
    how = f"quantized ({stored.get('method', '?')})" if stored else "diffusion"
    return (*words, f"{folder.network.bytes / 1e6:.3g} MB", how)


def picture_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of what a network makes, in its own pixels; 32 where its config is silent."""
    size = config.get("sample_size") or 32
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


def _checked(folder: DiffusionFolder) -> DiffusionFolder:
    config = folder.network.config
    if config.get("_class_name") not in NETWORKS:
        raise UserError(
            f"The network of {folder.name} is a {config.get('_class_name', '?')}; only "
            f"{' and '.join(NETWORKS)} can be quantized here"
        )
    channels, made = config.get("in_channels", 3), config.get("out_channels", 3)
    size = config.get("sample_size") or 32
    sides = size if isinstance(size, list | tuple) and len(size) == 2 else [size]
    if not all(isinstance(one, int) and 1 <= one <= _SIDE for one in (*sides, channels)):
        raise UserError(f"The config of {folder.name} names no picture size; fetch it again")
    if made not in (channels, 2 * channels):
        raise UserError(
            f"{folder.name} makes {made} channels of {channels}, so it needs more than noise to "
            "begin with; choose a model that makes pictures of noise alone"
        )
    extra = config.get("addition_embed_type") or config.get("encoder_hid_dim_type")
    if extra:
        raise UserError(
            f"{folder.name} is conditioned on {extra} besides its text, as SDXL is, which cannot "
            "be calibrated here yet; choose a model without it"
        )
    return folder


def _scheduler(folder: Path) -> Mapping[str, Any]:
    if not (folder / SCHEDULER).is_file():
        return _DEFAULT
    found = _json(folder / SCHEDULER)
    kind = found.get("prediction_type", "epsilon")
    steps = found.get("num_train_timesteps", 1000)
    if "beta_schedule" not in found or kind not in ("epsilon", "v_prediction", "sample"):
        raise UserError(
            f"The scheduler of {folder.name} is a {found.get('_class_name', '?')}; only those of "
            "DDPM's kind, which have betas, can be walked here"
        )
    if not isinstance(steps, int) or not 1 <= steps <= _STEPS:
        raise UserError(f"{SCHEDULER} of {folder.name} is not what it should be; fetch it again")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path.name} cannot be read; fetch that file again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path.name} is not what it should be; fetch that file again")
    return found
