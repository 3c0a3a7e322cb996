"""How a file is recognised as EANet, and what the authors' checkpoint is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from engines.base import UserError
from engines.superres.ediffsr.eanet import EaNet
from engines.weights import Checkpoint, NetworkSpec, Shapes

OFFICIAL: dict[str, Any] = {
    "width": 64,
    "enc_blk_nums": [14, 1, 1, 1],
    "middle_blk_num": 1,
    "dec_blk_nums": [1, 1, 1, 1],
    "anchored": False,
}
_AVERAGE = "ema_model."  # as the library ema-pytorch names it


def _blocks(shapes: Shapes, level: str) -> int:
    count = 0
    while f"{level}.{count}.norm1.g" in shapes:
        count += 1
    return count


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    intro = shapes.get("intro.weight")
    if intro is None or len(intro) != 4 or intro[1] != 6 or "enhance.rcab.0.weight" not in shapes:
        return None
    levels = 0
    while f"downs.{levels}.weight" in shapes:
        levels += 1
    return {
        "width": intro[0],
        "enc_blk_nums": [_blocks(shapes, f"encoders.{level}") for level in range(levels)],
        "middle_blk_num": _blocks(shapes, "middle_blks"),
        "dec_blk_nums": [_blocks(shapes, f"decoders.{level}") for level in range(levels)],
        "anchored": "anchor" in shapes,
    }


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """An averaged network inside its wrapper goes before the bare one beside it."""
    averaged = {
        key.removeprefix(_AVERAGE).removeprefix("module."): value
        for key, value in checkpoint.tensors.items()
        if key.startswith(_AVERAGE)
    }
    tensors = averaged or checkpoint.tensors
    settings = _detect({key: tuple(value.shape) for key, value in tensors.items()})
    return None if settings is None else (tensors, settings)


def _golden_config(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("img_channel", 3) != 3:
        raise UserError("Only the EANet for pictures of three channels is built here")
    names = ("width", "enc_blk_nums", "middle_blk_num", "dec_blk_nums")
    return {name: config[name] for name in names}


def _golden_run(network: nn.Module, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {"out": network(inputs["xt"], inputs["cond"], inputs["t"])}


SPEC = NetworkSpec(
    id="superres.ediffsr/net",
    title="EDiffSR",
    detect=_detect,
    read=_read,
    build=lambda config: EaNet(**config),
    golden_config=_golden_config,
    golden_run=_golden_run,
    expected=("intro.weight", "enhance.rcab.0.weight", "time_mlp.1.weight", "middle_blks.0.beta"),
    official=lambda config: config == OFFICIAL,
    licence="as its authors say",
    source="the EDiffSR authors' repository (XY-boy/EDiffSR)",
)
