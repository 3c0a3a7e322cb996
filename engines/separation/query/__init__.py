"""From words or pictures to the numbers that a separation network takes as its query.

Which space the numbers are in is the network's: MiniLM's for those trained here, CLIP's for the
authors' checkpoints. Nothing is fetched but CLIP from the hub, and that only where a checkpoint
needs it and no folder is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engines.base import UserError
from engines.separation.model import Separator
from engines.separation.query.clip import HUB, ClipEncoder
from engines.separation.query.pictures import PicturedWords, is_clip
from engines.separation.query.ridge import MappedEncoder, is_map
from engines.separation.query.sentences import SentenceEncoder, packaged
from engines.separation.query.table import TableEncoder

KNOWN_FROM = 0.45  # cosine to a trained word from which a network may be expected to know a sound


class QueryEncoder(Protocol):
    """Maker of queries; `space` is that of `Separator.encoder`."""

    @property
    def space(self) -> str:
        """See the class."""
        ...

    def text(self, texts: Sequence[str]) -> Tensor:
        """(n, E) float32 of texts; (n,) numbers for labels.

        Raises:
            UserError: a text says nothing, or nothing that is known.
        """
        ...

    def picture(self, paths: Sequence[Path]) -> Tensor:
        """(n, E) float32 of example pictures.

        Raises:
            UserError: this space has no pictures, or a file is none.
        """
        ...


class LabelEncoder:
    """Texts -> numbers of the trained labels that they come nearest to."""

    space = "label"

    def __init__(self, separator: Separator, sentences: QueryEncoder) -> None:
        self._separator = separator
        self._sentences = sentences

    def text(self, texts: Sequence[str]) -> Tensor:
        """See `QueryEncoder`."""
        places = {word.lower(): place for place, word in enumerate(self._separator.words)}
        return torch.tensor([self._one(text, places) for text in texts])

    def _one(self, text: str, places: dict[str, int]) -> int:
        exact = places.get(text.strip().lower())
        if exact is not None:
            return exact
        cosines = _cosines(self._separator.known, self._sentences.text([text])[0])
        best = int(cosines.argmax())
        if cosines[best] < KNOWN_FROM:
            raise UserError(
                f"This model knows a list of sounds and “{text[:40]}” is not among them; nearest "
                f"is “{self._separator.words[best]}”"
            )
        return best

    def picture(self, paths: Sequence[Path]) -> Tensor:
        """Never: it has a list of words."""
        raise UserError("This model knows a list of words; choose CLIPSep for an example picture")


def encoder_for(separator: Separator, folder: str = "") -> QueryEncoder:
    """The encoder of a network's queries.

    Args:
        separator: the network.
        folder: of an encoder of the person's own (MiniLM or CLIP in safetensors, or a map that
            `ridge` fitted); "" looks for what is installed. With CLIP a network of words takes
            pictures as well.

    Raises:
        UserError: the network takes no query, or the folder holds no such encoder.
    """
    own = Path(folder).expanduser() if folder else None
    if own is not None and not own.is_dir():
        raise UserError(f"There is no folder {own.name} here; check the path of the query encoder")
    if separator.encoder == "none":
        raise UserError("This model separates without a query; choose a CLIPSep model to ask")
    if separator.encoder == "clip":
        if own is not None and is_map(own):
            return MappedEncoder(own, _sentences(None))
        return ClipEncoder(own or HUB)
    if own is not None and separator.encoder == "minilm" and is_clip(own):
        return PicturedWords(separator, _sentences(None), ClipEncoder(own))
    sentences = _sentences(own)
    return LabelEncoder(separator, sentences) if separator.encoder == "label" else sentences


def nearest(separator: Separator, embedding: Tensor) -> list[tuple[str, float]]:
    """Trained words by their cosine to a query, the nearest first; none where none are known.

    Args:
        separator: the network.
        embedding: (E,), or a label's number.
    """
    if separator.encoder == "label":
        return [(separator.words[int(embedding)], 1.0)]
    if not len(separator.known):
        return []
    cosines = _cosines(separator.known, embedding.float())
    order = cosines.argsort(descending=True).tolist()
    return [(separator.words[int(place)], float(cosines[int(place)])) for place in order]


def _sentences(folder: Path | None) -> QueryEncoder:
    found = folder or packaged()
    return TableEncoder() if found is None else SentenceEncoder(found)


def _cosines(known: Tensor, query: Tensor) -> Tensor:
    return functional.normalize(known, dim=-1) @ functional.normalize(query, dim=-1)
