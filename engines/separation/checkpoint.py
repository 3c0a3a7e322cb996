"""How a file is recognised as a network of the CLIPSep family, or as the one that ships."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from engines.separation.clipsep import EMBEDDING, CLIPSep, Logits
from engines.separation.small import SmallSep
from engines.weights import NetworkSpec, Shapes, no_golden, no_run

_FULL = {"layers": 7, "ngf": 64, "embedding": EMBEDDING}
_KINDS = {"clipsep": "", "nit": "noise-invariant", "label": "labels only", "pit": "no query"}
_BLOCK = "sound_net.unet_block.model."


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    first, last = shapes.get(_BLOCK + "0.weight"), shapes.get(_BLOCK + "4.weight")
    if first is None or last is None or len(first) != 4 or first[1] != 1:
        return None
    layers, block = 2, _BLOCK + "1.model."
    while f"{block}3.model.1.weight" in shapes:
        layers, block = layers + 1, block + "3.model."
    found = {"layers": layers, "channels": last[0], "ngf": first[0]}
    if "frame_net.weight" not in shapes:
        return found | {"kind": "pit", "embedding": EMBEDDING, "labels": 0}
    labels = shapes.get("label_net.weight", (0, 0))
    noisy = "pit_nets.0.weight" in shapes
    kind = "label" if labels[0] else "nit" if noisy else "clipsep"
    embedding = shapes["frame_net.weight"][-1]
    return found | {"kind": kind, "embedding": embedding, "labels": labels[0]}


def _golden(config: Mapping[str, Any]) -> dict[str, Any]:
    sizes = {name: config[name] for name in ("layers", "channels", "ngf") if name in config}
    return {"kind": config.get("kind", "clipsep")} | sizes


def _run(network: nn.Module, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    query = inputs.get("query", torch.zeros(len(inputs["mag"]), EMBEDDING))
    logits: Logits = network(inputs["mag"][:, 0], query[:, None])
    shown = logits.query if logits.query.shape[1] else logits.noise
    assert shown is not None
    return {"out": shown.sigmoid()}


CLIPSEP = NetworkSpec(
    id="separation.clipsep/net",
    title="CLIPSep",
    detect=_detect,
    build=lambda config: CLIPSep(**config),
    golden_config=_golden,
    golden_run=_run,
    expected=(
        "sound_net.bn0.weight",
        _BLOCK + "0.weight",
        "frame_net.weight",
        "synth_net.scale",
    ),
    official=lambda config: all(config[name] == value for name, value in _FULL.items()),
    licence="MIT (code); the weights as their authors say",
    source="the CLIPSep authors' repository (sony/CLIPSep)",
    variant=lambda config: _KINDS[config["kind"]],
)


def _detect_small(shapes: Shapes) -> dict[str, Any] | None:
    """A file of another tool has the sizes; the words are in the metadata of ours alone."""
    stem, weigh = shapes.get("stem.weight"), shapes.get("weigh.weight")
    asked, known = shapes.get("query.0.weight"), shapes.get("known")
    if (
        stem is None
        or weigh is None
        or asked is None
        or known is None
        or "ask.0.steer.weight" not in shapes
    ):
        return None
    widths, blocks = [stem[0]], []
    while (deeper := shapes.get(f"down.{len(widths) - 1}.weight")) is not None:
        widths.append(deeper[0])
    for level in range(len(widths)):
        count = 0
        while f"encode.{level}.{count}.first.weight" in shapes:
            count += 1
        blocks.append(count)
    kinds = {"noise.0.weight": "nit", "labels.weight": "label", "unnamed": "pit"}
    kind = next((kind for name, kind in kinds.items() if name in shapes), "clipsep")
    return {
        "widths": widths,
        "blocks": blocks,
        "channels": weigh[0] - 1,
        "kind": kind,
        "embedding": asked[1],
        "words": [f"word {number + 1}" for number in range(known[0])],
    }


SMALL = NetworkSpec(
    id="separation.clipsep/small",
    title="small CLIPSep",
    detect=_detect_small,
    build=lambda config: SmallSep(**config),
    golden_config=no_golden,
    golden_run=no_run,
    expected=("stem.weight", "weigh.weight", "query.0.weight", "known"),
    official=lambda _config: False,
    licence="Apache-2.0",
    source="the recipe clipsep-small of this project",
    variant=lambda config: _KINDS[config["kind"]],
)
