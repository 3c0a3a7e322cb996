"""The RAW tab: knows cameras' files, and says in words how sure the measured noise is.

Photographs of other kinds can be brightened here too, and that is seen while it is set up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from engines.base import Engine
from studio.inbox import Inbox
from studio.jobs.views import JobView
from studio.markup import figures
from studio.panels.preview import PreviewPanel
from studio.panels.result import Reading, Row, Verdict, plain_reading
from studio.picture_facts import picture_facts
from studio.reader import FileReader, Look
from studio.scene import Panel, Scene
from studio.tabs.camera import calibration, settings_table, simulation
from studio.tabs.generic import MethodTab

_HEADLINE = {"K": "Gain K", "sigma": "Read noise sigma"}
_SURE, _FAIR = 0.75, 0.4


class RawTab(MethodTab):
    """Camera RAW in, measured noise and clean RAW out."""

    noun = "RAW file"
    familiar = (".nef", ".cr3", ".arw", ".raf", ".dng", ".jpg", ".tif", ".png")
    first = ("denoise", "brightness")
    live = True
    empty = (
        "The result appears here",
        "Add a RAW file and press Run. The noise is measured from the file itself; "
        "nothing has to be set. NoiSER brightens dark files, photos of other kinds too.",
    )

    def __init__(self, title: str, engines: Sequence[type[Engine]]) -> None:
        """See `MethodTab`."""
        super().__init__(title, engines)
        # A folder's JSON files are mostly what our own results came with.
        self.suffixes = tuple(one for one in self.suffixes if one != ".json")
        self._reader = FileReader(raw_facts)

    def look(self, path: Path) -> Look:
        """Camera, ISO, exposure and size of a RAW file, or what it is instead."""
        return self._reader.look(path)

    def build_beside(self, inbox: Inbox) -> Sequence[Panel]:
        """Chosen files brightened while that is set up."""
        return [PreviewPanel(self.id, inbox, self.look, "live.html")]

    def more(self, job: JobView, scene: Scene) -> Markup:
        """A calibrated camera's noise at each ISO."""
        return settings_table(job.measurements)

    def read(self, measurements: Mapping[str, tuple[float, str]]) -> Reading:
        """Noise in large numbers, its confidence in a sentence, the rest in a table."""
        if "gain" in measurements:
            return brightening(measurements)
        if "dark_frames" in measurements:
            return calibration(measurements)
        if "seed" in measurements and "K" in measurements:
            return simulation(measurements)
        if "K" not in measurements:
            return plain_reading(measurements)
        headline = [
            Row(title, *measurements[name])
            for name, title in _HEADLINE.items()
            if name in measurements
        ]
        confidence = measurements.get("confidence")
        rest = {
            name: value
            for name, value in measurements.items()
            if name not in (*_HEADLINE, "confidence")
        }
        return Reading(
            "Measured noise",
            headline,
            noise_verdict(confidence[0]) if confidence else None,
            plain_reading(rest).rest,
        )


def brightening(measurements: Mapping[str, tuple[float, str]]) -> Reading:
    """Gain and brightness in large numbers."""
    headline = [
        Row("Brighter by", *measurements["gain"]),
        Row("Mean brightness", *measurements["mean_after"], before=measurements["mean_before"][0]),
    ]
    shown = ("gain", "mean_before", "mean_after")
    rest = {name: value for name, value in measurements.items() if name not in shown}
    return Reading("Brightened", headline, None, plain_reading(rest).rest)


def noise_verdict(confidence: float) -> Verdict:
    """How far a noise measurement of this confidence (0 to 1) can be trusted, in a sentence."""
    share = f"{100 * confidence:.0f} %"
    if confidence >= _SURE:
        return Verdict(f"Confidence {share}: the picture has enough even areas to be sure.", "sure")
    if confidence >= _FAIR:
        return Verdict(f"Confidence {share}: fairly sure; compare fine texture at 100 %.", "sure")
    return Verdict(
        f"Confidence {share}: there was little to measure on, so the result may be too soft or too "
        "noisy; set the strength, or K and sigma by hand.",
        "doubt",
    )


def raw_facts(path: Path) -> Look:
    """Camera, ISO, exposure and size in words; of a picture that is no RAW what it is.

    Raises:
        UserError: it cannot be read; the sentence says what it is.
    """
    from engines.media.picture import PICTURE_SUFFIXES

    if path.suffix.lower() in PICTURE_SUFFIXES:
        return picture_facts(path)
    if path.suffix.lower() == ".zip":
        return Look(_zip_facts(path))
    if path.suffix.lower() == ".json":
        from engines.raw.noise.profile import read_profile

        profile = read_profile(path)
        return Look(("Camera profile", profile.model, f"{len(profile.iso)} ISO settings"))
    from engines.media.raw_facts import KIND_NAMES
    from engines.media.raw_file import read_facts

    found = read_facts(path)
    words = [
        found.camera or "Unknown camera",
        f"ISO {found.iso:.0f}" if found.iso else "",
        exposure_in_words(found.exposure_s),
        f"{found.width} x {found.height}",
        KIND_NAMES[found.kind] if found.kind != "bayer" else "",
        f"{found.frames} pictures" if found.frames > 1 else "",
    ]
    return Look(
        tuple(word for word in words if word), more={"width": found.width, "height": found.height}
    )


def _zip_facts(path: Path) -> tuple[str, ...]:
    from engines.raw.calibrate.frames import sources

    return "Zip, for calibrating a camera", f"{len(list(sources([path])))} RAW files"


def exposure_in_words(seconds: float | None) -> str:
    """A shutter time as cameras show it: 1/52 s, 2.5 s; "" if it is not known."""
    if not seconds or seconds <= 0:
        return ""
    return f"1/{1 / seconds:.0f} s" if seconds < 0.4 else f"{figures(round(seconds, 1))} s"
