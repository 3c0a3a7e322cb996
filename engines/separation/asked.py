"""What a person asks for in words: which sounds, to keep or to remove, and which not.

"Everything but speech" and "no drums" are how people ask for a removal, so they are taken apart
here rather than given to a sentence encoder, which hardly tells "no drums" from "drums".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engines.base import UserError
from engines.separation.params import LONGEST_QUERY, ClipSepParams, Mode

_POLITE = re.compile(
    r"^(?:(?:please|only|just|keep|give me|i want|isolate|extract|solo)\b[\s,:]*)+|"
    r"[\s,]*\b(?:please|only|alone)[.!]*$",
    re.IGNORECASE,
)
# English, and how the languages whose words an encoder here knows say it.
_ALL = (
    r"(?:everything|every sound|all|all sounds|all of it|anything|the rest|the whole|"
    r"alles|tout|todo|tutto|tudo|всё|все)"
)
_BUT = (
    r"(?:but not|but no|but|except for|except|without|minus|apart from|other than|and not|"
    r"außer|ausser|sauf|menos|excepto|salvo|tranne|exceto|behalve|кроме)"
)
_NO = (
    r"(?:no|not|without|remove|mute|delete|take out|get rid of|minus|"
    r"ohne|keine?n?|sans|pas de|sin|senza|sem|zonder|geen|без)"
)
_REMOVAL = re.compile(rf"^(?:{_ALL}[\s,]+{_BUT}|{_NO})\s+(.+)$", re.IGNORECASE | re.DOTALL)
_EXCEPTION = re.compile(
    r"^(.+?)[\s,]+(?:but not|but no|without|except for|except|and no|and not|not|minus|"
    r"ohne|sans|sin|senza|sem|zonder|без)\s+(.+)$",
    re.IGNORECASE | re.DOTALL,
)
_ARTICLE = re.compile(r"^(?:the|any|all|all of the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What is looked for.

    Attributes:
        queries: sounds that become tracks, each once.
        negative: sounds that must not be in them.
        mode: whether the tracks are wanted, or what remains without them.
        notes: how a removal in words was understood.
    """

    queries: tuple[str, ...]
    negative: tuple[str, ...]
    mode: Mode
    notes: tuple[str, ...] = ()


def asked(params: ClipSepParams, *, pictures: bool = False) -> Asked:
    """Take the queries of some parameters apart; `pictures` are looked for besides.

    Raises:
        UserError: no sound is named, or one takes too many words.
    """
    wanted: list[str] = []
    removed: list[str] = []
    negative = [_bare(text) for text in _lines(params.negative)]
    notes: list[str] = []
    for text in _lines(params.query):
        plain = _POLITE.sub("", text).strip() or text
        removal = _REMOVAL.match(plain)
        exception = None if removal else _EXCEPTION.match(plain)
        if removal:
            removed.append(_bare(removal[1]))
        elif exception:
            wanted.append(_bare(exception[1]))
            negative.append(_bare(exception[2]))
            notes.append(f"{quoted(text)} was taken as {wanted[-1]}, but not {negative[-1]}")
        else:
            wanted.append(_bare(plain))
    mode = params.mode
    if removed and mode == "keep" and not wanted and not pictures:
        mode = "remove"
        notes.append(f"This was taken as: remove {in_words(removed)}")
        wanted, removed = removed, []
    elif removed and mode == "keep":
        notes.append(f"{in_words(removed)}: kept out of the other tracks")
        negative += removed
    else:
        wanted += removed
    queries, unwanted = _once(wanted), _once(negative)
    if not queries and not pictures:
        raise UserError("Name a sound to look for, such as piano, rain or a dog barking")
    both = {query.casefold() for query in queries} & {text.casefold() for text in unwanted}
    if both:
        raise UserError(
            f"{quoted(sorted(both)[0])} is asked for and unwanted at once; take one of them away"
        )
    return Asked(queries, unwanted, mode, tuple(notes))


def quoted(text: str, most: int = 60) -> str:
    """A query in a sentence, shortened."""
    text = " ".join(text.split())
    return f"“{text if len(text) <= most else text[: most - 1] + '…'}”"


def _lines(texts: Sequence[str]) -> list[str]:
    """The texts, spaces made one; empty ones fall away."""
    found = [" ".join(text.split()) for text in texts]
    long = next((text for text in found if len(text) > LONGEST_QUERY), None)
    if long is not None:
        raise UserError(
            f"{quoted(long)} has {len(long)} characters; name a sound in {LONGEST_QUERY} at most"
        )
    return [text for text in found if text]


def _bare(text: str) -> str:
    return _ARTICLE.sub("", text.strip(" .,;:!?")).strip() or text


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    """Without repetitions, letter case aside, in order."""
    kept: dict[str, str] = {}
    for text in texts:
        kept.setdefault(text.casefold(), text)
    return tuple(kept.values())


def in_words(texts: Sequence[str]) -> str:
    """Some queries in a sentence."""
    shown = [quoted(text) for text in texts]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
