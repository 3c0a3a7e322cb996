"""How a file is recognised as a prior, and what the authors' checkpoints are.

Shapes tell most settings of an ADM U-Net; the rest (size, attention's heads, schedule) is stated in
files of our own and in diffusers' configs, and is the authors' where nothing states it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from engines.base import UserError
from engines.superres.reddiff.diffusers_names import renamed, settings_of
from engines.superres.reddiff.settings import PriorSettings
from engines.superres.reddiff.unet import AdmUnet
from engines.weights import Checkpoint, NetworkSpec, Shapes, no_golden, no_run

ID = "superres.reddiff/prior"
IMAGENET = PriorSettings(
    channels=256, mult=(1, 1, 2, 2, 4, 4), blocks=2, out=6,
    attention=(False, False, False, True, True, True),
)  # fmt: skip
FFHQ = PriorSettings(
    channels=128, mult=(1, 1, 2, 2, 4, 4), blocks=1, out=6,
    attention=(False, False, False, False, True, False),
)  # fmt: skip
_SIZES = {4: 64, 5: 128, 6: 256, 7: 512}  # by levels, as guided-diffusion chooses them
_FIRST, _DIFFUSERS = "input_blocks.0.0.weight", "down_blocks.0.resnets.0.conv1.weight"


def _count(shapes: Shapes, name: str) -> int:
    count = 0
    while any(key.startswith(f"{name}.{count}.") for key in shapes):
        count += 1
    return count


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    """Settings that shapes tell, and the authors' for the others; None for another network."""
    first, time, last = (shapes.get(key) for key in (_FIRST, "time_embed.0.weight", "out.2.weight"))
    if first is None or time is None or last is None or len(first) != 4 or first[1] != 3:
        return None
    if "middle_block.1.qkv.weight" not in shapes or len(time) != 2:
        return None
    channels, blocks_up = time[1], _count(shapes, "output_blocks")
    doubling = [
        number
        for number in range(blocks_up)
        for layer in (1, 2)
        if f"output_blocks.{number}.{layer}.conv.weight" in shapes
        or f"output_blocks.{number}.{layer}.in_layers.2.weight" in shapes
    ]
    levels = len(doubling) + 1
    if blocks_up % levels or blocks_up < 2 * levels:
        return None
    blocks = blocks_up // levels - 1
    starts = [1 + level * (blocks + 1) for level in range(levels)]
    widths = [shapes.get(f"input_blocks.{n}.0.out_layers.3.weight", (0,))[0] for n in starts]
    told = shapes.get("input_blocks.1.0.emb_layers.1.weight", (0,))[0]
    attention = [f"input_blocks.{n}.1.qkv.weight" in shapes for n in starts]
    looking = [w for w, has in zip(widths, attention, strict=True) if has] + widths[-1:]
    return {
        "channels": channels,
        "mult": [width / channels for width in widths],
        "blocks": blocks,
        "attention": attention,
        "out": last[0],
        "film": told == 2 * widths[0],
        "updown": f"input_blocks.{1 + blocks}.0.op.weight" not in shapes,
        "head_channels": 64 if all(width % 64 == 0 for width in looking) else 0,
        "size": _SIZES.get(levels, 64),
    }


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    tensors = checkpoint.tensors
    if _DIFFUSERS in tensors:
        if "unet" not in checkpoint.beside:
            raise UserError(
                f"{checkpoint.name} comes from diffusers; add its folder, so that its configs are "
                "there as well"
            )
        beside = checkpoint.beside
        found: Mapping[str, Any] = settings_of(beside["unet"], beside["scheduler"], checkpoint.name)
        settings = _checked(found, checkpoint.name)
        return renamed(tensors, settings), settings
    detected = _detect(checkpoint.shapes)
    if detected is None:
        return None
    if "label_emb.weight" in tensors:
        raise UserError(
            f"{checkpoint.name} wants to be told a class; add an unconditional network, such as "
            "256x256_diffusion_uncond.pt"
        )
    if checkpoint.beside.get("network") == ID:
        return tensors, _checked(json.loads(checkpoint.beside["config"]), checkpoint.name)
    return tensors, _checked(detected, checkpoint.name)


def _checked(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        return PriorSettings.model_validate(settings).model_dump(mode="json")
    except (ValidationError, TypeError) as error:
        raise UserError(f"{name} is a U-Net of a size that cannot be used here") from error


def _build(config: Mapping[str, Any]) -> nn.Module:
    return AdmUnet(PriorSettings.model_validate(config))


def _official(config: Mapping[str, Any]) -> bool:
    return PriorSettings.model_validate(config) in (IMAGENET, FFHQ)


def _variant(config: Mapping[str, Any]) -> str:
    size = PriorSettings.model_validate(config).size
    return f"{size} pixels"


SPEC = NetworkSpec(
    id=ID,
    title="RED-Diff prior",
    detect=_detect,
    read=_read,
    build=_build,
    golden_config=no_golden,
    golden_run=no_run,
    expected=(_FIRST, "time_embed.0.weight", "middle_block.1.qkv.weight", "out.2.weight"),
    official=_official,
    licence="MIT (guided-diffusion); others as their authors say",
    source="OpenAI's guided-diffusion (256x256_diffusion_uncond.pt), or ffhq_10m.pt of DPS",
    variant=_variant,
)
