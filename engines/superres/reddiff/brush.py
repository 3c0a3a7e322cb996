"""What a person painted over pictures: strokes of a round brush, as text that settings can keep.

The text is JSON: names of pictures, and for each a list of strokes. A stroke is the brush's radius
and then x and y of the points it went through, all in whole pixels of the upright picture:
`{"scan.png": [[12, 340, 80, 352, 95]]}`. An empty name stands for every picture that is not named.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

_Strokes = dict[str, list[list[int]]]
_FORMAT: TypeAdapter[_Strokes] = TypeAdapter(_Strokes)
_FARTHEST = 100_000  # pixels; OpenCV draws no farther than 2^17


def checked(text: str) -> str:
    """The text, if it can be drawn.

    Raises:
        ValueError: it is none, with a sentence.
    """
    _read(text)
    return text


def of_picture(text: str, path: Path) -> str:
    """The strokes of one picture, for any name; nothing where it has none."""
    strokes = _read(text)
    found = strokes.get(path.name, strokes.get("", []))
    return _FORMAT.dump_json({"": found}).decode() if found else ""


def drawn(text: str, size: tuple[int, int], origin: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) True where the brush went, of the strokes of any picture.

    Args:
        text: what `of_picture` gives.
        size: H and W.
        origin: (y, x) of the first pixel in the picture that was painted over.
    """
    canvas = np.zeros(size, np.uint8)
    for radius, *along in _read(text).get("", []):
        points = np.array(along, np.int32).reshape(-1, 2) - np.array(origin[::-1], np.int32)
        for point in points[[0, -1]]:
            cv2.circle(canvas, (int(point[0]), int(point[1])), radius, 1, thickness=-1)
        thick = 2 * radius + 1
        cv2.polylines(canvas, [points[:, None]], isClosed=False, color=1, thickness=thick)
    return canvas.astype(bool)


def _read(text: str) -> _Strokes:
    if not text.strip():
        return {}
    try:
        strokes = _FORMAT.validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(
            'Strokes are written as {"picture.png": [[radius, x, y, x, y]]}, in whole pixels'
        ) from error
    for stroke in (one for many in strokes.values() for one in many):
        if len(stroke) < 3 or len(stroke) % 2 == 0:
            raise ValueError("A stroke is a radius and then pairs of x and y")
        if not 0 <= stroke[0] <= 1000 or max(map(abs, stroke)) > _FARTHEST:
            raise ValueError("A stroke has a radius of at most 1000 pixels and lies in the picture")
    return strokes
