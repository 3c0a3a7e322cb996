"""One camera from its calibration frames: look at all, measure each ISO, fit the laws, report.

Inputs are RAW files, zips of them and profiles (JSON) that were measured before: a profile fills in
what the frames say nothing of, so darks of today and flats of last week make one camera.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import Figure, Job, Measurement, Output, Result, UserError
from engines.raw.calibrate.darks import DarkNoise, measure_darks
from engines.raw.calibrate.figures import draw_gain, draw_laws, draw_quantiles
from engines.raw.calibrate.flats import Gain, measure_gain
from engines.raw.calibrate.frames import Frame, LeftOut, sources, survey
from engines.raw.calibrate.params import CalibrateParams
from engines.raw.calibrate.sorting import Sorted, sort
from engines.raw.noise.profile import CameraProfile, IsoNoise, laws, read_profile
from engines.weights import sha256_of

_NAMED = 5  # frames that are named in one sentence


@dataclass
class _Measured:
    darks: dict[float, DarkNoise] = field(default_factory=dict[float, DarkNoise])
    gains: dict[float, Gain] = field(default_factory=dict[float, Gain])


def process(inputs: Sequence[Path], params: CalibrateParams, job: Job) -> Result:
    """Measure a camera.

    Raises:
        UserError: no frame can be used; the sentence says what is wrong with them.
        Cancelled: passed through.
    """
    bad: list[LeftOut] = []
    known = _profiles([path for path in inputs if path.suffix.lower() == ".json"], inputs, bad)
    given = list(sources([path for path in inputs if path.suffix.lower() != ".json"]))
    frames: list[Frame] = []
    for number, source in enumerate(given):
        job.check_cancelled()
        job.progress(30 * number / len(given), 100, f"looking at {source.name}")
        found = survey(source, job)
        frames.append(found) if isinstance(found, Frame) else bad.append(found)
    groups = sort(frames)
    left_out = [*bad, *groups.left_out]
    if groups.first is None and not known:
        raise UserError(_nothing(left_out))
    measured = _measure(groups, job, left_out)
    notes = [*groups.notes]
    profile = _profile(groups, measured, known, notes)
    if groups.first is None and not measured.darks and given:
        notes.append("No frame could be used; the profile is the one that was given")
    notes += _sentences(left_out)
    job.progress(95, 100, "drawing the report")
    return _result(profile, groups, measured, left_out, notes, params, inputs, job)


def _profiles(
    files: Sequence[Path], inputs: Sequence[Path], bad: list[LeftOut]
) -> list[CameraProfile]:
    """Profiles that were given; among other files any other JSON is left out."""
    found: list[CameraProfile] = []
    for path in files:
        try:
            found.append(read_profile(path))
        except UserError as error:
            if len(inputs) == 1:
                raise
            bad.append(LeftOut(path.name, str(error)))
    return found


def _nothing(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return "There is no frame here; add dark frames, flat frames, or both"
    first = left_out[0]
    also = f" ({len(left_out)} were looked at)" if len(left_out) > 1 else ""
    return f"None of these frames can be used{also}: {first.name}: {first.reason}"


def _measure(groups: Sorted, job: Job, left_out: list[LeftOut]) -> _Measured:
    total = sum(2 * len(group) for group in groups.darks.values())
    total += sum(len(pairs) for pairs in groups.flats.values())
    done = 0

    def step(text: str) -> None:
        nonlocal done
        job.check_cancelled()
        job.progress(30 + 65 * done / max(total, 1), 100, text)
        done += 1

    found = _Measured()
    for iso, group in groups.darks.items():
        found.darks[iso] = measure_darks(group, job, step)
    for iso, pairs in groups.flats.items():
        dark = found.darks.get(iso)
        floor = None if dark is None else dark.sigma**2 + 1.0 / 12.0
        gain = measure_gain(pairs, floor, job, step)
        if gain is not None:
            found.gains[iso] = gain
            continue
        why = "the flat frames of this ISO are all equally bright; add darker and brighter pairs"
        left_out += [LeftOut(frame.source.name, why) for pair in pairs for frame in pair]
    return found


def _profile(
    groups: Sorted, measured: _Measured, known: Sequence[CameraProfile], notes: list[str]
) -> CameraProfile:
    first = groups.first
    entries: dict[float, dict[str, Any]] = {}
    for profile in reversed(known):  # the first that is given counts most
        for one in profile.iso:
            entries.setdefault(one.iso, {"iso": one.iso}).update(
                {k: v for k, v in one.model_dump().items() if v is not None}
            )
    for iso, dark in measured.darks.items():
        entries.setdefault(iso, {"iso": iso}).update(
            sigma=dark.sigma, sigma_tl=dark.law.scale, lam=dark.law.lam, sigma_row=dark.sigma_row,
            bias=dark.bias,
        )  # fmt: skip
    for iso, gain in measured.gains.items():
        entries.setdefault(iso, {"iso": iso}).update(K=gain.K)
    if not entries:
        raise UserError("The flat frames are all equally bright; add darker and brighter pairs")
    _fill_gain(entries, notes)
    iso = tuple(IsoNoise.model_validate(entries[key]) for key in sorted(entries))
    hot = _hot(measured) or (known[0].hot if known else ())
    like = known[0] if known else None
    return CameraProfile(
        model=(first.model if first else like.model if like else "camera")[:120] or "camera",
        bits=first.bits if first else like.bits if like else 14,
        bl=float(np.mean(first.black)) if first else like.bl if like else 0.0,
        wl=first.white if first else like.wl if like else 1.0,
        iso=iso,
        lines=laws(iso) or (like.lines if like else {}),
        hot=hot,
    )


def _fill_gain(entries: dict[float, dict[str, Any]], notes: list[str]) -> None:
    """Where only dark frames were taken, K follows from other settings: it goes with the ISO."""
    known = [math.log(e["K"] / iso) for iso, e in entries.items() if e.get("K")]
    missing = [iso for iso, entry in entries.items() if not entry.get("K")]
    if known and missing:
        rate = math.exp(float(np.median(known)))
        for iso in missing:
            entries[iso]["K"] = rate * iso
        named = ", ".join(f"{iso:.0f}" for iso in sorted(missing))
        notes.append(f"K at ISO {named} was not measured; it follows from the other settings")
    elif missing:
        notes.append("Dark frames alone say nothing of K; add pairs of flat frames for it")


def _hot(measured: _Measured) -> tuple[tuple[int, int], ...]:
    """Those of the setting that shows most."""
    most = max((d.hot for d in measured.darks.values()), key=len, default=np.empty((0, 2)))
    return tuple((int(row), int(column)) for row, column in most)


def _sentences(left_out: Sequence[LeftOut]) -> list[str]:
    """One sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for one in left_out:
        reasons.setdefault(one.reason.replace(one.name, "it"), []).append(one.name)
    found: list[str] = []
    for reason, names in reasons.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        found.append(f"Left out: {', '.join(names[:_NAMED])}{more}: {reason}")
    return found


def _result(
    profile: CameraProfile,
    groups: Sorted,
    measured: _Measured,
    left_out: Sequence[LeftOut],
    notes: list[str],
    params: CalibrateParams,
    inputs: Sequence[Path],
    job: Job,
) -> Result:
    stem = re.sub(r"[^a-z0-9]+", "-", (params.name or profile.model).lower()).strip("-") or "camera"
    out = job.workspace / f"{stem}.json"
    out.write_text(profile.to_json(), encoding="utf-8")
    report = job.workspace / f"{stem}-report.json"
    report.write_text(
        json.dumps(_report(groups, measured, left_out, inputs), indent=2) + "\n", encoding="utf-8"
    )
    figures: list[Figure] = []
    if measured.gains:
        figures.append(draw_gain(job.workspace / "photon-transfer.png", measured.gains))
    shaped = {iso: dark for iso, dark in measured.darks.items() if dark.law.lam is not None}
    if shaped:
        figures.append(draw_quantiles(job.workspace / "quantiles.png", shaped))
    if profile.lines:
        figures.append(draw_laws(job.workspace / "laws.png", profile))
    job.progress(100, 100, "done")
    return Result(
        outputs=[
            Output(out, "profile", "Camera profile", primary=True),
            Output(report, "document", "What was measured, frame by frame"),
        ],
        measurements=_measurements(profile, groups, measured, left_out),
        figures=figures,
        notes=notes,
    )


def _measurements(
    profile: CameraProfile, groups: Sorted, measured: _Measured, left_out: Sequence[LeftOut]
) -> dict[str, Measurement]:
    found = {
        "dark_frames": Measurement(sum(len(group) for group in groups.darks.values())),
        "flat_frames": Measurement(sum(2 * len(pairs) for pairs in groups.flats.values())),
        "left_out": Measurement(len(left_out)),
        "iso_settings": Measurement(len(profile.iso)),
    }
    if measured.darks:
        found["hot_pixels"] = Measurement(len(profile.hot))
    for one in profile.iso:
        at = f"iso_{one.iso:.0f}"
        gain, dark = measured.gains.get(one.iso), measured.darks.get(one.iso)
        if one.K is not None:
            found[f"K_{at}"] = Measurement(one.K, "DN/e-")
        if gain is not None:
            found[f"K_error_{at}"] = Measurement(100.0 * gain.error, "%")
        if one.sigma is not None:
            found[f"sigma_{at}"] = Measurement(one.sigma, "DN")
        if one.lam is not None:
            found[f"lam_{at}"] = Measurement(one.lam)
        if one.sigma_row is not None:
            found[f"sigma_row_{at}"] = Measurement(one.sigma_row, "DN")
        if dark is not None and dark.pattern is not None:
            found[f"fixed_pattern_{at}"] = Measurement(dark.pattern, "DN")
    return found


def _report(
    groups: Sorted, measured: _Measured, left_out: Sequence[LeftOut], inputs: Sequence[Path]
) -> dict[str, Any]:
    iso = sorted({*measured.darks, *measured.gains})
    return {
        "app": "Noise Studio",
        "engine": "raw.calibrate",
        "inputs": {path.name: sha256_of(path) for path in inputs},
        "settings": [
            {
                "iso": one,
                "darks": [f.source.name for f in groups.darks.get(one, [])],
                "flats": [f.source.name for pair in groups.flats.get(one, []) for f in pair],
                **_dark_report(measured.darks.get(one)),
                **_gain_report(measured.gains.get(one)),
            }
            for one in iso
        ],
        "left_out": {one.name: one.reason for one in left_out},
    }


def _dark_report(dark: DarkNoise | None) -> dict[str, Any]:
    if dark is None:
        return {}
    return {
        "sigma": dark.sigma,
        "sigma_row": dark.sigma_row,
        "fixed_pattern": dark.pattern,
        "hot_pixels": len(dark.hot),
        "lam": dark.law.lam,
        "sigma_tl": dark.law.scale,
        "r2_tukey": dark.law.r2,
        "r2_gauss": dark.law.r2_gauss,
    }


def _gain_report(gain: Gain | None) -> dict[str, Any]:
    if gain is None:
        return {}
    return {"K": gain.K, "K_error": gain.error, "floor": gain.floor, "r2_gain": gain.r2}
