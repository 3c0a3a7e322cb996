"""From MiniLM's space into CLIP's, by a linear map that is fitted once where CLIP is at hand.

So a CLIPSep checkpoint of the authors works later without CLIP: `python -m
engines.separation.query.ridge CLIP_FOLDER TARGET_FOLDER`, and TARGET_FOLDER is the query encoder.
Pictures need CLIP itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engines.base import UserError
from engines.separation.query.clip import SIZE, SPACE, ClipEncoder
from engines.separation.query.sentences import SIZE as TEXT_SIZE
from engines.separation.query.table import TableEncoder

_FILE = "minilm-to-clip.safetensors"
_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_FOLDS = 5


class Sentences(Protocol):
    """Maker of MiniLM's embeddings."""

    def text(self, texts: Sequence[str]) -> Tensor:
        """(n, 384)."""
        ...


class MappedEncoder:
    """Texts -> (n, 512) in CLIP's space, without CLIP.

    Args:
        folder: with a map that `main` wrote.
        sentences: MiniLM, or its table.

    Raises:
        UserError: the file is damaged.
    """

    space = SPACE

    def __init__(self, folder: Path, sentences: Sentences) -> None:
        try:
            self._map = load_file(folder / _FILE)["map"]
        except Exception as error:
            # safetensors raises many kinds of error on foreign bytes; all mean the same here.
            raise UserError(f"{_FILE} cannot be read; fit the map again") from error
        if self._map.shape != (TEXT_SIZE + 1, SIZE):
            raise UserError(f"{_FILE} is of another size; fit the map again")
        self._sentences = sentences

    def text(self, texts: Sequence[str]) -> Tensor:
        """See the class."""
        return _with_one(self._sentences.text(texts)) @ self._map

    def picture(self, paths: Sequence[Path]) -> Tensor:
        """Never: the map knows words."""
        raise UserError("An example picture needs CLIP itself; name a CLIP folder as the encoder")


def is_map(folder: Path) -> bool:
    """Whether the folder holds a map."""
    return (folder / _FILE).is_file()


def fit(known: Tensor, wanted: Tensor) -> tuple[Tensor, float]:
    """Ridge regression with the strength that does best on what was left out.

    Args:
        known: (n, 384).
        wanted: (n, 512).

    Returns:
        Map (385, 512), whose last row is a constant, and the mean cosine on what was left out.
    """
    inputs = _with_one(known).double()
    targets = wanted.double()
    folds = torch.arange(len(inputs)) % _FOLDS
    scores = {}
    for strength in _STRENGTHS:
        made = torch.zeros_like(targets)
        for fold in range(_FOLDS):
            out = folds == fold
            made[out] = inputs[out] @ _solve(inputs[~out], targets[~out], strength)
        scores[strength] = float(torch.cosine_similarity(made, targets).mean())
    best = max(scores, key=lambda strength: scores[strength])
    return _solve(inputs, targets, best).float().contiguous(), scores[best]


def _solve(inputs: Tensor, targets: Tensor, strength: float) -> Tensor:
    square = inputs.T @ inputs
    free = torch.eye(len(square), dtype=square.dtype) * strength
    free[-1, -1] = 0.0  # the constant is free
    return torch.linalg.solve(square + free, inputs.T @ targets)


def _with_one(known: Tensor) -> Tensor:
    return torch.cat([known, torch.ones(len(known), 1, dtype=known.dtype)], dim=1)


def main(arguments: Sequence[str]) -> None:
    """Fit and write a map; see the module's text."""
    source, target = map(Path, arguments)
    table = TableEncoder()
    fitted, cosine = fit(table.text(table.texts), ClipEncoder(source).text(table.texts))
    target.mkdir(parents=True, exist_ok=True)
    save_file({"map": fitted}, target / _FILE)
    sys.stdout.write(f"{target / _FILE}: mean cosine {cosine:.3f} on phrases that were left out\n")


if __name__ == "__main__":
    main(sys.argv[1:])
