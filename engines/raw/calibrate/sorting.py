"""Which frames belong together: one camera, groups of one ISO, pairs of one exposure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engines.raw.calibrate.frames import Frame, LeftOut

_ALIKE = 0.03  # two flats of a pair may differ by so much in brightness


@dataclass(frozen=True)
class Sorted:
    """What can be measured.

    Attributes:
        darks: ISO -> frames of one exposure time.
        flats: ISO -> pairs of one exposure.
        left_out: what cannot be used.
        notes: sentences for the person.
    """

    darks: dict[float, list[Frame]]
    flats: dict[float, list[tuple[Frame, Frame]]]
    left_out: list[LeftOut]
    notes: list[str]

    @property
    def first(self) -> Frame | None:
        """Any frame that is used."""
        frames = [frames[0] for frames in self.darks.values()]
        return next(iter(frames + [pairs[0][0] for pairs in self.flats.values()]), None)


def sort(frames: Sequence[Frame]) -> Sorted:
    """Keep the camera that most frames are of, and put its frames into groups."""
    left_out: list[LeftOut] = []
    notes: list[str] = []
    kept = _one_camera(frames, left_out)
    darks: dict[float, list[Frame]] = {}
    for iso, group in _by_iso(kept, "dark").items():
        used = _one_exposure(group, left_out)
        darks[iso] = _without_strays(used, left_out)
    flats: dict[float, list[tuple[Frame, Frame]]] = {}
    for iso, group in _by_iso(kept, "flat").items():
        sound = _without_steps(group, darks.get(iso, []), left_out)
        pairs = _pairs(sound, left_out)
        if pairs:
            flats[iso] = pairs
    gained = sorted(iso for iso, group in darks.items() if min(f.step for f in group) > 1)
    if gained:
        named = ", ".join(f"{iso:.0f}" for iso in gained)
        notes.append(f"ISO {named} is made by digital gain: its levels have gaps")
    return Sorted(dict(sorted(darks.items())), dict(sorted(flats.items())), left_out, notes)


def _one_camera(frames: Sequence[Frame], left_out: list[LeftOut]) -> list[Frame]:
    if not frames:
        return []
    [(camera, _)] = Counter(frame.camera for frame in frames).most_common(1)
    kept = [frame for frame in frames if frame.camera == camera]
    named = kept[0].model
    for frame in frames:
        if frame.camera != camera:
            other = "in another mode" if frame.model == named else f"of a {frame.model}"
            left_out.append(
                LeftOut(frame.source.name, f"it is {other}; most frames are of a {named}")
            )
    return kept


def _by_iso(frames: Sequence[Frame], kind: str) -> dict[float, list[Frame]]:
    found: defaultdict[float, list[Frame]] = defaultdict(list)
    for frame in frames:
        if frame.kind == kind:
            found[frame.iso].append(frame)
    return dict(found)


def _one_exposure(group: list[Frame], left_out: list[LeftOut]) -> list[Frame]:
    """The shortest exposure of which there are two frames, or else the one with most."""
    times = Counter(frame.exposure or 0.0 for frame in group)
    several = [time for time, count in times.items() if count > 1]
    chosen = min(several) if several else min(times)
    for frame in group:
        if (frame.exposure or 0.0) != chosen:
            why = "its exposure is longer than that of the other dark frames of this ISO"
            left_out.append(LeftOut(frame.source.name, why))
    return [frame for frame in group if (frame.exposure or 0.0) == chosen]


def _without_strays(group: list[Frame], left_out: list[LeftOut]) -> list[Frame]:
    """Frames as dark and as noisy as most of their group."""
    if len(group) < 3:
        return group
    level = float(np.median([frame.level * frame.span for frame in group]))
    noise = float(np.median([frame.noise for frame in group]))
    kept: list[Frame] = []
    for frame in group:
        if abs(frame.level * frame.span - level) > 0.5 * noise + 1.0:
            why = "it is brighter or darker than the other dark frames; was the lens cap off?"
            left_out.append(LeftOut(frame.source.name, why))
        elif not 0.75 < (frame.noise + 0.3) / (noise + 0.3) < 1.33:
            why = "it is more or less noisy than the other dark frames of its ISO"
            left_out.append(LeftOut(frame.source.name, why))
        else:
            kept.append(frame)
    return kept


def _without_steps(
    group: list[Frame], darks: Sequence[Frame], left_out: list[LeftOut]
) -> list[Frame]:
    """Frames without larger steps than the dark has: a curve that loses levels ruins variances."""
    least = min([frame.step for frame in (*darks, *group)], default=1)
    kept: list[Frame] = []
    for frame in group:
        if frame.step > least:
            why = (
                f"its levels lie {frame.step} apart at this brightness, so it was compressed with "
                "loss; set the camera to lossless"
            )
            left_out.append(LeftOut(frame.source.name, why))
        else:
            kept.append(frame)
    return kept


def _pairs(group: list[Frame], left_out: list[LeftOut]) -> list[tuple[Frame, Frame]]:
    """Two and two of one exposure that are about equally bright."""
    order = sorted(group, key=lambda frame: (*frame.exposed, frame.level))
    pairs: list[tuple[Frame, Frame]] = []
    used: set[int] = set()
    for (i, one), (j, other) in pairwise(enumerate(order)):
        alike = abs(one.level / other.level - 1.0) < _ALIKE and one.exposed == other.exposed
        if i not in used and alike:
            pairs.append((one, other))
            used |= {i, j}
    for number, frame in enumerate(order):
        if number not in used:
            why = "there is no second flat frame of this exposure and ISO to compare it with"
            left_out.append(LeftOut(frame.source.name, why))
    return pairs
