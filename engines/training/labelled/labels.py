"""The table of labels, `labels.toml`: wordings, kinds, what is alike, where recordings lie."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

Split = Literal["train", "valid", "test", "zeroshot"]
TABLE = Path(__file__).with_name("labels.toml")


@dataclass(frozen=True)
class Label:
    """One sound that a person may ask for.

    Attributes:
        name: what it is called, also the first of its wordings.
        words: how a person may ask for it.
        kinds: names of what it is a kind of (hypernyms).
        like: other labels that the same words may mean.
        train: sources of recordings to train on, `package:pattern` or `made:name`.
        test: sources of recordings that no training hears.
        midi: General MIDI programs that play it.
        drums: notes of General MIDI's drum channel that play it.
        kit: the drums are played together, as a drummer does.
        hits: its recordings are single blows; rhythms are made of them.
        unseen: no recording of it is trained on.
    """

    name: str
    words: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    midi: tuple[int, ...] = ()
    drums: tuple[int, ...] = ()
    kit: bool = False
    hits: bool = False
    unseen: bool = False


@dataclass(frozen=True)
class Table:
    """All labels by name, and the wordings of their kinds."""

    labels: Mapping[str, Label]
    kinds: Mapping[str, tuple[str, ...]]

    def related(self, name: str) -> set[str]:
        """Labels that a query for this one may mean too, the label itself among them."""
        own = self.labels[name]
        found = {name, *own.like, *(k for k in own.kinds if k in self.labels)}
        for other in self.labels.values():
            if name in other.like or name in other.kinds:
                found.add(other.name)
        return found


@lru_cache
def table(path: Path = TABLE) -> Table:
    """The labels in the order of the file."""
    with path.open("rb") as file:
        read = tomllib.load(file)
    kinds = {name: tuple(words) for name, words in read.pop("kinds").items()}
    labels = {name: _label(name, entry) for name, entry in read.items()}
    return Table(labels, kinds)


def _label(name: str, entry: dict[str, object]) -> Label:
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    unseen = values.pop("split", "") == "zeroshot"
    return Label(name=name, unseen=unseen, **values)  # pyright: ignore[reportArgumentType]
