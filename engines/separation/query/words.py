"""What a person types, made ready for an encoder: spaces, emoji by their names, common words of
other languages in English, the one language that MiniLM knows.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import lru_cache
from pathlib import Path

from engines.base import UserError

LANGUAGES = Path(__file__).resolve().parents[3] / "assets" / "queries" / "other-languages.toml"
LONGEST = 2000  # characters; more is no description of a sound
_NOT_SAID = {
    "face", "symbol", "sign", "emoji", "modifier", "fitzpatrick", "type", "with", "heavy", "black",
    "white", "variation", "selector",
}  # fmt: skip


def said(text: str) -> str:
    """The text as English words, as far as they are known.

    Raises:
        UserError: nothing is left that could be read.
    """
    spelled = "".join(map(_spelled, unicodedata.normalize("NFKC", text[:LONGEST])))
    words = " ".join(spelled.split())
    if not re.search(r"\w", words):
        raise UserError("Say in a word or two which sound is meant, such as “dog barking”")
    return _in_english(words)


def tokens(text: str) -> list[str]:
    """Lower-case words without accents and plural endings."""
    return [_singular(word) for word in re.findall(r"[^\W_]+", _plain(text))]


def foreign() -> dict[str, str]:
    """Words and phrases of other languages, plain, -> English."""
    return _languages()[0]


def _in_english(words: str) -> str:
    known, pattern = _languages()
    plain = _plain(words)
    found = pattern.sub(lambda match: known[match[0]], plain)
    return words if found == plain else found


@lru_cache(maxsize=1)
def _languages() -> tuple[dict[str, str], re.Pattern[str]]:
    read = tomllib.loads(LANGUAGES.read_text(encoding="utf-8"))
    known = {_plain(word): english for english, words in read.items() for word in words}
    longest = sorted(known, key=len, reverse=True)
    return known, re.compile(r"\b(?:" + "|".join(map(re.escape, longest)) + r")\b")


def _plain(text: str) -> str:
    """Lower case, without accents."""
    apart = unicodedata.normalize("NFKD", text.lower())
    return "".join(char for char in apart if not unicodedata.combining(char))


def _spelled(char: str) -> str:
    """A picture as its Unicode name without ornaments; other characters as they are."""
    if unicodedata.category(char) not in ("So", "Sk", "Cs", "Co", "Cn", "Cc", "Cf"):
        return char
    if unicodedata.category(char) not in ("So", "Sk"):
        return " "  # joins pictures, or is no character
    names = unicodedata.name(char, "").lower().replace("-", " ").split()
    return " " + " ".join(word for word in names if word not in _NOT_SAID) + " "


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
