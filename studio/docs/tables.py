"""The tables in README.md and docs/, filled from the figures that the benches printed.

A page says in a comment what a table shows, as TOML; what stands between the comment and
`<!-- end of table -->` is written by `python launch.py docs tables` and held by a test:

    <!-- table
    figures = "separation"                  # docs/figures/separation.json, a document of `bench`
    rows = "system"                         # whose values become the rows, in order of `names`
    columns = "set"                         # whose values become the columns; left out: see cells
    cell = "{sdr_median} dB"                # what stands where they meet; `{x:.1f}` as in Python
    names = {"mixture" = "as it is"}        # rows that are shown, as they are called here
    heads = {"seen, 2" = "two sounds"}      # columns that are shown, as they are called here
    where = {"device" = "cpu"}              # rows of the figures that count at all
    -->

Without `columns`, `cells = {"head" = "{field} MB"}` names what each column shows of its row. A
figure that was not measured leaves its cell empty.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engines.base import UserError

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"
_TABLE = re.compile(
    r"<!-- table\n(?P<asked>.*?)-->\n(?P<shown>.*?)<!-- end of table -->", re.DOTALL
)


class Table(BaseModel):
    """What a page asks for; see the module's text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    figures: str
    rows: str
    columns: str = ""
    cell: str = ""
    cells: dict[str, str] = {}
    names: dict[str, str] = {}
    heads: dict[str, str] = {}
    where: dict[str, Any] = {}


def pages() -> list[Path]:
    """Every document that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(page: str, figures: Path = FIGURES) -> str:
    """The page with each of its tables as the figures have it now.

    Raises:
        UserError: a table asks for figures that are not there, or is not written as it should be.
    """
    return _TABLE.sub(lambda found: _filled(found, figures), page)


def _filled(found: re.Match[str], figures: Path) -> str:
    try:
        table = Table.model_validate(tomllib.loads(found["asked"]))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise UserError(
            f"A table in the documents is not written as it should be: {error}"
        ) from error
    source = figures / f"{table.figures}.json"
    if not source.is_file():
        raise UserError(
            f"There are no figures for a table in the documents; make them: python launch.py bench "
            f"{table.figures} --json > {source.relative_to(ROOT)}"
        )
    rows = json.loads(source.read_text(encoding="utf-8"))["rows"]
    return f"<!-- table\n{found['asked']}-->\n{render(table, rows)}<!-- end of table -->"


def render(table: Table, rows: list[dict[str, Any]]) -> str:
    """A table in Markdown.

    Raises:
        UserError: none of the figures is in it.
    """
    rows = [row for row in rows if all(row.get(key) == value for key, value in table.where.items())]
    found = dict.fromkeys(row[table.rows] for row in rows if table.rows in row)
    names: Mapping[str, str] = table.names or {str(value): str(value) for value in found}
    if table.columns:
        there = dict.fromkeys(row[table.columns] for row in rows if table.columns in row)
        heads: Mapping[str, str] = table.heads or {str(value): str(value) for value in there}
        cells = {
            (str(row[table.rows]), str(row[table.columns])): _cell(table.cell, row)
            for row in rows if table.rows in row and table.columns in row
        }  # fmt: skip
    else:
        heads = {head: head for head in table.cells}
        cells = {
            (str(row[table.rows]), head): _cell(text, row)
            for row in rows if table.rows in row
            for head, text in table.cells.items()
        }  # fmt: skip
    lines = [[names[name], *(cells.get((name, head), "") for head in heads)] for name in names]
    lines = [line for line in lines if any(line[1:])]
    if not lines:
        raise UserError(f"A table in the documents shows nothing of its figures: {table.figures}")
    head = [["", *heads.values()], ["---"] * (len(heads) + 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in head + lines)


def _cell(text: str, row: Mapping[str, Any]) -> str:
    """The text with the row's figures in it; empty where one was not measured."""
    try:
        return text.format_map(row)
    except (KeyError, TypeError, ValueError):
        return ""
