"""Labelled sounds to train separation by a query on: a library out of Debian packages, a mixer."""

from engines.training.labelled.labels import Split, Table, table
from engines.training.labelled.library import Labelled, load_labelled
from engines.training.labelled.mixer import Example, Mixer

__all__ = ["Example", "Labelled", "Mixer", "Split", "Table", "load_labelled", "table"]
