"""Names and formats of results."""

from __future__ import annotations

from pathlib import Path

from engines.base import UserError
from engines.media.picture_facts import PictureFacts
from engines.media.picture_write import SUFFIX, WriteFormat, format_for
from engines.superres.params import SuperresParams

_LONGEST = 200  # bytes of a name; a file system takes 255 with what is put behind
_VIEWS = ("before", "after", "thumbnail")  # files of ours that begin with the input's name
_DEEP = ("png", "tiff")


def short(name: str) -> str:
    """A name cut where it leaves no room for what is put behind, without bytes that are no text."""
    kept = name.encode("utf-8", "surrogateescape")[:_LONGEST].decode("utf-8", "ignore")
    return kept if kept or not name else "picture"


def result_name(path: Path, params: SuperresParams, model: str, factor: float) -> str:
    """Name of the result without a suffix, from the pattern in `params`."""
    parts = {"{name}": path.stem, "{model}": model, "{scale}": f"{factor:.3g}x"}
    name = params.name
    for field, text in parts.items():
        name = name.replace(field, text)
    name = short(name.strip().lstrip(".")) or "enlarged"
    ours = name in {f"{short(path.stem)}.{view}" for view in _VIEWS}
    return f"{name}-enlarged" if ours else name


def suffix(form: WriteFormat) -> str:
    """Suffix of a format, with its dot."""
    return SUFFIX[form]


def file_kind(facts: PictureFacts, params: SuperresParams) -> tuple[WriteFormat, int, list[str]]:
    """Format, bits of a sample, and notes about them.

    Raises:
        UserError: 16 bits are asked of a format that has 8.
    """
    form = format_for(facts, params.output)
    notes: list[str] = []
    bits = facts.bits if params.depth == "same" else int(params.depth)
    if bits == 16 and form not in _DEEP:
        if params.depth == "16":
            raise UserError(f"{form.upper()} holds 8 bits a sample; choose PNG or TIFF for 16")
        bits = 8
        notes.append("The result has 8 bits a sample; PNG and TIFF would keep all 16")
    return form, bits, notes
