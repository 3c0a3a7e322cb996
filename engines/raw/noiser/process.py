"""One picture, RAW or not, from reading to writing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines.base import Comparison, Figure, Job, Measurement, Output, Result, UserError
from engines.media.picture import read_picture
from engines.media.picture_facts import Picture, PictureFacts, Pixels
from engines.media.picture_write import SUFFIX, WriteFormat, check_size, format_for, write_picture
from engines.media.raw_file import RAW_SUFFIXES
from engines.raw.noiser.arch import NoiserNet
from engines.raw.noiser.develop import developed
from engines.raw.noiser.figure import BINS, draw_histogram
from engines.raw.noiser.look import SMALL, Look
from engines.raw.noiser.params import NoiserParams
from engines.raw.noiser.rows import PictureRows, Rows, made_small, strips
from engines.raw.noiser.transfer import encode_srgb, transfer_of
from engines.raw.noiser.views import Side, shown, thumbnail
from engines.weights import LoadedModel, sha256_of

_LONGEST = 200  # bytes of a name; a file system takes 255 with what is put behind
_DEEP = ("png", "tiff")
_COARSE = 3.0  # EV from which on the 256 levels of an 8-bit picture are seen
_HARDLY = 0.25  # EV


@dataclass
class _Opened:
    """A picture that is to be brightened."""

    rows: Rows
    facts: PictureFacts
    before: Pixels
    alpha: Pixels | None = None
    measurements: dict[str, Measurement] = field(default_factory=dict[str, Measurement])
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    models: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class _Counts:
    """What is counted while rows go by."""

    before: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    after: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    clipped_before: int = 0
    clipped_after: int = 0


def is_raw(path: Path) -> bool:
    """Whether a file is a camera's RAW by its name."""
    return path.suffix.lower() in RAW_SUFFIXES


def brighten(path: Path, params: NoiserParams, job: Job, engine: str, version: str) -> Result:
    """Brighten one picture into the job's workspace.

    Raises:
        UserError: the file or the weights cannot be used.
        Cancelled: passed through.
    """
    begun = perf_counter()
    model: LoadedModel = job.load(params.weights)
    network = model.network
    if not isinstance(network, NoiserNet):
        raise UserError(f"The weights {params.weights} are of another network; choose others")
    opened = _open(path, params, job)
    form, bits, notes = _kind(opened.facts, params, raw=is_raw(path))
    height, width = opened.rows.size
    check_size(form, height, width, opened.facts.channels, path.name)
    job.progress(70, 100, "looking at the light")
    brightening = perf_counter()
    small, seen = made_small(opened.rows, SMALL, job.check_cancelled)
    look = Look.of(
        small.to(job.device), torch.from_numpy(seen).to(job.device), opened.rows.transfer,
        network, params,
    )  # fmt: skip
    levels, counts = _brightened(opened, look, bits, job)
    brightening = perf_counter() - brightening
    pixels = height * width
    measurements = {
        "gain": Measurement(look.stops, "EV"),
        "mean_before": Measurement(100.0 * look.mean_before, "%"),
        "mean_after": Measurement(100.0 * look.mean_after, "%"),
        "clipped_before": Measurement(100.0 * counts.clipped_before / pixels, "%"),
        "clipped_after": Measurement(100.0 * counts.clipped_after / pixels, "%"),
        **opened.measurements,
        "megapixels": Measurement(pixels / 1e6, "MP"),
        "megapixels_per_second": Measurement(pixels / 1e6 / brightening, "MP/s"),
    }
    models = {model.file.id: model.file.sha256, **opened.models}
    stem = _short(path.stem)
    views = job.workspace / stem
    job.progress(90, 100, "drawing the comparison")
    facts = opened.facts
    icc = facts.icc
    before = shown(Side(opened.before, opened.alpha, icc), views.with_name(f"{stem}.before.jpg"))
    done = Side(levels, opened.alpha, icc)
    after = shown(done, views.with_name(f"{stem}.after.jpg"))
    small_view = thumbnail(done, views.with_name(f"{stem}.thumbnail.jpg"))
    histogram = draw_histogram(job.workspace / "histogram.png", counts.before, counts.after)
    job.check_cancelled()
    job.progress(94, 100, "writing")
    output = job.workspace / f"{stem}-bright{SUFFIX[form]}"
    written = write_picture(
        output, levels, _alpha(opened.alpha, bits), facts, format=form,
        provenance=_provenance(path, params, models, measurements, engine, version),
        quality=params.quality, metadata=params.metadata, check=job.check_cancelled,
    )  # fmt: skip
    del levels, done
    (job.workspace / ".result.partial").unlink(missing_ok=True)
    measurements["seconds"] = Measurement(perf_counter() - begun, "s")
    job.progress(100, 100, "done")
    return Result(
        outputs=(Output(output, "image", "Brightened picture", primary=True),),
        measurements=measurements,
        figures=(histogram, *opened.figures),
        comparisons=(Comparison(before, after, "image", "Before and after"),),
        thumbnail=small_view,
        notes=tuple(dict.fromkeys((*opened.notes, *notes, *_remarks(look, facts), *written))),
        models=models,
    )


def _open(path: Path, params: NoiserParams, job: Job) -> _Opened:
    if is_raw(path):
        found = developed(path, params.raw_denoiser, job)
        return _Opened(
            found.rows, found.facts, found.rows.shot, None, found.measurements, found.figures,
            found.notes, found.models,
        )  # fmt: skip
    job.progress(0, 100, "reading")
    picture = readable(path)
    notes = picture.notes
    if params.denoise == "on":
        notes += ("YOND denoises RAW files alone, so this picture was brightened as it is",)
    rows = PictureRows(picture, transfer_of(picture.facts.icc))
    return _Opened(rows, picture.facts, picture.pixels, picture.alpha, notes=notes)


def readable(path: Path) -> Picture:
    """A grey or RGB picture.

    Raises:
        UserError: it is none.
    """
    picture = read_picture(path)
    channels = picture.facts.channels
    if channels not in (1, 3) or (channels == 3 and not picture.facts.rgb):
        raise UserError(
            f"{path.name} has {channels} bands; only grey and RGB pictures can be brightened"
        )
    return picture


def _kind(
    facts: PictureFacts, params: NoiserParams, *, raw: bool
) -> tuple[WriteFormat, int, list[str]]:
    """Format, bits of a sample, and notes about them."""
    form = format_for(facts, params.output)
    bits = facts.bits if params.depth == "same" else int(params.depth)
    if bits == 16 and form not in _DEEP:
        if params.depth == "16":
            raise UserError(f"{form.upper()} holds 8 bits a sample; choose PNG or TIFF for 16")
        # Nobody who asks for a JPEG of a RAW has to be told.
        return form, 8, [] if raw else ["The result has 8 bits; PNG and TIFF would keep all 16"]
    return form, bits, []


def _brightened(opened: _Opened, look: Look, bits: int, job: Job) -> tuple[Pixels, _Counts]:
    """(H, W, C) levels mapped from a file, and what was counted."""
    height, width = opened.rows.size
    channels = opened.facts.channels
    most = 2**bits - 1
    shape = (height, width, channels)
    path = job.workspace / ".result.partial"
    levels = np.memmap(path, np.uint16 if bits == 16 else np.uint8, "w+", shape=shape)
    counts = _Counts()
    transfer, reach = opened.rows.transfer, look.reach
    for top, bottom in strips(height, width):
        job.check_cancelled()
        job.progress(72 + 18 * top / height, 100, f"brightening, {100 * top // height} %")
        start, stop = max(top - reach, 0), min(bottom + reach, height)
        rows = opened.rows.linear(start, stop).to(job.device)
        out = look.apply(rows, start, height)
        inner = slice(top - start, bottom - start)
        rows, out = rows[:, inner], out[:, inner]
        light = transfer.luminance(out)
        counts.before += _histogram(transfer.luminance(rows))
        counts.after += _histogram(light)
        counts.clipped_before += int((rows.amax(0) >= 1.0).sum())
        if channels == 1:
            out = light[None]
        coded = torch.round(transfer.encode(out) * most).clamp_(0, most)
        counts.clipped_after += int((coded.amax(0) >= most).sum())
        levels[top:bottom] = coded.permute(1, 2, 0).cpu().numpy()
    levels.flush()
    return np.memmap(path, levels.dtype, "r", shape=shape), counts


def _histogram(light: torch.Tensor) -> NDArray[np.int64]:
    bins = (encode_srgb(light) * BINS).long().clamp_(0, BINS - 1)
    return torch.bincount(bins.flatten(), minlength=BINS).cpu().numpy()


def _alpha(alpha: Pixels | None, bits: int) -> Pixels | None:
    """Transparency in the depth of the result."""
    if alpha is None or alpha.dtype.itemsize * 8 == bits:
        return alpha
    if bits == 16:
        return alpha.astype(np.uint16) * np.uint16(257)
    return ((alpha.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _remarks(look: Look, facts: PictureFacts) -> list[str]:
    if abs(look.stops) < _HARDLY:
        return ["This picture is bright enough already, so little was changed"]
    if look.stops > _COARSE and facts.bits == 8:
        return [
            f"{look.stops:.1f} EV are much for 8 bits a colour and may show steps; the RAW file, "
            "or 16 bits, would not"
        ]
    return []


def _provenance(
    path: Path,
    params: NoiserParams,
    models: dict[str, str],
    measurements: dict[str, Measurement],
    engine: str,
    version: str,
) -> dict[str, Any]:
    return {
        "app": "Noise Studio",
        "engine": engine,
        "engine_version": version,
        "weights": models,
        "params": params.model_dump(mode="json"),
        "measurements": {
            name: {"value": round(m.value, 6), "unit": m.unit}
            for name, m in measurements.items()
            if name != "megapixels_per_second"  # no two runs give the same
        },
        "input_sha256": sha256_of(path),
    }


def _short(name: str) -> str:
    return name.encode("utf-8", "surrogateescape")[:_LONGEST].decode("utf-8", "ignore")
