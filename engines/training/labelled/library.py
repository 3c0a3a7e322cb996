"""The library of labelled sounds, cached as one array of int16 that is read in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.training.labelled.gather import Gatherer
from engines.training.labelled.labels import Split, Table, table
from engines.training.labelled.sources import Sources
from engines.training.sounds import RATE

Wave = NDArray[np.int16]
_MAKING = 5  # changes when what `gather` makes does
_UNLABELLED = "\0unlabelled"


@dataclass(frozen=True)
class Labelled:
    """Sounds of one split.

    Attributes:
        split: which recordings these are.
        clips: by label, in the table's order: int16 waves, mono, 16 kHz, at -26 dBFS.
        unlabelled: other sounds of the same kind of wave.
        pictures: by label, PNG pictures of the thing, where there are some.
        table: wordings, kinds, what is alike.
    """

    split: Split
    clips: Mapping[str, list[Wave]]
    unlabelled: list[Wave]
    pictures: Mapping[str, list[Path]] = field(default_factory=dict)
    table: Table = field(default_factory=table)

    @property
    def labels(self) -> list[str]:
        """Names of the split's labels in the table's order, the same for all seen splits.

        Some have no clips in splits that are not trained on.
        """
        unseen = self.split == "zeroshot"
        return [name for name, one in self.table.labels.items() if one.unseen == unseen]

    @property
    def phrases(self) -> dict[str, list[str]]:
        """Wordings by label, its own first, then those of its kinds."""
        return {
            name: [*one.words, *(word for kind in one.kinds for word in self.table.kinds[kind])]
            for name, one in self.table.labels.items()
            if one.unseen == (self.split == "zeroshot")
        }

    def words(self, label: str) -> tuple[str, ...]:
        """Wordings of the label alone."""
        return self.table.labels[label].words

    def kinds(self, label: str) -> tuple[str, ...]:
        """What the label is a kind of."""
        return self.table.labels[label].kinds

    def wordings(self, label: str, others: list[str]) -> list[str]:
        """Wordings that mean this label and none of the others in the mixture.

        Its own always; those of a kind unless another label is of that kind too.
        """
        taken = {kind for other in others for kind in self.kinds(other)}
        free = [kind for kind in self.kinds(label) if kind not in taken]
        return [*self.words(label), *(word for kind in free for word in self.table.kinds[kind])]

    def related(self, label: str) -> set[str]:
        """Labels that the same query may mean, the label itself among them."""
        return self.table.related(label)

    def seconds(self) -> dict[str, float]:
        """Length of each label's clips together."""
        return {name: sum(map(len, waves)) / RATE for name, waves in self.clips.items()}


def load_labelled(
    cache: Path,
    *,
    split: Split,
    sources: Sources | None = None,
    labels: Table | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Labelled:
    """Sounds of a split; made and cached on the first call, which takes a minute or two.

    Args:
        cache: folder of the training data.
        split: `train` and `valid` are different recordings of the trained labels, `test` recordings
            of packages and a sound font that no training reads, `zeroshot` labels never trained.
        sources: where recordings are looked up, unless in Debian packages.
        labels: another table than the studio's.
        say: gets a line for each label while the library is made.

    Raises:
        UserError: a package cannot be fetched, or there is no sound in what was found.
    """
    labels = labels or table()
    sources = sources or Sources(cache)
    stem = cache / f"labelled-{split}-{_key(labels, split)}"
    if not stem.with_suffix(".json").exists():
        _make(stem, sources, labels, split, say)
    index = json.loads(stem.with_suffix(".json").read_text())
    whole = np.load(stem.with_suffix(".npy"), mmap_mode="r")
    groups = {name: [whole[begin:end] for begin, end in spans] for name, spans in index.items()}
    unlabelled = groups.pop(_UNLABELLED, [])
    clips = {name: groups[name] for name in labels.labels if name in groups}
    return Labelled(split, clips, unlabelled, _pictures(sources, labels, clips), labels)


def _make(
    stem: Path, sources: Sources, labels: Table, split: Split, say: Callable[[str], None]
) -> None:
    gatherer = Gatherer(sources, labels, split)
    stem.parent.mkdir(parents=True, exist_ok=True)
    spans: dict[str, list[tuple[int, int]]] = {}
    waves: list[Wave] = []
    place = 0

    def keep(name: str, clips: list[NDArray[np.float32]]) -> None:
        nonlocal place
        for clip in clips:
            waves.append((clip * 32767.0).astype(np.int16))
            spans.setdefault(name, []).append((place, place + len(clip)))
            place += len(clip)

    for name, label in labels.labels.items():
        clips = gatherer.label(label)
        keep(name, clips)
        say(f"{name}: {len(clips)} clips, {sum(map(len, clips)) / RATE:.0f} s")
    if not waves:
        raise UserError("There is no sound in what was found; the packages may have changed")
    keep(_UNLABELLED, gatherer.unlabelled() if split != "zeroshot" else [])
    partial = stem.with_suffix(".partial.npy")
    np.save(partial, np.concatenate(waves))
    partial.rename(stem.with_suffix(".npy"))
    stem.with_suffix(".json").write_text(json.dumps(spans))


def _pictures(
    sources: Sources, labels: Table, clips: Mapping[str, object]
) -> dict[str, list[Path]]:
    """Pictures that lie beside recordings and are called as they are."""
    found: dict[str, list[Path]] = {}
    for name in clips:
        label = labels.labels[name]
        pictured = [s for s in (*label.train, *label.test) if s.startswith("tux:")]
        paths = [
            picture
            for source in pictured
            for file in sources.matching(source)
            if (picture := file.with_suffix(".png")).is_file()
        ]
        if paths:
            found[name] = paths
    return found


def _key(labels: Table, split: Split) -> str:
    """Changes with where the split's recordings lie, not with the wordings."""
    parts = [
        (o.name, o.midi, o.drums, o.kit, o.hits, o.unseen)
        + ((o.train,) if split in ("train", "valid") else (o.test,))
        for o in labels.labels.values()
    ]
    return hashlib.sha256(repr((_MAKING, parts)).encode()).hexdigest()[:12]
