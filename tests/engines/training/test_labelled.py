"""The library of labelled sounds, out of made-up packages, and the mixtures drawn from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from engines.base import UserError
from engines.training.labelled import Labelled, Mixer, load_labelled, table
from engines.training.labelled.labels import Label, Table
from engines.training.labelled.library import Wave
from engines.training.labelled.made import MAKERS, make
from engines.training.labelled.midi import Player, rhythm
from engines.training.labelled.mixer import NOISE, NONE
from engines.training.labelled.sources import FONTS, PACKAGES, Sources
from engines.training.sounds import RATE
from tests.engines.training.sound_font import write_sound_font

_TINY = Table(
    labels={
        one.name: one
        for one in (
            Label("dog", ("dog", "barking"), kinds=("animal",), train=("tux:*/dog*.wav",),
                  test=("gcom:*dog.wav",)),
            Label("cat", ("cat",), kinds=("animal",), train=("tux:*/cat.wav",)),
            Label("puppy", ("puppy",), kinds=("animal",), like=("dog",), train=("sonic:*/p.wav",)),
            Label("siren", ("siren",), train=("made:siren",), test=("made:siren",)),
            Label("knock", ("knock",), hits=True, train=("sonic:*/knock*.wav",)),
            Label("goat", ("goat",), kinds=("animal",), test=("tux:*/goat.wav",), unseen=True),
        )
    },
    kinds={"animal": ("animal", "an animal")},
)  # fmt: skip


def _tone(path: Path, pitch: float, seconds: float = 1.0) -> None:
    time = np.arange(int(seconds * RATE)) / RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * pitch * time), RATE)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    packages = tmp_path / "packages"
    for package in (*PACKAGES.values(), *FONTS.values()):
        (packages / package.name).mkdir(parents=True, exist_ok=True)
    stamps = packages / "tuxpaint-stamps-default/stamps"
    for number in range(5):
        _tone(stamps / f"dog{number}.wav", 200.0 + 100.0 * number)
    _tone(stamps / "cat.wav", 900.0, 3.0)
    (stamps / "cat.png").write_bytes(b"a picture")
    _tone(stamps / "cat_desc_es.wav", 950.0)
    _tone(stamps / "goat.wav", 1100.0)
    (stamps / "broken-dog.wav").write_text("no sound")
    _tone(packages / "gcompris-qt-data/dog.wav", 250.0)
    _tone(packages / "sonic-pi-samples/p.wav", 350.0)
    for number in range(3):
        _tone(packages / f"sonic-pi-samples/knock{number}.wav", 700.0, 0.2)
        _tone(packages / f"sonic-pi-samples/else{number}.wav", 60.0)
    _tone(packages / "sonic-pi-samples/vinyl_hiss.wav", 5000.0)
    return Sources(tmp_path / "cache", lambda name, _folder: packages / name)


@pytest.fixture
def train(tmp_path: Path, sources: Sources) -> Labelled:
    return load_labelled(tmp_path / "cache", split="train", sources=sources, labels=_TINY)


def _pitch(wave: Wave) -> float:
    spectrum = np.abs(np.fft.rfft(wave.astype(np.float64) * np.hanning(len(wave))))
    return float(spectrum.argmax() * RATE / len(wave))


def test_every_label_gets_its_recordings(train: Labelled) -> None:
    assert train.labels == ["dog", "cat", "puppy", "siren", "knock"]
    assert len(train.clips["dog"]) == 4  # of five, one validates; the broken one is passed over
    assert _pitch(train.clips["cat"][0]) == pytest.approx(900.0, abs=2.0)
    assert all(wave.dtype == np.int16 for waves in train.clips.values() for wave in waves)
    # Single blows are played in rhythms.
    assert all(len(wave) == 6 * RATE for wave in train.clips["knock"])
    assert [path.name for path in train.pictures["cat"]] == ["cat.png"]


def test_splits_hold_different_recordings(
    train: Labelled, tmp_path: Path, sources: Sources
) -> None:
    cache = tmp_path / "cache"
    valid = load_labelled(cache, split="valid", sources=sources, labels=_TINY)
    test = load_labelled(cache, split="test", sources=sources, labels=_TINY)
    strange = load_labelled(cache, split="zeroshot", sources=sources, labels=_TINY)
    heard = {round(_pitch(wave)) for wave in train.clips["dog"]}
    assert {round(_pitch(wave)) for wave in valid.clips["dog"]}.isdisjoint(heard)
    assert [round(_pitch(wave)) for wave in test.clips["dog"]] == [250]
    assert strange.labels == ["goat"]
    assert "goat" not in train.clips
    assert not np.array_equal(train.clips["siren"][0], test.clips["siren"][0])
    # The order is the same, so that a number means the same label everywhere.
    assert test.labels == valid.labels == train.labels


def test_what_no_label_names_is_noise_and_what_is_reserved_is_not(train: Labelled) -> None:
    pitches = {round(_pitch(wave)) for wave in train.unlabelled}
    assert pitches <= {60}
    assert 5000 not in pitches


def test_the_library_is_made_once(train: Labelled, tmp_path: Path, sources: Sources) -> None:
    [file] = (tmp_path / "cache").glob("labelled-train-*.npy")
    before = file.stat().st_mtime_ns
    again = load_labelled(
        tmp_path / "cache", split="train", sources=sources, labels=_TINY, say=pytest.fail
    )
    assert file.stat().st_mtime_ns == before
    assert np.array_equal(again.clips["siren"][3], train.clips["siren"][3])
    # Other wordings need no new sounds, another source does.
    dog = _TINY.labels["dog"]
    reworded = Table(dict(_TINY.labels, dog=replace(dog, words=("hound",))), _TINY.kinds)
    load_labelled(tmp_path / "cache", split="train", sources=sources, labels=reworded)
    assert len(list((tmp_path / "cache").glob("labelled-train-*.npy"))) == 1
    moved = Table(dict(_TINY.labels, dog=replace(dog, train=("tux:*/dog0.wav",))), _TINY.kinds)
    fewer = load_labelled(tmp_path / "cache", split="train", sources=sources, labels=moved)
    assert len(fewer.clips["dog"]) == 1


def test_nothing_reserved_may_be_trained_on(tmp_path: Path, sources: Sources) -> None:
    wrong = Table({"dog": Label("dog", ("dog",), train=("gcom:*dog.wav",))}, {})
    with pytest.raises(ValueError, match="would be trained on gcompris"):
        load_labelled(tmp_path / "cache", split="train", sources=sources, labels=wrong)


def test_no_sound_at_all_is_said(tmp_path: Path, sources: Sources) -> None:
    nothing = Table({"dog": Label("dog", ("dog",), train=("warm:*.wav",))}, {})
    with pytest.raises(UserError, match="no sound"):
        load_labelled(tmp_path / "cache", split="train", sources=sources, labels=nothing)


def test_wordings_mean_one_source_of_the_mixture(train: Labelled) -> None:
    assert train.phrases["dog"] == ["dog", "barking", "animal", "an animal"]
    assert "animal" in train.wordings("dog", ["siren"])
    assert train.wordings("dog", ["cat"]) == ["dog", "barking"]
    assert train.related("dog") == {"dog", "puppy"}


def test_mixtures_keep_their_promises(train: Labelled) -> None:
    mixer = Mixer(train, 16_000, vary=False)
    random = np.random.default_rng(4)
    thirds = {NONE: 0, NOISE: 0, 0: 0}
    for _ in range(300):
        one = mixer.example(random)
        assert one.sources.shape == (3, 16_000)
        assert one.sources.dtype == np.float32
        assert np.abs(one.sources.sum(axis=0)).max() <= 1.0
        named = [mixer.labels[n] for n in one.labels if n >= 0]
        assert len(set(named)) == len(named) >= 2
        assert not {"dog", "puppy"} <= set(named)  # a query for one may mean the other
        levels = [np.sqrt(np.square(wave).mean()) for wave in one.sources[:2]]
        assert abs(20.0 * np.log10(levels[0] / levels[1])) < 5.01
        third = int(one.labels[2])
        assert (np.abs(one.sources[2]).max() > 0.0) == (third != NONE)
        thirds[min(third, 0)] += 1
    assert 30 < thirds[0] < 100  # a fifth
    assert 60 < thirds[NOISE] < 130  # three tenths


def test_the_same_seed_draws_the_same_mixture(train: Labelled) -> None:
    mixer = Mixer(train, 8_000)
    first, again, other = (mixer.example(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.sources, again.sources)
    assert not np.array_equal(first.sources, other.sources)


def test_playing_faster_raises_the_pitch(train: Labelled) -> None:
    mixer = Mixer(train, 8_000)
    random = np.random.default_rng(0)
    pitches = [_pitch((mixer.sound("cat", random) * 30_000).astype(np.int16)) for _ in range(40)]
    assert 740.0 < min(pitches) < 850.0
    assert 950.0 < max(pitches) < 1090.0


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_made_sounds_are_sound_and_differ(name: str) -> None:
    first, again, other = (make(name, np.random.default_rng(seed), 2 * RATE) for seed in (1, 1, 2))
    assert first.shape == (2 * RATE,)
    assert np.isfinite(first).all()
    assert np.square(first).mean() > 1e-6
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_blows_come_within_the_time() -> None:
    random = np.random.default_rng(5)
    for _ in range(50):
        blows = rhythm(random, 3.0)
        assert blows
        assert all(0.0 <= time < 3.0 and 0.0 < loud <= 1.0 for time, loud in blows)


def test_phrases_are_played_on_a_sound_font(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    player = Player(write_sound_font(tmp_path / "buzz.sf2"))
    assert player.has(0)
    assert not player.has(40)
    assert player.has(0, drums=True)
    phrase = player.phrase((0,), np.random.default_rng(1), 2.0)
    assert phrase.shape == (2 * RATE,)
    assert np.abs(phrase).max() > 0.01
    assert np.array_equal(phrase, player.phrase((0,), np.random.default_rng(1), 2.0))
    assert np.abs(player.drums((36, 38, 42), np.random.default_rng(1), 2.0, kit=True)).max() > 0.01
    assert np.abs(player.drums((36,), np.random.default_rng(1), 2.0, kit=False)).max() > 0.01


def test_a_file_that_is_no_sound_font_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    (tmp_path / "song.sf2").write_text("no sound font")
    with pytest.raises(UserError, match=r"song\.sf2 is no sound font"):
        Player(tmp_path / "song.sf2")


def test_the_table_is_consistent() -> None:
    known = table()
    seen = [one for one in known.labels.values() if not one.unseen]
    assert len(seen) >= 40
    assert len(known.labels) - len(seen) >= 10
    meanings: dict[str, set[str]] = {}
    for one in known.labels.values():
        assert one.words[0] == one.name
        assert len(one.words) >= (3 if one.unseen else 5)
        assert set(one.kinds) <= set(known.kinds), one.name
        assert set(one.like) <= set(known.labels), one.name
        for source in one.train:
            alias, _, what = source.partition(":")
            assert what in {*MAKERS, "babble"} if alias == "made" else not PACKAGES[alias].kept
        for source in one.test:
            assert source.partition(":")[0] in {*PACKAGES, "made"}
        if one.unseen:
            assert not one.train
        for word in one.words:
            meanings.setdefault(word, set()).add(one.name)
    for word, names in meanings.items():
        first = min(names)
        assert names <= known.related(first), f"{word} means {names}"
    assert not set(known.labels) & {w for w, n in meanings.items() if len(n) > 1} - {"footsteps"}
