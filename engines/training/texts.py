"""Text to train a language model on: named Debian packages, or a folder of the user's.

What is bundled for calibration and for measuring is never in it: paragraphs that stand there are
left out.
"""

from __future__ import annotations

import gzip
import html
import re
from pathlib import Path

from engines.base import UserError
from engines.training.packages import fetch

TEXTS: dict[str, tuple[str, str]] = {
    "jargon-text": ("public domain", "**/jargon.txt.gz"),
    "anarchism": ("GPL-2", "**/markdown/*"),
    "debian-reference-en": ("GPL-2+", "**/debian-reference.en.txt.gz"),
    "fortunes": ("BSD-like", "**/games/fortunes/*"),
}
"""Package -> (licence, files in it)."""

_SHORTEST = 80  # letters of a paragraph worth learning from


def paragraphs(cache: Path, data: Path | None, without: set[str]) -> list[str]:
    """Paragraphs of running text, each once, in the order of their sources.

    Args:
        cache: where packages are unpacked.
        data: a folder of .txt and .md files of the user's own instead.
        without: paragraphs that must not be among them.

    Raises:
        UserError: the packages cannot be fetched, or there is no text.
    """
    found: dict[str, None] = {}
    for path in _own(data) if data is not None else _packaged(cache / "packages"):
        for part in re.split(r"\n\s*\n|\n%\n", _text(path)):
            line = " ".join(re.sub(r"[{}\[\]*_#`>]", "", part).split())
            letters = sum(one.isalpha() or one == " " for one in line)
            if len(line) >= _SHORTEST and letters > 0.85 * len(line):
                found.setdefault(line)
    kept = [line for line in found if line not in without]
    if not kept:
        raise UserError("There is no running text in that folder; choose one with .txt files")
    return kept


def _own(data: Path) -> list[Path]:
    return sorted(path for path in data.rglob("*") if path.suffix in (".txt", ".md"))


def _packaged(folder: Path) -> list[Path]:
    found: list[Path] = []
    for package, (_, pattern) in TEXTS.items():
        files = sorted(path for path in fetch(package, folder).glob(pattern) if path.is_file())
        found += [path for path in files if path.suffix in ("", ".gz", ".md", ".txt")]
    return found


def _text(path: Path) -> str:
    held = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return html.unescape(held.decode("utf-8", errors="ignore"))
