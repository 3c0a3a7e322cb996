"""How files are recognised as UPSR's networks, and what the authors' checkpoints are."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor, nn

from engines.base import UserError
from engines.superres.upsr.unet import SCALE, UpsrUnet
from engines.weights import NetworkSpec, Shapes

OFFICIAL_UNET: dict[str, Any] = {
    "image_size": 64,
    "model_channels": 160,
    "channel_mult": [1, 2, 2, 4],
    "num_res_blocks": 2,
    "swin_depth": 2,
    "swin_embed_dim": 192,
    "num_head_channels": 32,
    "window_size": 8,
    "mlp_ratio": 4,
    "num_feat": 128,
    "anchored": False,
}


def _detect_unet(shapes: Shapes) -> dict[str, Any] | None:
    """Widths from the residual blocks in their order; a level ends at a strided convolution."""
    first = shapes.get("input_blocks.0.0.weight")
    table = shapes.get("input_blocks.1.1.blocks.0.attn.relative_position_bias_table")
    if first is None or table is None or first[1] != 9 * SCALE**2:
        return None
    if "conv_before_upsample.0.weight" not in shapes:
        return None
    levels: list[list[int]] = [[]]
    number = 1
    while f"input_blocks.{number}.0.op.weight" in shapes or _width(shapes, number):
        if f"input_blocks.{number}.0.op.weight" in shapes:
            levels.append([])
        else:
            levels[-1].append(_width(shapes, number))
        number += 1
    if not all(levels):
        return None
    depth = 0
    while f"input_blocks.1.1.blocks.{depth}.norm1.weight" in shapes:
        depth += 1
    embed = shapes["input_blocks.1.1.patch_embed.proj.weight"][0]
    window = (isqrt(table[0]) + 1) // 2
    # The shifted block's mask has a row for each window of the training size; without one the
    # first level was a single window.
    mask = shapes.get("input_blocks.1.1.blocks.1.attn_mask", (1,))
    return {
        "image_size": isqrt(mask[0]) * window,
        "model_channels": first[0],
        "channel_mult": [level[0] // first[0] for level in levels],
        "num_res_blocks": len(levels[0]),
        "swin_depth": depth,
        "swin_embed_dim": embed,
        "num_head_channels": embed // table[1],
        "window_size": window,
        "mlp_ratio": shapes["input_blocks.1.1.blocks.0.mlp.fc1.weight"][0] // embed,
        "num_feat": shapes["conv_before_upsample.0.weight"][0],
        "anchored": "anchor" in shapes,
    }


def _width(shapes: Shapes, number: int) -> int:
    """Channels that residual block `number` gives, 0 where there is none."""
    return shapes.get(f"input_blocks.{number}.0.out_layers.3.weight", (0,))[0]


def _golden_unet(config: Mapping[str, Any]) -> dict[str, Any]:
    blocks = config["num_res_blocks"]
    if len(set(blocks)) != 1 or config["in_channels"] != 3 * SCALE**2:
        raise UserError("Only UPSR's U-Net for four times the size is built here")
    same = set(OFFICIAL_UNET) - {"anchored", "num_res_blocks"}
    return {name: config[name] for name in same} | {"num_res_blocks": blocks[0]}


def _run_unet(network: nn.Module, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {"out": network(inputs["x"], inputs["t"], inputs["lq"])}


UNET = NetworkSpec(
    id="superres.upsr/unet",
    title="UPSR",
    detect=_detect_unet,
    build=lambda config: UpsrUnet(**config),
    golden_config=_golden_unet,
    golden_run=_run_unet,
    expected=(
        "input_blocks.0.0.weight",
        "input_blocks.1.1.patch_embed.proj.weight",
        "middle_block.1.patch_embed.proj.weight",
        "conv_before_upsample.0.weight",
    ),
    official=lambda config: config == OFFICIAL_UNET,
    licence="as its authors say",
    source="the UPSR authors' repository (LabShuHangGU/UPSR)",
)
