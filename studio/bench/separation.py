"""`bench separation`: sounds asked for by name, out of mixtures that no training heard.

370 mixtures of 4.1 s (`studio.bench.stems.sets`): two and three sounds of trained labels, two and
a sound that has no label, and a sound of a label that was never trained beside one that was; all
recordings are ones that no recipe reads (a few are of packages that give other files to training),
instruments are of another sound font, at -5..5 dB. SDR, SIR and SAR
are BSS Eval's with one window, references the wanted sound and all the rest. "oracle" tells a
system which of its parts is which. Presence is the share of a mixture's energy that the mask of a
query keeps. Time and memory are those of the engine on a stereo file of 48 kHz, alone in a process.

STUDIO_BENCH_EVERY takes every so-many-th mixture alone, for a quick look; STUDIO_BENCH_RUNS names
the folder of training runs where weights that do not ship are looked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
import soundfile

from engines import registry
from engines.base import UserError
from engines.separation.activity import FOUND
from engines.separation.metrics import BssEval, si_sdr
from engines.weights import BUNDLED
from studio.bench.job import BenchJob
from studio.bench.speech_long import write_stereo
from studio.bench.stems import classic, sets, trained
from studio.bench.stems.classic import Separate
from studio.bench.stems.sets import NOISY, TWO, Mixture
from studio.bench.stems.table import Score, Scores, rows, struck
from studio.bench.stems.trained import Network
from studio.commands import output
from studio.config import Settings
from studio.jobs.peak import forget_peak, peak_mb

TITLE = "Sounds asked for by name"
MIXTURE, NIT, HPSS = "mixture", "CLIPSep-NIT", "harmonic-percussive (oracle)"
_MINUTES = (1.0, 10.0)


def run() -> list[dict[str, Any]]:
    """Rows of medians a set and system, then presence, then what it costs.

    Raises:
        UserError: a package cannot be fetched, or there are no weights here at all.
    """
    every = max(int(os.environ.get("STUDIO_BENCH_EVERY", "1")), 1)
    training = Settings.load().cache / "training"
    runs = Path(os.environ.get("STUDIO_BENCH_RUNS", training))
    mixtures = sets.mixtures(training / "cache", every)
    shipped = Network("clipsep-small", BUNDLED, runs / "clipsep-small")
    table = rows(mixtures, judged(mixtures, systems(shipped, runs)), NIT)
    table += list(presences(shipped, mixtures))
    return [*table, *costs(mixtures, [minutes / every for minutes in _MINUTES])]


def systems(shipped: Network, runs: Path) -> dict[str, Separate]:
    """Every system by name; says what is left out, and why.

    Args:
        shipped: the network that comes with the studio.
        runs: folder of training runs; each network is named with its steps, for those that were
            trained equally long compare with each other alone.
    """
    found: dict[str, Separate] = {
        MIXTURE: classic.mixture,
        NIT: trained.by_name(shipped),
        f"{NIT}, other words": trained.by_other_words(shipped),
        f"{NIT}, all named": trained.all_named(shipped),
        f"{NIT}, plain mask": trained.plainly(shipped),
    }
    others: dict[str, tuple[str, Callable[[Network], Separate]]] = {
        NIT: ("clipsep-small", trained.by_name),
        "CLIPSep": ("clipsep-small-plain", trained.by_name),
        "LabelSep": ("labelsep-small", trained.by_name),
        "PIT (oracle)": ("pitsep-small", trained.unnamed),
    }
    for name, (recipe, ask) in others.items():
        try:
            network = Network(recipe, runs / recipe)
        except UserError as error:
            output.say(f"{name} is left out: {error}")
            continue
        if name != NIT or network.steps != shipped.steps:
            found[f"{name}, {network.steps} steps"] = ask(network)
    return {
        **found,
        "NMF, a part a sound (oracle)": classic.factorised(each=True),
        "NMF, 16 parts (oracle)": classic.factorised(each=False),
        HPSS: classic.harmonic_percussive,
        "ideal binary mask": classic.ideal,
    }


def judged(mixtures: Sequence[Mixture], found: dict[str, Separate]) -> dict[str, Scores]:
    """Scores of every estimate; the mixture's own come first.

    A label that a network does not know leaves its mixture as it is. The harmonic-percussive split
    is judged where drums meet a held sound alone.
    """
    scores: dict[str, dict[tuple[int, int], Score]] = {name: {} for name in found}
    missing: set[str] = set()
    for number, one in enumerate(mixtures):
        judges = {
            place: BssEval(np.stack([one.sources[place], one.mixed - one.sources[place]]))
            for place in one.asked
        }
        before = {place: si_sdr(one.sources[place], one.mixed) for place in one.asked}
        for name, separate in found.items():
            if name in missing or (name == HPSS and not (one.group == TWO and struck(one))):
                continue
            try:
                made = separate(one)
            except UserError:
                made = classic.mixture(one)
            except ImportError as error:
                package = (error.name or "").replace("sklearn", "scikit-learn")
                output.say(f"{name} is left out: it needs {package}")
                missing.add(name)
                continue
            for place, estimate in zip(one.asked, made, strict=True):
                ratios = judges[place].ratios(estimate)
                gain = si_sdr(one.sources[place], estimate) - before[place]
                scores[name][number, place] = Score(*ratios, gain)
    return {name: known for name, known in scores.items() if known}


def presences(network: Network, mixtures: Sequence[Mixture]) -> Iterator[dict[str, Any]]:
    """How present queries are that name what is in a mixture, and that name what is not.

    By the share of the energy that their masks keep; `told_apart` is how often what is there has
    the larger share.
    """
    for group in (TWO, NOISY):
        chosen = [one for one in mixtures if one.group == group]
        there = [
            trained.presence(network, one.mixed, label) for one in chosen for label in one.labels
        ]
        absent = [trained.presence(network, one.mixed, one.absent) for one in chosen]
        yes, no = np.array(there), np.array(absent)
        if len(yes) and len(no):
            yield {
                "set": group,
                "system": f"{NIT}, presence",
                "sounds": len(yes) + len(no),
                "there_median": round(float(np.median(yes)), 3),
                "absent_median": round(float(np.median(no)), 3),
                "found_of_there": round(float((yes >= FOUND).mean()), 3),
                "found_of_absent": round(float((no >= FOUND).mean()), 3),
                "told_apart": round(float((yes[:, None] > no[None]).mean()), 3),
            }


def costs(mixtures: Sequence[Mixture], minutes: Sequence[float]) -> Iterator[dict[str, Any]]:
    """One row a length: two queries on a stereo file of 48 kHz, each in a process of its own."""
    sound = np.concatenate([one.mixed for one in mixtures[:40]])
    with TemporaryDirectory() as folder:
        for length in minutes:
            source = Path(folder) / f"{length:g}.wav"
            write_stereo(source, sound, round(length * 60.0 * 48_000))
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                seconds, used, peak = pool.submit(_cost, source).result()
            yield {
                "set": f"48 kHz stereo, {length:g} min",
                "system": f"{NIT}, 2 queries",
                "rtf": round(seconds / (60.0 * length), 4),
                "cpu_rtf": round(used / (60.0 * length), 4),
                "peak_mb": None if peak is None else round(peak),
            }
            source.unlink()


def _cost(source: Path) -> tuple[float, float, float | None]:
    """Seconds, processor seconds and peak of memory in MB of a file, after a warm-up."""
    short = source.with_name("short.wav")
    wave, rate = soundfile.read(source, frames=4 * 48_000)
    soundfile.write(short, wave, rate)
    _separate(short)
    forget_peak()
    begun, used = perf_counter(), process_time()
    _separate(source)
    return perf_counter() - begun, process_time() - used, peak_mb()


def _separate(source: Path) -> None:
    kind = registry.engine_class("separation.clipsep")
    params = kind.Params.model_validate({"query": ("piano", "dog barking")})
    with TemporaryDirectory() as folder:
        kind().run([source], params, BenchJob(Path(folder)))
