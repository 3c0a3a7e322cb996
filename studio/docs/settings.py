"""The table of all settings in docs/serving.md."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from studio.config import SPACE, Settings
from studio.options import OPTIONS


def table() -> str:
    """All settings as a Markdown table."""
    defaults = {field.name: field.default for field in fields(Settings)}
    lines = ["| Option | Variable | Default | On a Space | What it is |", "|---|---|---|---|---|"]
    for option in OPTIONS:
        usual = defaults[option.name]
        cells = [
            f"`{option.flag}`" if option.flag else "",
            f"`{option.variable}`" if option.variable else "",
            _shown(usual),
            _shown(SPACE[option.name]) if option.name in SPACE else "",
            option.help,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{value:g}"
    return str(value) if isinstance(value, str) else ""
