"""How files are recognised as UPSR's networks, and what the authors' checkpoints are."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor, nn

from engines.base import UserError
from engines.superres.upsr.atd import Atd
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

OFFICIAL_REGRESSOR: dict[str, Any] = {
    "scale": 4,
    "channels": 96,
    "depths": [6, 6, 6, 6],
    "heads": [4, 4, 4, 4],
    "window": 16,
    "category": 128,
    "tokens": 64,
    "reduced": 8,
    "kernel": 7,
    "ratio": 1,
}
_TABLE = "attn_win.relative_position_bias_table"
# Our names for the authors' settings.
_NAMES = {
    "scale": "upscale",
    "channels": "embed_dim",
    "depths": "depths",
    "heads": "num_heads",
    "window": "window_size",
    "category": "category_size",
    "tokens": "num_tokens",
    "reduced": "reducted_dim",
    "kernel": "convffn_kernel_size",
    "ratio": "mlp_ratio",
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


def _detect_regressor(shapes: Shapes) -> dict[str, Any] | None:
    """The size of groups of like pixels is in no tensor: it is taken to be the published one."""
    places = shapes.get("relative_position_index_SA")
    first, head = shapes.get("conv_first.weight"), shapes.get("upsample.0.weight")
    if places is None or first is None or head is None or first[1] != 3 or head[0] % 3:
        return None
    layer = "layers.{}.residual_group.layers.{}."
    depths: list[int] = []
    heads: list[int] = []
    while (table := layer.format(len(depths), 0) + _TABLE) in shapes:
        heads.append(shapes[table][1])
        depth = 0
        while layer.format(len(heads) - 1, depth) + _TABLE in shapes:
            depth += 1
        depths.append(depth)
    start = layer.format(0, 0)
    if not depths or start + "attn_atd.wq.weight" not in shapes:
        return None
    return {
        "scale": isqrt(head[0] // 3),
        "channels": first[0],
        "depths": depths,
        "heads": heads,
        "window": isqrt(places[0]),
        "category": OFFICIAL_REGRESSOR["category"],
        "tokens": shapes["layers.0.residual_group.td"][0],
        "reduced": shapes[start + "attn_atd.wq.weight"][0],
        "kernel": shapes[start + "convffn.dwconv.depthwise_conv.0.weight"][-1],
        "ratio": shapes[start + "convffn.fc1.weight"][0] // first[0],
    }


def _golden_regressor(config: Mapping[str, Any]) -> dict[str, Any]:
    if config["upsampler"] != "pixelshuffledirect" or config["resi_connection"] != "1conv":
        raise UserError("Only the ATD of UPSR is built here: one convolution and one shuffle")
    return {ours: config[theirs] for ours, theirs in _NAMES.items()}


REGRESSOR = NetworkSpec(
    id="superres.upsr/g",
    title="UPSR's regressor (ATD)",
    detect=_detect_regressor,
    build=lambda config: Atd(**config),
    golden_config=_golden_regressor,
    golden_run=lambda network, inputs: {"out": network(inputs["x"])},
    expected=(
        "relative_position_index_SA",
        "conv_first.weight",
        "layers.0.residual_group.td",
        "upsample.0.weight",
    ),
    official=lambda config: config == OFFICIAL_REGRESSOR,
    licence="as its authors say",
    source="the UPSR authors' repository (LabShuHangGU/UPSR)",
)
