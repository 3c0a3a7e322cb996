"""A whole picture made small, brightened at once with the settings that are being chosen.

The small version is kept between two questions, so that a slider's next place takes a fraction of
a second whatever the file's size; the look is decided on the same 512 pixels as for the whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

from engines import registry
from engines.base import Job, MediaKind, Params, Result, UserError, option
from engines.raw.noiser.engine import NoiserEngine
from engines.superres.preview import AFTER, BEFORE, FACTS


class LivePreviewParams(Params):
    """What is to be shown."""

    key: str = option("", title="Key", description="Names the folder of the answer", max_length=64)
    engine: str = option(
        NoiserEngine.id, title="Engine", description="Id of what brightens", max_length=64
    )
    settings: dict[str, Any] = option({}, title="Settings", description="The engine's parameters")
    seconds: float = option(
        600.0, title="Time", description="Not needed: this is quick", unit="s", gt=0.0
    )


class LivePreviewEngine:
    """Takes one file and writes `FACTS`, `BEFORE` and `AFTER`."""

    id: ClassVar[str] = "raw.preview"
    title: ClassVar[str] = "Preview"
    tab: ClassVar[str] = NoiserEngine.tab
    summary: ClassVar[str] = "Brightens a small version of a picture"
    accepts: ClassVar[tuple[MediaKind, ...]] = NoiserEngine.accepts
    suffixes: ClassVar[tuple[str, ...]] = NoiserEngine.suffixes
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = LivePreviewParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        import torch

        from engines.raw.noiser.arch import NoiserNet
        from engines.raw.noiser.look import SMALL, Look
        from engines.raw.noiser.proxy import proxy
        from engines.raw.noiser.rows import shrunk

        if params.engine != NoiserEngine.id:
            raise UserError("Only brightening is shown while it is set up")
        chosen: Any = registry.engine_class(params.engine).Params.model_validate(params.settings)
        job.progress(0.0, 1.0, "reading")
        small = proxy(inputs[0])
        job.check_cancelled()
        network = job.load(chosen.weights).network
        if not isinstance(network, NoiserNet):
            raise UserError(f"The weights {chosen.weights} are of another network; choose others")
        light, seen = (one.to(job.device) for one in (small.linear, small.seen))
        with torch.inference_mode():
            look = Look.of(*shrunk(light, seen, SMALL), small.transfer, network, chosen)
            bright = look.apply(light, 0, light.shape[1])
        folder = job.resumable(params.key)
        if BEFORE not in small.drawn:
            small.drawn[BEFORE] = _png(small.transfer.encode(light), small.icc)
        _write(folder / BEFORE, small.drawn[BEFORE])
        _write(folder / AFTER, _png(small.transfer.encode(bright), small.icc))
        found = {
            "gain": look.stops, "before": look.mean_before, "after": look.mean_after,
            "width": light.shape[2], "height": light.shape[1],
        }  # fmt: skip
        write_facts(folder, found)
        return Result(outputs=())

    @staticmethod
    def forget() -> None:
        """Let go of the pictures that are kept between two questions."""
        from engines.raw.noiser.proxy import forget

        forget()


def write_facts(folder: Path, found: dict[str, Any]) -> None:
    """Write `FACTS` whole or not at all."""
    _write(folder / FACTS, json.dumps(found).encode("utf-8"))


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def _png(coded: Any, icc: bytes | None) -> bytes:
    """(3, h, w) encoded, as a PNG that is quickly made."""
    from PIL import Image

    levels = coded.clamp(0.0, 1.0).mul(255.0).round().byte().permute(1, 2, 0)
    held = BytesIO()
    image = Image.fromarray(levels.cpu().contiguous().numpy())
    image.save(held, format="PNG", compress_level=1, icc_profile=icc)
    return held.getvalue()
