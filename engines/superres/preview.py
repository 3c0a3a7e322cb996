"""A region of a picture, enlarged at once by any engine of the tab, beside its Lanczos enlargement.

The region is cut out with a margin and goes through the engine's own `run`, so that what is seen is
what the whole picture will have there. The pictures go to a folder of unfinished work, which only
its owner's key leads to.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engines import registry
from engines.base import Engine, Job, MediaKind, Params, Result, UserError, option
from engines.superres.params import SuperresParams

if TYPE_CHECKING:
    from engines.media.picture import Picture
    from engines.media.picture_facts import Pixels

FACTS, BEFORE, AFTER = "region.json", "before.png", "after.png"
_MARGIN = 24  # input pixels around the region: more than most networks look beyond a place
_KEPT_BYTES = 512 << 20  # a larger picture is read anew for each region
_kept: dict[tuple[str, int, int], Picture] = {}


class PreviewParams(Params):
    """Which region, and how it is to be enlarged."""

    key: str = option("", title="Key", description="Names the folder of the answer", max_length=64)
    engine: str = option("", title="Engine", description="Id of what enlarges", max_length=64)
    settings: dict[str, Any] = option({}, title="Settings", description="The engine's parameters")
    left: int | None = option(
        None, title="Left", description="First column; empty takes the place of most detail", ge=0
    )
    top: int | None = option(
        None, title="Top", description="First row; empty takes the place of most detail", ge=0
    )
    size: int = option(
        128, title="Size", description="Side of the region in the input", ge=16, le=256
    )
    seconds: float = option(
        600.0, title="Time", description="After which it is given up", unit="s", gt=0.0
    )


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels."""

    left: int
    top: int
    width: int
    height: int


class PreviewEngine:
    """Takes one picture and writes `FACTS`, `BEFORE` and `AFTER` of a region."""

    id: ClassVar[str] = "superres.preview"
    title: ClassVar[str] = "Region"
    tab: ClassVar[str] = "Super-resolution"
    summary: ClassVar[str] = "Enlarges a small region of a picture"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("image",)
    suffixes: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = PreviewParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        job.progress(0.0, 1.0, "reading")
        picture = _read(inputs[0])
        job.check_cancelled()
        region = place(picture, params)
        around = _widened(region, picture)
        shown, seconds, whole = _enlarge(inputs[0], picture, region, around, params, job)
        folder = job.resumable(params.key)
        icc = picture.facts.icc
        _save(folder / AFTER, shown, icc)
        _save(folder / BEFORE, _lanczos(picture, region, around, shown), icc)
        height, width = shown.shape[:2]
        facts = {
            "left": region.left, "top": region.top,
            "from": [region.width, region.height], "to": [width, height],
            "seconds": round(seconds, 3), "whole": round(whole, 3),
        }  # fmt: skip
        partial = folder / f"{FACTS}.partial"
        partial.write_text(json.dumps(facts), encoding="utf-8")
        os.replace(partial, folder / FACTS)
        return Result(outputs=())

    @staticmethod
    def forget() -> None:
        """Let go of the picture that is kept between two regions."""
        _kept.clear()


class _Bounded:
    """The job of an engine within this one: what it needs, up to a time."""

    def __init__(self, job: Job, seconds: float) -> None:
        self._job = job
        self._seconds = seconds
        self._begun = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)

    def check_cancelled(self) -> None:
        self._job.check_cancelled()
        if time.monotonic() - self._begun > self._seconds:
            raise UserError(
                f"This region takes more than {self._seconds:.0f} seconds; run the picture, or "
                "choose fewer steps"
            )


def _read(path: Path) -> Picture:
    """The picture, kept until another one is asked for."""
    from engines.media.picture import read_picture

    facts = path.stat()
    key = (str(path), facts.st_size, facts.st_mtime_ns)
    if key not in _kept:
        _kept.clear()
        picture = read_picture(path)
        if picture.pixels.nbytes > _KEPT_BYTES:
            return picture
        _kept[key] = picture
    return _kept[key]


def place(picture: Picture, params: PreviewParams) -> Box:
    """The region that is asked for, moved into the picture; without one, the most detailed."""
    height, width = picture.pixels.shape[:2]
    side = (min(params.size, width), min(params.size, height))
    if params.left is None or params.top is None:
        left, top = _most_detailed(picture.pixels, side)
    else:
        left, top = params.left, params.top
    return Box(min(left, width - side[0]), min(top, height - side[1]), *side)


def _most_detailed(pixels: Pixels, side: tuple[int, int]) -> tuple[int, int]:
    """Left and top of the region whose brightness changes most from pixel to pixel.

    Half of a region's side lies between the candidates, and the outermost are left to the others.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    best, found = -1.0, ((width - side[0]) // 2, (height - side[1]) // 2)
    columns = _candidates(width, side[0])
    for top in _candidates(height, side[1]):
        row = pixels[top : top + side[1]].mean(axis=2, dtype=np.float32)
        steps = np.abs(np.diff(row, axis=1)).mean(axis=0)
        for left in columns:
            detail = float(steps[left : left + side[0] - 1].sum())
            if detail > best:
                best, found = detail, (left, top)
    return found


def _candidates(extent: int, side: int) -> list[int]:
    """A dozen at most, for a large picture is looked at in passing."""
    free = extent - side
    count = min(2 * free // max(side, 1), 11)
    return [round(free * (at + 1) / (count + 2)) for at in range(count + 1)]


def _widened(region: Box, picture: Picture) -> Box:
    height, width = picture.pixels.shape[:2]
    left, top = max(region.left - _MARGIN, 0), max(region.top - _MARGIN, 0)
    right = min(region.left + region.width + _MARGIN, width)
    bottom = min(region.top + region.height + _MARGIN, height)
    return Box(left, top, right - left, bottom - top)


def _enlarge(
    path: Path, picture: Picture, region: Box, around: Box, params: PreviewParams, job: Job
) -> tuple[Any, float, float]:
    """The region as (h, w, c) uint8, seconds it took, and seconds that the whole would take."""
    from engines.media.picture import read_picture

    engine: type[Engine] = registry.engine_class(params.engine)
    settings = _settings(engine, params.settings, picture, around)
    begun = time.perf_counter()
    cut = job.workspace / "region.tif"
    _write(cut, picture, around)
    bounded: Any = _Bounded(job, params.seconds)
    checked = engine.Params.model_validate(settings)
    if isinstance(checked, SuperresParams):
        checked = checked.for_file(path)
    # Where it lies in the picture decides the noise that diffusion begins with.
    placed = {"origin": (around.top, around.left)}
    placed = placed if "origin" in signature(engine.run).parameters else {}
    result = engine().run([cut], checked, bounded, **placed)
    made = read_picture(next(one.path for one in result.outputs if one.primary))
    height, width = made.pixels.shape[:2]
    seconds = time.perf_counter() - begun
    rate = result.measurements.get("megapixels_per_second")
    took = seconds
    if rate is not None and rate.value > 0:  # without what reading and loading took
        took = width * height / 1e6 / rate.value
    facts = picture.facts
    whole = took * facts.width * facts.height / (around.width * around.height)
    return _shown(made, _inner(region, around, width, height)), seconds, whole


def _settings(
    engine: type[Engine], given: Mapping[str, Any], picture: Picture, around: Box
) -> dict[str, Any]:
    """Parameters for what is cut out: as large as in the whole picture, and nothing lost in it."""
    ours: dict[str, Any] = {"strength": 1.0, "output": "tiff", "depth": "same", "metadata": False}
    long_side = given.get("long_side")
    if long_side is not None:
        factor = long_side / max(picture.facts.width, picture.facts.height)
        ours["long_side"] = max(round(factor * max(around.width, around.height)), 16)
    fields = engine.Params.model_fields
    return {**given, **{name: value for name, value in ours.items() if name in fields}}


def _write(path: Path, picture: Picture, box: Box) -> None:
    from engines.media.picture_write import write_picture

    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    facts = replace(
        picture.facts, name=path.name, width=box.width, height=box.height, exif=None, xmp=None,
        iptc=None, geo=None, texts=(),
    )  # fmt: skip
    alpha = picture.alpha
    write_picture(
        path, picture.pixels[rows, columns], None if alpha is None else alpha[rows, columns],
        facts, format="tiff", provenance={},
    )  # fmt: skip


def _inner(region: Box, around: Box, width: int, height: int) -> Box:
    """Where the region lies in the enlargement of what is around it."""
    x, y = width / around.width, height / around.height
    left, top = (region.left - around.left) * x, (region.top - around.top) * y
    return Box(
        math.floor(left + 0.5),
        math.floor(top + 0.5),
        min(math.floor(region.width * x + 0.5), width),
        min(math.floor(region.height * y + 0.5), height),
    )


def _shown(picture: Picture, box: Box) -> Any:
    """Part of a picture as (h, w, c) uint8, c being 1 to 4; of many bands the first three."""
    import numpy as np

    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    pixels = picture.pixels[rows, columns, :3]
    if pixels.shape[2] == 2:
        pixels = pixels[:, :, :1]
    layers = [pixels]
    if picture.alpha is not None:
        layers.append(picture.alpha[rows, columns, None])
    whole = np.concatenate(layers, axis=2)
    if whole.dtype == np.uint16:
        whole = (whole.astype(np.uint32) * 255 + 32767) // 65535
    return np.ascontiguousarray(whole.astype(np.uint8))


def _lanczos(picture: Picture, region: Box, around: Box, like: Any) -> Any:
    """The region enlarged by Lanczos to the size of the other, as (h, w, c) uint8."""
    import torch

    from engines.superres.resample import resize

    height, width = like.shape[:2]
    x, y = width / region.width, height / region.height
    whole = torch.from_numpy(_shown(picture, around)).permute(2, 0, 1).float()
    target = round(around.height * y), round(around.width * x)
    large = resize(whole, *target, kind="lanczos").add_(0.5).clamp_(0, 255)
    box = _inner(region, around, target[1], target[0])
    part = large[:, box.top : box.top + height, box.left : box.left + width]
    return part.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _save(path: Path, pixels: Any, icc: bytes | None) -> None:
    from PIL import Image

    grey = pixels.shape[2] == 1
    image = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    partial = path.with_suffix(".partial")
    image.save(partial, format="PNG", compress_level=1, icc_profile=icc)
    os.replace(partial, path)
