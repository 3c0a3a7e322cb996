"""How a file is recognised as NegVSR's network, and what the authors' checkpoints are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from engines.superres.negvsr.net import NegVsr
from engines.weights import Checkpoint, NetworkSpec, Shapes, no_golden, no_run

OFFICIAL: dict[str, Any] = {
    "mid": 64, "blocks": 10, "cleaning": 20, "compressed": 64, "hr": 64, "flow": "spynet",
}  # fmt: skip
# The average of the weights is what the authors run; discriminator and VGG lie beside it.
_PREFIXES = ("generator_ema.", "generator.", "")
_HEAD = "image_cleaning.0.main.0.weight"
_BRANCH = "basicvsr.backward_resblocks_layer10.main.2"


def _detect(shapes: Shapes) -> dict[str, Any] | None:
    head, fusion = shapes.get(_HEAD), shapes.get("basicvsr.fusion.weight")
    compressor = shapes.get("basicvsr.carafe1.channel_compressor.weight")
    last = shapes.get("basicvsr.conv_last.weight")
    if head is None or fusion is None or compressor is None or last is None:
        return None
    counts = {"blocks": _BRANCH, "cleaning": "image_cleaning.0.main.2"}
    learned = "basicvsr.spynet.basic_module.0.basic_module.0.conv.weight" in shapes
    return {
        "mid": fusion[0],
        **{name: _blocks(shapes, prefix) for name, prefix in counts.items()},
        "compressed": compressor[0],
        "hr": last[1],
        "flow": "spynet" if learned else "dis",
    }


def _blocks(shapes: Shapes, prefix: str) -> int:
    count = 0
    while f"{prefix}.{count}.conv1.weight" in shapes:
        count += 1
    return count


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    for prefix in _PREFIXES:
        if prefix + _HEAD in checkpoint.tensors:
            tensors = {
                name.removeprefix(prefix): value
                for name, value in checkpoint.tensors.items()
                if name.startswith(prefix)
            }
            config = _detect({name: tuple(value.shape) for name, value in tensors.items()})
            return None if config is None else (tensors, config)
    return None


SPEC = NetworkSpec(
    id="superres.negvsr/net",
    title="NegVSR",
    detect=_detect,
    read=_read,
    build=lambda config: NegVsr(**config),
    golden_config=no_golden,
    golden_run=no_run,
    expected=(
        _HEAD,
        f"{_BRANCH}.0.conv1.weight",
        "basicvsr.carafe1.content_encoder.weight",
        "basicvsr.conv_last.weight",
    ),
    official=lambda config: config == OFFICIAL,
    licence="as its authors say",
    source="the NegVSR authors' repository (NegVSR/NegVSR)",
)
