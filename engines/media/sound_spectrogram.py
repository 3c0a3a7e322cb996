"""A spectrogram of a whole sound at a bounded size, drawn from a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.media.sound_read import open_sound

WIDTH, HEIGHT = 1600, 320  # pixels at most
TOP = 24_000.0  # Hz; what lies above is not heard and not drawn
RANGE = 80.0  # dB from the lightest to the darkest colour
_WINDOW = 0.032  # seconds: harmonics of a voice are told apart, and so are its syllables
_LOOKS = 6  # windows in a column, where a column is long
_FLOOR = -160.0  # dB
_GREY = 0.5  # of the brightness that a part has which is not this sound's
_MARKS = (100.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0)  # Hz
_AT_ONCE = 256  # windows
_BLOCK = 1 << 17  # samples
# magma (van der Walt and Smith 2015, CC0) at nine points: lightness rises evenly, in grey too.
_MAGMA = (
    (0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122), (229, 80, 100),
    (251, 135, 97), (254, 194, 135), (252, 253, 191),
)  # fmt: skip

Marks = tuple[tuple[float, float], ...]


class SpectrogramPicture:
    """Collects blocks of one sound and saves a picture: time to the right, frequency upwards.

    The height is a mel scale up to half the rate or 24 kHz. Of long sounds every column shows the
    mean power of six short windows spread over its time, so an hour takes seconds and no more
    memory than a minute. Channels are added as powers.

    Args:
        rate: samples a second.
        total: samples per channel that will come; the picture is as wide as they are.
        width: pixels at most; short sounds give fewer.
        height: pixels.
    """

    def __init__(self, rate: int, total: int, width: int = WIDTH, height: int = HEIGHT) -> None:
        length = 1 << max(round(np.log2(_WINDOW * rate)), 6)
        self._window = np.hanning(length + 1)[:-1].astype(np.float32)
        self._top = min(TOP, rate / 2)
        self._rows = _rows(rate, length, self._top, height)
        columns = int(np.clip(-(-total * 4 // length), 1, width))
        self._looks = int(np.clip(total * 2 // (columns * length), 1, _LOOKS))
        count = columns * self._looks
        middles = (np.arange(count) + 0.5) * total / count
        self._starts = np.floor(middles - length / 2).astype(np.int64)
        self._power = np.zeros((columns, height))
        self._held: NDArray[np.float32] | None = None  # from sample _begin on
        self._begin = -length
        self._next = 0

    @property
    def marks(self) -> Marks:
        """(Hz, height from 0 at the foot to 1 at the top), for the labels of a frequency axis."""
        top = _mel(self._top)
        return tuple((hertz, float(_mel(hertz) / top)) for hertz in _MARKS if hertz <= self._top)

    def add(self, block: NDArray[np.float32]) -> None:
        """Take the next (channels, n) float32 samples."""
        if self._held is None:
            self._held = np.zeros((len(block), len(self._window)), dtype=np.float32)
        self._held = np.concatenate([self._held, block], axis=1)
        self._look()

    def reference_db(self) -> float:
        """The level that the lightest colour stands for if `save` is given none.

        In dB, a sine at full scale being 0; give the loudest picture's to those beside it.
        """
        return max(float(np.quantile(self._level(), 0.999)), _FLOOR + RANGE)

    def save(
        self,
        path: Path,
        reference_db: float | None = None,
        size: tuple[int, int] | None = None,
        within: SpectrogramPicture | None = None,
    ) -> None:
        """Write the picture; what has not come by now is drawn as silence.

        Args:
            path: a PNG, or a JPEG if its suffix is ".jpg".
            reference_db: see `reference_db`.
            size: width and height in pixels to bring it to.
            within: a sound of the same rate and length that this one is a part of. That one is
                drawn, in colour as far as it is this one and in grey where it is something else.

        Raises:
            OSError: the disk is full.
        """
        self._end()
        whole = self if within is None else within
        whole._end()
        top = whole.reference_db() if reference_db is None else reference_db
        shade = np.clip((whole._level() - (top - RANGE)) / RANGE, 0.0, 1.0)
        picture = Image.fromarray(np.rint(shade * 255).astype(np.uint8).T[::-1])
        if within is not None:
            picture = self._coloured(picture, within)
        if size is not None:
            picture = picture.resize(size, Image.Resampling.BOX)
        if within is None:
            picture.putpalette(_palette())
        if path.suffix == ".jpg":
            picture.convert("RGB").save(path, "JPEG", quality=85)
        else:
            picture.save(path, "PNG")

    def _end(self) -> None:
        """What is held is followed by silence."""
        if self._held is not None:
            self._held = np.pad(self._held, ((0, 0), (0, 2 * len(self._window))))
            self._look()

    def _coloured(self, shade: Image.Image, within: SpectrogramPicture) -> Image.Image:
        """The picture of the whole, its colours as strong as this sound's part in it."""
        share = np.sqrt(np.clip(self._power / np.maximum(within._power, 1e-16), 0.0, 1.0))
        part = Image.fromarray(np.rint(share * 255).astype(np.uint8).T[::-1])
        grey = shade.point([round(_GREY * value) for value in range(256)]).convert("RGB")
        shade.putpalette(_palette())
        return Image.composite(shade.convert("RGB"), grey, part)

    def _look(self) -> None:
        """Take every window that lies within what is held, and let go of what is behind."""
        assert self._held is not None
        length = len(self._window)
        end = self._begin + self._held.shape[1]
        last = int(np.searchsorted(self._starts, end - length, side="right"))
        for first in range(self._next, last, _AT_ONCE):
            chosen = self._starts[first : min(first + _AT_ONCE, last)] - self._begin
            frames = self._held[:, chosen[:, None] + np.arange(length)]
            spectra = np.fft.rfft(frames * self._window)
            power = (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=0)
            columns = np.arange(first, first + len(chosen)) // self._looks
            np.add.at(self._power, columns, power @ self._rows)
        self._next = max(self._next, last)
        behind = self._starts[self._next] if self._next < len(self._starts) else end - length
        drop = int(np.clip(behind - self._begin, 0, self._held.shape[1]))
        self._held = self._held[:, drop:].copy()
        self._begin += drop

    def _level(self) -> NDArray[np.float64]:
        """(columns, rows) in dB; a sine at full scale is 0, less in a row wider than a bin."""
        full = (float(self._window.sum()) / 2) ** 2
        power = self._power / (self._looks * full)
        return 10 * np.log10(np.maximum(power, 10 ** (_FLOOR / 10)))


def draw_spectrogram(
    sound: Path,
    png: Path,
    *,
    check: Callable[[], None] = lambda: None,
    reference_db: float | None = None,
) -> Marks:
    """Draw a sound file; `check` is called at every block and may raise `Cancelled`.

    Returns:
        `SpectrogramPicture.marks`.

    Raises:
        UserError: the sound cannot be read.
        OSError: the disk is full.
    """
    with open_sound(sound) as reader:
        picture = SpectrogramPicture(reader.facts.rate, reader.facts.samples)
        for block in reader.blocks(_BLOCK):
            check()
            picture.add(block)
    picture.save(png, reference_db)
    return picture.marks


def _mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """O'Shaughnessy's formula: even steps are about equally far apart to the ear."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def _rows(rate: int, length: int, top: float, height: int) -> NDArray[np.float32]:
    """(bins, rows) weights: triangles around each row's frequency, one bin wide at the least."""
    place = np.linspace(0, float(_mel(top)), height + 1)
    edges = 700.0 * (10 ** (place / 2595.0) - 1.0)
    middle = (edges[1:] + edges[:-1]) / 2
    reach = np.maximum(np.diff(edges), rate / length)
    bins = np.fft.rfftfreq(length, 1 / rate)
    weights = np.clip(1 - np.abs(bins[:, None] - middle) / reach, 0.0, None)
    return (weights / weights.sum(axis=0)).astype(np.float32)


def _palette() -> list[int]:
    place = np.linspace(0, len(_MAGMA) - 1, 256)
    points = np.arange(len(_MAGMA))
    channels = [np.interp(place, points, [colour[k] for colour in _MAGMA]) for k in range(3)]
    return [int(value) for value in np.rint(np.stack(channels, axis=1)).ravel()]
