"""Small pictures of results: what an engine made as its thumbnail, else made here and kept.

A picture is made small, a sound drawn as its waveform, once: both are kept in the cache, in a
folder of their job, with which they go. Nothing is lost when the cache is removed.
"""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

from engines.base import UserError
from studio.jobs.views import ArtifactView, NotFound
from studio.library import FACES
from studio.overview import Overviews

_SIDE = 320  # pixels
_COLUMNS, _HEIGHT = 96, 64  # of a waveform
_PIECE = 1 << 18  # frames
_SERVED = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
_HEXADECIMAL = set("0123456789abcdef")


class Faces:
    """Makes and keeps small pictures; thread-safe."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / FACES
        self._overviews = Overviews()
        self._turn = threading.Semaphore(2)  # a page asks for sixty at once

    def picture(self, file: ArtifactView, session_id: str, job_id: str) -> tuple[Path, str]:
        """Path and media type of the small picture of a file of that job.

        Raises:
            NotFound: the file is gone, or nothing can be drawn of it.
        """
        if file.missing:
            raise NotFound(f"{file.name} was moved or deleted")
        if file.role == "thumbnail":
            kind = _SERVED.get(file.path.suffix.lower())
            if kind is None:
                raise NotFound(f"{file.name} is no picture")
            return file.path, kind
        if file.kind not in ("audio", "image") or not _is_hash(file.sha256):
            raise NotFound(f"There is no small picture of {file.name}")
        suffix, media = (
            (".svg", "image/svg+xml") if file.kind == "audio" else (".jpg", "image/jpeg")
        )
        kept = self._folder / session_id / job_id / f"{file.sha256}{suffix}"
        if not kept.is_file():
            with self._turn:
                if not kept.is_file():
                    self._make(file, kept)
        return kept, media

    def _make(self, file: ArtifactView, kept: Path) -> None:
        try:
            made = waveform(file.path) if file.kind == "audio" else self._small(file.path)
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_name(f"{kept.name}.{secrets.token_hex(4)}")
            partial.write_bytes(made)
            os.replace(partial, kept)
        except (OSError, UserError, ValueError, RuntimeError) as error:
            raise NotFound(f"There is no small picture of {file.name}") from error

    def _small(self, path: Path) -> bytes:
        import io

        from PIL import Image

        whole, _ = self._overviews.image(path)
        image = Image.open(io.BytesIO(whole))
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        made = io.BytesIO()
        image.convert("RGB").save(made, "jpeg", quality=85)
        return made.getvalue()


def waveform(path: Path) -> bytes:
    """A sound's outline as an SVG, one bar a column, in memory that does not grow with its length.

    It is drawn in black on nothing, to be used as a mask: the page gives it its colour.

    Raises:
        soundfile.LibsndfileError: it is no sound (a RuntimeError).
    """
    import numpy as np
    import soundfile

    peaks = np.zeros(_COLUMNS)
    with soundfile.SoundFile(path) as sound:
        frames = max(1, sound.frames)
        start = 0
        for block in sound.blocks(_PIECE, dtype="float32", always_2d=True):
            loud = np.abs(block).max(axis=1)
            columns = np.minimum((start + np.arange(len(loud))) * _COLUMNS // frames, _COLUMNS - 1)
            np.maximum.at(peaks, columns, loud)
            start += len(loud)
    peaks = np.nan_to_num(peaks)
    heights = np.maximum(peaks / max(float(peaks.max()), 0.02) * (_HEIGHT - 8), 1.5)
    bars = "".join(
        f"M{4 * column + 2} {(_HEIGHT - height) / 2:.1f}v{height:.1f}"
        for column, height in enumerate(heights)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {4 * _COLUMNS} {_HEIGHT}" '
        f'preserveAspectRatio="none"><path d="{bars}" stroke="#000" stroke-width="2.2" '
        'stroke-linecap="round"/></svg>'
    ).encode()


def _is_hash(text: str) -> bool:
    return len(text) == 64 and set(text) <= _HEXADECIMAL
