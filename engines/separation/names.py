"""Names of files and tracks made of what people typed: any script, any length, no surprises."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_LONGEST = 40  # bytes of a query in a file's name, which has others around it
_SHOWN = 28  # characters of a query on a button
# No sound, letter, digit or mark: on Windows some of these are not allowed, and the others hide.
_KEPT = ("L", "M", "N")
_ALSO = "-_'()&+, "


def file_names(queries: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """One name a query, to stand between a recording's name and the suffix; all differ.

    Letters of every script and digits stay; what else there is (slashes, control characters,
    emoji) becomes a space. `taken` are names that none of them may have, in any letter case.
    """
    names: list[str] = []
    used = {name.casefold() for name in taken}
    for number, query in enumerate(queries, 1):
        base = _plain(query) or f"sound {number}"
        name, more = base, 2
        while name.casefold() in used:
            name, more = f"{base} {more}", more + 1
        used.add(name.casefold())
        names.append(name)
    return names


def label(query: str) -> str:
    """A query as it fits on a button."""
    text = " ".join("".join(c if c.isprintable() else " " for c in query).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1].rstrip() + "…"


def labels(queries: Sequence[str]) -> list[str]:
    """Different labels for different queries; as `label`."""
    found: list[str] = []
    for query in queries:
        base = label(query) or "sound"
        text, more = base, 2
        while text in found:
            text, more = f"{base} {more}", more + 1
        found.append(text)
    return found


def _plain(query: str) -> str:
    text = unicodedata.normalize("NFC", query)
    text = "".join(c if unicodedata.category(c)[0] in _KEPT or c in _ALSO else " " for c in text)
    cut = " ".join(text.split()).encode("utf-8")[:_LONGEST].decode("utf-8", "ignore")
    return cut.strip(" -_'(&+,")
