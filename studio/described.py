"""What an engine says of itself, as plain values: for the command line, the API and the tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines import registry
from engines.base import takes_together

if TYPE_CHECKING:
    from studio.api.types import EngineFacts


def describe(engine_id: str) -> EngineFacts:
    """Facts of one engine; its parameters as JSON schemas by name.

    Raises:
        UserError: there is no such engine.
    """
    engine = registry.engine_class(engine_id)
    return {
        "id": engine.id,
        "title": engine.title,
        "tab": engine.tab,
        "summary": engine.summary,
        "version": engine.version,
        "accepts": list(engine.accepts),
        "suffixes": list(engine.suffixes),
        "together": takes_together(engine),
        "parameters": engine.Params.model_json_schema()["properties"],
    }
