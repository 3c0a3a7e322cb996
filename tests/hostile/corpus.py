"""Writes more than 200 broken or malicious files, each with the engine that is to be given it.

Truncations and bit flips of every real format that the tabs take; sizes in headers that nothing
could hold; archives that swell, or whose names lead out; names that mean something to a shell, a
browser, a database or another system; pickles that would run; models that ask for their own code.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from tests.hostile.case import MODEL, PICTURE, RAW, SOUND, Case, safetensors, zipped
from tests.hostile.headers import bombs, headers
from tests.hostile.models import archives, models
from tests.hostile.odd import ODD_NAMES, ODD_PARAMS

ROOT = Path(__file__).parents[2]


def write_corpus(folder: Path) -> list[Case]:
    """Write all files into a folder; returns the cases in a fixed order."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = dict(seeds(folder / "whole"))
    cases = [
        *_damaged(folder / "damaged", whole),
        *headers(folder / "headers"),
        *bombs(folder / "bombs"),
        *archives(folder / "archives"),
        *_names(folder / "names", whole[PICTURE, "png"]),
        *_disguised(folder / "disguised", whole),
        *models(folder / "models"),
        *_params(folder / "params", whole),
    ]
    return cases


def seeds(folder: Path) -> Iterator[tuple[tuple[str, str], bytes]]:
    """(engine, suffix) -> a small file that is read as it should be."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    picture = Image.fromarray(draw.integers(0, 255, (24, 32, 3), np.uint8))
    for suffix, form, more in (
        ("png", "PNG", {}),
        ("jpg", "JPEG", {"quality": 90}),
        ("tif", "TIFF", {}),
        ("webp", "WEBP", {}),
        ("bmp", "BMP", {}),
        ("gif", "GIF", {}),
        ("avif", "AVIF", {}),
    ):
        made = io.BytesIO()
        picture.save(made, form, **more)
        yield (PICTURE, suffix), made.getvalue()
    made = io.BytesIO()
    picture.save(made, "TIFF", compression="tiff_lzw")
    yield (PICTURE, "tiff"), made.getvalue()
    sound = (0.1 * draw.standard_normal(16_000)).astype(np.float32)
    for suffix, form, subtype in (
        ("wav", "WAV", "PCM_16"),
        ("flac", "FLAC", "PCM_16"),
        ("ogg", "OGG", "VORBIS"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
        ("aiff", "AIFF", "PCM_16"),
        ("w64", "W64", "PCM_16"),
        ("au", "AU", "PCM_16"),
        ("caf", "CAF", "PCM_16"),
        ("opus", "OGG", "OPUS"),
    ):
        made = io.BytesIO()
        soundfile.write(made, sound, 16_000, format=form, subtype=subtype)
        yield (SOUND, suffix), made.getvalue()
    for suffix in ("m4a", "mkv", "mp4"):
        yield (SOUND, suffix), _film(folder / f"seed.{suffix}", sound)
    yield (RAW, "dng"), (ROOT / "assets" / "examples" / "raw" / "colorchart.dng").read_bytes()
    yield (MODEL, "zip"), zipped({"m/config.json": b"{}", "m/model.safetensors": safetensors()})


def _film(path: Path, sound: np.ndarray[Any, Any]) -> bytes:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path.read_bytes()


def _damaged(folder: Path, seeds: Mapping[tuple[str, str], bytes]) -> Iterator[Case]:
    """Cut short, with flipped bits, with zeros in the middle, and with a tail."""
    folder.mkdir()
    for (engine, suffix), whole in seeds.items():
        draw = random.Random(suffix)
        begin, middle = whole[: len(whole) // 2], len(whole) // 2
        head = min(len(whole), 400)

        def flipped(first: int, last: int, count: int, whole: bytes = whole) -> bytes:
            found = bytearray(whole)
            for _ in range(count):
                found[draw.randrange(first, last)] ^= 1 << draw.randrange(8)  # noqa: B023
            return bytes(found)

        ways = {
            "empty": b"",
            "one-byte": whole[:1],
            "head": whole[: head // 4],
            "half": begin,
            "tail-gone": whole[: -max(1, len(whole) // 50)],
            "head-flipped": flipped(0, head, 8),
            "flipped": flipped(0, len(whole), 32),
            "zeros": begin + bytes(len(whole) - middle),
            "longer": whole + os.urandom(0) + b"\0<script>" * 40,
        }
        for way, content in ways.items():
            path = folder / f"{way}.{suffix}"
            path.write_bytes(content)
            yield Case(f"damaged/{suffix}/{way}", engine, path)


def _names(folder: Path, picture: bytes) -> Iterator[Case]:
    """A whole picture under names that mean something to somebody."""
    folder.mkdir()
    for number, name in enumerate(ODD_NAMES):
        place = folder / str(number)
        place.mkdir()
        path = place / os.fsdecode(name)
        try:
            path.write_bytes(picture)
        except OSError:  # this file system takes no such name
            continue
        yield Case(f"names/{number}", PICTURE, path)


def _disguised(folder: Path, seeds: Mapping[tuple[str, str], bytes]) -> Iterator[Case]:
    """One thing under the name of another."""
    folder.mkdir()
    html = b"<html><script>alert(1)</script></html>" * 20
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\nhttp://127.0.0.1:9/x.ts\n"
    concat = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
    script = b"#!/bin/sh\ntouch /tmp/hostile-escaped\n"
    pairs: dict[str, tuple[str, bytes]] = {
        "html.png": (PICTURE, html),
        "svg.png": (PICTURE, svg),
        "script.jpg": (PICTURE, script),
        "sound.png": (PICTURE, seeds[SOUND, "wav"]),
        "picture.wav": (SOUND, seeds[PICTURE, "png"]),
        "zip.tif": (PICTURE, seeds[MODEL, "zip"]),
        "html.wav": (SOUND, html),
        "playlist.mp3": (SOUND, playlist),
        "playlist.ts": (SOUND, playlist),
        "concat.mp4": (SOUND, concat),
        "picture.dng": (RAW, seeds[PICTURE, "tif"]),
        "sound.nef": (RAW, seeds[SOUND, "wav"]),
        "html.cr3": (RAW, html),
        "picture.zip": (MODEL, seeds[PICTURE, "png"]),
        "script.zip": (MODEL, script),
        "eps.tif": (PICTURE, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run"),
        "pdf.jpg": (PICTURE, b"%PDF-1.7\n" + html),
        "elf.flac": (SOUND, b"\x7fELF" + bytes(500)),
        "polyglot.png": (PICTURE, seeds[PICTURE, "png"] + html + seeds[MODEL, "zip"]),
    }
    for name, (engine, content) in pairs.items():
        (folder / name).write_bytes(content)
        yield Case(f"disguised/{name}", engine, folder / name)
    (folder / "folder.png").mkdir()
    yield Case("disguised/folder.png", PICTURE, folder / "folder.png")
    os.mkfifo(folder / "pipe.wav")
    yield Case("disguised/pipe.wav", SOUND, folder / "pipe.wav")
    for name, target in (
        ("zero.png", "/dev/zero"),
        ("random.wav", "/dev/urandom"),
        ("gone.png", "/none"),
    ):
        (folder / name).symlink_to(target)
        yield Case(f"disguised/{name}", PICTURE if name.endswith("png") else SOUND, folder / name)


def _params(folder: Path, seeds: Mapping[tuple[str, str], bytes]) -> Iterator[Case]:
    """Whole files with values that nobody would give in good faith."""
    folder.mkdir()
    picture = folder / "picture.png"
    picture.write_bytes(seeds[PICTURE, "png"])
    for number, params in enumerate(ODD_PARAMS):
        yield Case(f"params/{number}", PICTURE, picture, params)
