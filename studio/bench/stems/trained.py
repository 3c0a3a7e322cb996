"""The networks of `separation.clipsep` as systems: what each is asked, and what it answers with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engines import weights
from engines.base import UserError
from engines.separation.masks import shares
from engines.separation.model import Masks, Separator
from engines.separation.query import QueryEncoder, encoder_for
from studio.bench.stems.classic import Separate, in_best_order, spectrum, wave
from studio.bench.stems.paraphrases import paraphrase
from studio.bench.stems.sets import Mixture, Wave

_LEVEL = 0.2  # what the engine brings the 99.9th percentile to, see engines.separation.process


class Network:
    """A network on the CPU with its queries.

    Attributes:
        separator: the network.
        steps: of its training.

    Args:
        recipe: name of the recipe that made it, and of its file.
        places: folders that are looked into, one after the other.

    Raises:
        UserError: its weights are in none of them.
    """

    def __init__(self, recipe: str, *places: Path) -> None:
        files = (place / f"{recipe}.safetensors" for place in places)
        path = next((file for file in files if file.is_file()), None)
        if path is None:
            raise UserError(f"train {recipe} first; its weights are not on this machine")
        file = weights.read_model(path, recipe, "yours")
        self.separator = Separator.of(weights.load(file, "cpu"))
        self.steps = int(file.card.get("steps", 0))
        self._encoder: QueryEncoder | None = None
        self._known: dict[str, Tensor] = {}

    def query(self, text: str) -> Tensor:
        """Query of a text, kept.

        Raises:
            UserError: the network does not know the word.
        """
        if text not in self._known:
            self._encoder = self._encoder or encoder_for(self.separator)
            self._known[text] = self._encoder.text([text])[0]
        return self._known[text]

    def masks(self, mixed: Wave, texts: list[str]) -> Tensor:
        """(Q, 513, T) masks of a mixture for these queries.

        Raises:
            UserError: the network does not know one of the words.
        """
        return self.answer(mixed, texts).query[:, 0]

    def answer(self, mixed: Wave, texts: list[str]) -> Masks:
        """All that the network says to these queries of one channel.

        Raises:
            UserError: the network does not know one of the words.
        """
        queries = torch.stack([self.query(text) for text in texts])
        return self.separator.masks(_modulus(mixed), queries)

    def pair(self, mixed: Wave) -> Tensor:
        """(2, 513, T) masks of a network that takes no query."""
        nothing = torch.zeros(0, self.separator.embedding)
        noise = self.separator.masks(_modulus(mixed), nothing).noise
        assert noise is not None
        return noise[:, 0]


def by_name(network: Network) -> Separate:
    """Each source alone by its label, as somebody asks for one sound in the studio."""
    return lambda one: _applied(_alone(network, one, [one.labels[n] for n in one.asked]), one)


def by_other_words(network: Network) -> Separate:
    """Each source alone by words that no training read."""
    return lambda one: _applied(
        _alone(network, one, [paraphrase(one.labels[n]) for n in one.asked]), one
    )


def plainly(network: Network) -> Separate:
    """Each source alone by its label, the mask as the network gives it."""
    return lambda one: _applied(network.masks(one.mixed, [one.labels[n] for n in one.asked]), one)


def all_named(network: Network) -> Separate:
    """All labels of the mixture at once, which share it out, as the engine does by default."""

    def separate(one: Mixture) -> Wave:
        masks = network.masks(one.mixed, list(one.labels))
        found, _ = shares(masks, masks[:0], kind="soft", competition=True)
        return _applied(found[list(one.asked)], one)

    return separate


def unnamed(network: Network) -> Separate:
    """Two parts without names, each source taking the one that resembles it more."""

    def separate(one: Mixture) -> Wave:
        masks = network.pair(one.mixed).numpy()
        parts = wave((spectrum(one.mixed) * masks).astype(np.complex64), one.mixed.shape[-1])
        return in_best_order(parts, one)

    return separate


def presence(network: Network, mixed: Wave, text: str) -> float:
    """Share of a mixture's energy that the mask of a query keeps."""
    masks = network.answer(mixed, [text])
    power = np.square(np.abs(spectrum(mixed)))
    kept = np.square(masks.query[0, 0].numpy())
    return float((power * kept).sum() / (power.sum() + 1e-12))


def _alone(network: Network, one: Mixture, texts: list[str]) -> Tensor:
    """(Q, 513, T) shares of the mixture where each query competes with the rest alone."""
    masks = network.masks(one.mixed, texts)
    nothing = masks[:0]
    return torch.cat(
        [shares(mask[None], nothing, kind="soft", competition=True)[0] for mask in masks]
    )


def _modulus(mixed: Wave) -> Tensor:
    """(1, 513, T) at the level that the engine works at."""
    loud = float(np.quantile(np.abs(mixed), 0.999))
    return torch.from_numpy(np.abs(spectrum(mixed)) * np.float32(_LEVEL / max(loud, 1e-4)))[None]


def _applied(masks: Tensor, one: Mixture) -> Wave:
    whole = spectrum(one.mixed)
    return wave((whole * masks.numpy()).astype(np.complex64), one.mixed.shape[-1])
