"""What a person types, made ready for an encoder: spaces, letters, emoji by their names."""

from __future__ import annotations

import re
import unicodedata

from engines.base import UserError

LONGEST = 2000  # characters; more is no description of a sound
_NOT_SAID = {
    "face", "symbol", "sign", "emoji", "modifier", "fitzpatrick", "type", "with", "heavy", "black",
    "white", "variation", "selector",
}  # fmt: skip


def said(text: str) -> str:
    """The text as words.

    Raises:
        UserError: nothing is left that could be read.
    """
    spelled = "".join(map(_spelled, unicodedata.normalize("NFKC", text[:LONGEST])))
    words = " ".join(spelled.split())
    if not re.search(r"\w", words):
        raise UserError("Say in a word or two which sound is meant, such as “dog barking”")
    return words


def tokens(text: str) -> list[str]:
    """Lower-case words without accents and plural endings."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return [_singular(word) for word in re.findall(r"[^\W_]+", plain)]


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
