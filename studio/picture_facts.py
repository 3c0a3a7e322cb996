"""What a picture is, in a few words; nothing of the page is imported to find that out."""

from __future__ import annotations

from pathlib import Path

from studio.reader import Look


def picture_facts(path: Path) -> Look:
    """Size, depth, colours, profile and transparency in words.

    Raises:
        UserError: it is no picture that can be read; the sentence says what it is.
    """
    from engines.media.picture import read_facts

    found = read_facts(path)
    colours = {1: "grey", 3: "colour"}.get(found.channels, f"{found.channels} bands")
    words = [
        f"{found.width} x {found.height}",
        f"{found.bits}-bit {colours}",
        "transparent" if found.has_alpha else "",
        profile_name(found.icc),
        "georeferenced" if found.geo is not None else "",
        f"first of {found.frames} frames" if found.frames > 1 else "",
    ]
    return Look(
        tuple(word for word in words if word),
        more={
            "width": found.width, "height": found.height, "bits": found.bits,
            "channels": found.channels + found.has_alpha, "format": found.format,
        },
    )  # fmt: skip


def profile_name(icc: bytes | None) -> str:
    """What a colour profile calls itself, in at most 40 letters; "" without one."""
    if not icc:
        return ""
    import io

    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        name = " ".join(ImageCms.getProfileDescription(profile).split())
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "own profile"
    return name if len(name) <= 40 else f"{name[:39]}\N{HORIZONTAL ELLIPSIS}"
