"""Parameters that several engines have, declared once so that they read and behave alike.

Each gives the default of a field of `engines.base.Params`, as `option` does.
"""

from __future__ import annotations

from typing import Any

from engines.base import option


def weights(default: str, description: str, models: str) -> Any:
    """Id of weights (str); `models` is the network or engine whose they are."""
    return option(
        default,
        title="Weights",
        description=description,
        models=models,
        max_length=120,
        advanced=True,
    )


def seed() -> Any:
    """Where a random generator begins (int)."""
    return option(
        0,
        title="Seed",
        description="The same number gives the same result",
        ge=0,
        le=2**31 - 1,
        advanced=True,
    )


def start() -> Any:
    """Where in a recording to begin, in seconds (float)."""
    return option(
        0.0,
        title="Start",
        description="Process from here on",
        unit="s",
        ge=0.0,
        lt=1_000_000.0,
        advanced=True,
    )


def length() -> Any:
    """How much of a recording to process, in seconds (float or None)."""
    return option(
        None,
        title="Length",
        description="Process only so much from the start; empty is to the end",
        unit="s",
        gt=0.0,
        le=1_000_000.0,
        advanced=True,
    )


def sound_depth() -> Any:
    """Bits of a sample in a written sound file (`sound_format.Depth`)."""
    return option(
        "same",
        title="Bit depth",
        description="Of a sample in what is not lossy; same is the input's",
        advanced=True,
    )


def picture_depth() -> Any:
    """Bits of a sample in a written picture ("same", "8" or "16")."""
    return option(
        "same",
        title="Bit depth",
        description="Of a sample; 16 goes into PNG and TIFF alone",
        unit="bits",
        advanced=True,
    )


def picture_quality() -> Any:
    """Quality of a lossy picture, 1 to 100 (int)."""
    return option(
        95,
        title="Quality",
        description="Of JPEG and WebP; 100 in WebP is lossless",
        ge=1,
        le=100,
        advanced=True,
    )


def metadata() -> Any:
    """Whether a picture keeps what its file says of it (bool)."""
    return option(
        True,
        title="Keep metadata",
        description="EXIF, XMP and IPTC of the input; the colour profile always stays",
        advanced=True,
    )


def exposure() -> Any:
    """Exposure in EV at which a RAW result is shown and developed (float or None)."""
    return option(
        None,
        title="Preview exposure",
        description="Brightness of comparison, TIFF, JPEG; empty is automatic, DNG keeps its own",
        unit="EV",
        ge=-5.0,
        le=8.0,
    )


def raw_tile() -> Any:
    """Side of a tile in packed pixels, which are 2 x 2 photosites (int)."""
    return option(
        512,
        title="Tile",
        description="Side of a tile; smaller takes less memory and more time",
        unit="packed pixels",
        ge=128,
        le=4096,
        advanced=True,
    )


def scale(most: float) -> Any:
    """Times that a picture or a film becomes as wide and as high (float)."""
    return option(
        4.0,
        title="Scale",
        description="Times as wide and as high; 1 restores without enlarging",
        unit="x",
        suggested=(2, 3, 4),
        ge=1.0,
        le=most,
    )


def lanczos_strength() -> Any:
    """Share of the network's picture over a Lanczos enlargement, 0 to 1 (float)."""
    return option(
        1.0,
        title="Strength",
        description="Share of the network's picture; 0 is plain Lanczos, less than 1 is gentler",
        ge=0.0,
        le=1.0,
    )


def picture_tile(most: int) -> Any:
    """Side of a tile in pixels, 0 for one that goes by the network (int)."""
    return option(
        0,
        title="Tile",
        description="Side of a tile; smaller takes less memory and more time, 0 is automatic",
        unit="pixels",
        ge=0,
        le=most,
        advanced=True,
    )
