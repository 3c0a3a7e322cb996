"""Mixtures of sounds that no training heard, and queries about them.

The sounds are of packages and of a sound font that no recipe reads. "seen" labels were trained on
other recordings; an "unseen" label was never trained, its partner in the mixture was.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.labelled import Labelled, Mixer, load_labelled
from engines.training.labelled.mixer import rms

SAMPLES = 65_536  # 4.1 s, as the paper's clips
Wave = NDArray[np.float32]
TWO, THREE, NOISY, UNSEEN = "seen, 2", "seen, 3", "seen, 2 and noise", "unseen"
_COUNTS = {TWO: 150, THREE: 60, NOISY: 60, UNSEEN: 100}


@dataclass(frozen=True)
class Mixture:
    """Sounds that are heard together.

    Attributes:
        group: which set it belongs to.
        sources: (k, SAMPLES) float32 at 16 kHz, the labelled ones first.
        labels: names of the labelled ones.
        asked: which of them are judged.
        absent: a label that is not in it, nor anything like it.
        kinds: of each labelled one, what it is a kind of.
    """

    group: str
    sources: Wave
    labels: tuple[str, ...]
    asked: tuple[int, ...]
    absent: str
    kinds: tuple[tuple[str, ...], ...]

    @property
    def mixed(self) -> Wave:
        """(SAMPLES,) what is heard."""
        return self.sources.sum(axis=0)


def mixtures(cache: Path, every: int = 1) -> list[Mixture]:
    """All sets, always the same mixtures.

    Args:
        cache: folder of the training data; sounds are fetched into it on the first call.
        every: take every so-many-th alone.

    Raises:
        UserError: a package cannot be fetched.
    """
    test = load_labelled(cache, split="test")
    unseen = load_labelled(cache, split="zeroshot")
    mixers = {
        TWO: Mixer(test, SAMPLES, three=0.0, noise=0.0, vary=False),
        THREE: Mixer(test, SAMPLES, three=1.0, noise=0.0, vary=False),
        NOISY: Mixer(test, SAMPLES, three=0.0, noise=1.0, vary=False),
    }
    made: list[Mixture] = []
    for number, (group, mixer) in enumerate(mixers.items()):
        for place in range(0, _COUNTS[group], every):
            made.append(_seen(group, mixer, test, np.random.default_rng((number, place))))
    strange = Mixer(unseen, SAMPLES, three=0.0, noise=0.0, vary=False)
    for place in range(0, _COUNTS[UNSEEN], every):
        made.append(_unseen(mixers[TWO], strange, test, unseen, np.random.default_rng((9, place))))
    return made


def _seen(group: str, mixer: Mixer, library: Labelled, random: np.random.Generator) -> Mixture:
    example = mixer.example(random)
    labels = tuple(mixer.labels[n] for n in example.labels if n >= 0)
    count = int((example.labels != -1).sum())
    return Mixture(
        group,
        example.sources[:count],
        labels,
        tuple(range(len(labels))),
        _absent(library, labels, random),
        tuple(library.kinds(one) for one in labels),
    )


def _unseen(
    seen: Mixer, strange: Mixer, library: Labelled, unseen: Labelled, random: np.random.Generator
) -> Mixture:
    """A sound of a label that was never trained, with one that was, at -5..5 dB."""
    wanted = strange.labels[strange.draw(random, 1)[0]]
    near = library.related(wanted)
    other = wanted
    while other == wanted or other in near:
        other = seen.labels[seen.draw(random, 1)[0]]
    first, second = strange.sound(wanted, random), seen.sound(other, random)
    ratio = 10.0 ** (random.uniform(-5.0, 5.0) / 20.0)
    second = second * np.float32(rms(first) / rms(second) / ratio)
    sources = np.stack([first, second])
    sources = (sources * (0.5 / max(float(np.abs(sources.sum(0)).max()), 1e-6))).astype(np.float32)
    labels = (wanted, other)
    return Mixture(
        UNSEEN,
        sources,
        labels,
        (0,),
        _absent(library, labels, random),
        (unseen.kinds(wanted), library.kinds(other)),
    )


def _absent(library: Labelled, labels: tuple[str, ...], random: np.random.Generator) -> str:
    taken = set().union(*(library.related(label) for label in labels))
    return str(random.choice([label for label in library.labels if label not in taken]))
