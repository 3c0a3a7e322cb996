"""`engines`: what there is, with parameters, as the engines say it themselves."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from engines import registry
from studio.commands import output
from studio.config import VERSION
from studio.described import describe


def engines(args: argparse.Namespace) -> int:
    """List all engines, or one with its parameters."""
    ids = [args.engine] if args.engine is not None else registry.engine_ids()
    described = [describe(engine_id) for engine_id in ids]
    if args.json:
        output.document(args, {"version": VERSION, "engines": described})
    elif args.engine is None:
        output.table([(one["id"], one["tab"], one["summary"]) for one in described])
    else:
        _print_one(described[0])
    return 0


def _print_one(engine: Mapping[str, Any]) -> None:
    output.table(
        [
            (engine["id"], f"{engine['title']}: {engine['summary']}"),
            ("reads", " ".join(engine["suffixes"])),
        ]
    )
    for name, schema in engine["parameters"].items():
        unit = f" {schema['unit']}" if schema.get("unit") else ""
        advanced = ", advanced" if schema.get("advanced") else ""
        print(f"\n--param {name}={_values(schema)}{unit}")
        print(f"  {schema['description']} (default: {_default(schema)}{advanced})")


def _values(schema: dict[str, Any]) -> str:
    """What may stand behind the equals sign, in words."""
    if schema.get("type") == "array":
        return f"{_values(schema['items'])} (may be given several times)"
    for kind in schema.get("anyOf", ()):  # a value, or null for automatic
        if kind.get("type") != "null":
            return f"{_values(kind)} or automatic"
    if "enum" in schema:
        return "|".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    words = {"boolean": "true|false", "string": "TEXT", "integer": "N", "number": "X"}
    word = words.get(str(schema.get("type")), "VALUE")
    if low is not None and high is not None:
        return f"{word} ({low:g} to {high:g})"
    return f"{word} (from {low:g})" if low is not None else word


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
