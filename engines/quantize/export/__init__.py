"""Exports: a quantized model as a folder that runtimes load."""

from engines.quantize.export.card import Card, CardLine, licence_of
from engines.quantize.export.formats import FORMATS, choose, refusal
from engines.quantize.export.traits import Traits, traits
from engines.quantize.export.writer import Writer

__all__ = [
    "FORMATS",
    "Card",
    "CardLine",
    "Traits",
    "Writer",
    "choose",
    "licence_of",
    "refusal",
    "traits",
]
