"""A `UNet2DModel` of diffusers as the ADM U-Net that it is, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engines.base import UserError

_RESIDUAL = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
# The library's first names, and those that it has now.
_ATTENTION = {
    "group_norm": "norm", "query": "q", "to_q": "q", "key": "k", "to_k": "k", "value": "v",
    "to_v": "v", "proj_attn": "proj_out", "to_out.0": "proj_out",
}  # fmt: skip
_PLAIN = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_WITH = {"AttnDownBlock2D": True, "DownBlock2D": False}
_BACK = {"AttnUpBlock2D": True, "UpBlock2D": False}
_EXPECTED = {  # settings whose other values mean another network
    "in_channels": 3, "center_input_sample": False, "time_embedding_type": "positional",
    "mid_block_scale_factor": 1, "downsample_type": "conv", "upsample_type": "conv",
    "act_fn": "silu", "add_attention": True, "class_embed_type": None, "num_class_embeds": None,
}  # fmt: skip
_KINDS = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
_GIVES = {"epsilon": "noise", "sample": "sample", "v_prediction": "v"}


def settings_of(
    config: Mapping[str, Any], scheduler: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """What `PriorSettings` are to be, not yet checked.

    Args:
        config: of the network.
        scheduler: of its scheduler; what it does not say is the library's default.
        name: of the file, for sentences.

    Raises:
        UserError: the network, or the noise that it was trained with, is of another kind.
    """
    for key, value in _EXPECTED.items():
        if config.get(key, value) != value:
            raise UserError(f"{name} is a U-Net of another kind: its {key} is {config[key]}")
    down, up = config.get("down_block_types", ()), config.get("up_block_types", ())
    attention = [_WITH.get(kind) for kind in down]
    if None in attention or attention != [_BACK.get(kind) for kind in reversed(up)]:
        raise UserError(f"{name} has blocks of another kind than plain ones and attention")
    widths = config.get("block_out_channels", (224, 448, 672, 896))
    beta = scheduler.get("beta_schedule", "linear")
    gives = scheduler.get("prediction_type", "epsilon")
    groups = config.get("norm_num_groups", 32)
    middle = config.get("attn_norm_num_groups")
    if middle not in (None, groups):
        raise UserError(f"{name} is a U-Net of another kind: its attn_norm_num_groups is {middle}")
    film = config.get("resnet_time_scale_shift", "default") == "scale_shift"
    other = scheduler.get("trained_betas") or scheduler.get("rescale_betas_zero_snr")
    if beta not in _KINDS or gives not in _GIVES or other:
        raise UserError(f"{name} was trained with a schedule of noise that is not known here")
    return {
        "channels": widths[0],
        "mult": [width / widths[0] for width in widths],
        "blocks": config.get("layers_per_block", 2),
        "attention": attention,
        "out": config.get("out_channels", 3),
        "film": film,
        "middle_norm": middle is not None or not film,  # a peculiarity of the library
        "updown": False,
        "head_channels": config.get("attention_head_dim", 8) or 0,
        "groups": groups,
        "epsilon": config.get("norm_eps", 1e-5),
        "sine_first": not config.get("flip_sin_to_cos", True),
        "wave_shift": config.get("freq_shift", 0),
        "pad_end": config.get("downsample_padding", 1) == 0,
        "size": config.get("sample_size") or 256,
        "predicts": _GIVES[gives],
        "schedule": {
            "kind": _KINDS[beta],
            "start": scheduler.get("beta_start", 1e-4),
            "end": scheduler.get("beta_end", 0.02),
            "steps": scheduler.get("num_train_timesteps", 1000),
        },
    }


def renamed(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors by ADM's names; unknown ones keep theirs, so that they are told of."""
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name = _place(key, settings)
        stem, _, last = name.rpartition(".")
        block, _, part = stem.rpartition(".")
        if part in ("q", "k", "v"):
            parts.setdefault(f"{block}.qkv.{last}", {})[part] = value
        elif part == "proj_out" and last == "weight" and value.dim() == 2:
            found[name] = value[:, :, None]
        else:
            found[name] = value
    head = settings["head_channels"]
    for name, three in parts.items():
        if len(three) != 3:
            continue  # what lacks is told of when the network is filled
        stacked = torch.stack([three[part] for part in "qkv"])
        # Head by head: (3, C, ...) -> (heads, 3, head, ...).
        one = head or stacked.shape[1]
        split = stacked.reshape(3, -1, one, *stacked.shape[2:]).transpose(0, 1)
        joined = split.reshape(-1, *stacked.shape[2:])
        found[name] = joined[:, :, None] if joined.dim() == 2 else joined
    return found


def _place(key: str, settings: Mapping[str, Any]) -> str:
    blocks, levels = settings["blocks"], len(settings["mult"])
    stem, _, last = key.rpartition(".")
    if stem in _PLAIN:
        return f"{_PLAIN[stem]}.{last}"
    words = stem.split(".")
    if words[0] == "mid_block" and len(words) > 3:
        number = {"resnets": 2 * int(words[2]), "attentions": 1}[words[1]]
        return f"middle_block.{number}.{_inner(words[1], words[3:])}.{last}"
    if words[0] not in ("down_blocks", "up_blocks") or len(words) < 5:
        return key
    at, kind, number = int(words[1]), words[2], int(words[3])
    down = words[0] == "down_blocks"
    base, first = ("input_blocks", 1) if down else ("output_blocks", 0)
    block = first + at * (blocks + 1) + number
    if kind == "downsamplers":
        return f"{base}.{first + at * (blocks + 1) + blocks}.0.op.{last}"
    if kind == "upsamplers":
        layer = 2 if settings["attention"][levels - 1 - at] else 1
        return f"{base}.{at * (blocks + 1) + blocks}.{layer}.conv.{last}"
    layer = {"resnets": 0, "attentions": 1}.get(kind)
    return key if layer is None else f"{base}.{block}.{layer}.{_inner(kind, words[4:])}.{last}"


def _inner(kind: str, words: list[str]) -> str:
    name = ".".join(words)
    return (_RESIDUAL if kind == "resnets" else _ATTENTION).get(name, name)
