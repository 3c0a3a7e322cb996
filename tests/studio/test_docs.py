"""What the documents say is so: tables, links, commands with their flags, engines, benches."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from engines import registry
from engines.base import UserError
from engines.training import recipes
from studio.bench import BENCHES
from studio.cli import parser
from studio.docs import tables

PAGES = tables.pages()
COMMAND = re.compile(r"python launch\.py(?P<rest>[^`#\n]*)")
LINK = re.compile(r"\]\((?!https?:)(?P<to>[^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_what_the_figures_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert tables.filled(text) == text, "python launch.py docs tables"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for found in LINK.finditer(page.read_text(encoding="utf-8")):
        assert (page.parent / found["to"]).exists(), found["to"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_given(page: Path) -> None:
    for found in COMMAND.finditer(page.read_text(encoding="utf-8")):
        words = [word for word in shlex.split(found["rest"]) if word not in ("|", ">")]
        if words[:1] == ["test"] or "..." in words or any(word.isupper() for word in words):
            continue  # pytest's; a form, not a command
        args = parser().parse_args(words)
        if args.command == "run" and not args.engine.startswith("recipe:"):
            fields = registry.engine_class(args.engine).Params.model_fields
            for param in args.param:
                assert param.partition("=")[0] in fields, found[0]
        if args.command == "bench":
            assert args.name in (None, *BENCHES), found[0]
        if args.command == "train":
            assert args.recipe in (None, *recipes()), found[0]


def test_engines_and_benches_of_the_documents_exist() -> None:
    tabs = {engine.partition(".")[0] for engine in registry.engine_ids()}
    name = re.compile(rf"`((?:{'|'.join(sorted(tabs))})\.[a-z_]+)`")
    for page in PAGES:
        for found in name.finditer(page.read_text(encoding="utf-8")):
            registry.engine_class(found[1])
    for figures in tables.FIGURES.glob("*.json"):
        assert json.loads(figures.read_text(encoding="utf-8"))["bench"] == figures.stem
        assert figures.stem in BENCHES


ROWS = [
    {"who": "ours", "size": 1, "psnr": 30.123},
    {"who": "ours", "size": 2, "psnr": 31.0},
    {"who": "peer", "size": 1, "psnr": None},
    {"who": "peer", "size": 2, "psnr": 29.0, "busy": True},
]


def test_a_table_is_rows_against_columns() -> None:
    asked = tables.Table(figures="x", rows="who", columns="size", cell="{psnr:.1f}")
    assert tables.render(asked, ROWS).splitlines() == [
        "|  | 1 | 2 |", "| --- | --- | --- |", "| ours | 30.1 | 31.0 |", "| peer |  | 29.0 |",
    ]  # fmt: skip


def test_a_table_shows_what_it_names_and_in_that_order() -> None:
    asked = tables.Table(
        figures="x", rows="who", cells={"dB": "{psnr:.0f}"}, where={"size": 2},
        names={"peer": "SPAN", "gone": "not measured", "ours": "**ours**"},
    )  # fmt: skip
    assert tables.render(asked, ROWS).splitlines()[2:] == ["| SPAN | 29 |", "| **ours** | 31 |"]


def test_a_table_of_nothing_is_an_error(tmp_path: Path) -> None:
    asked = tables.Table(figures="x", rows="who", cells={"dB": "{ssim}"})
    with pytest.raises(UserError, match="shows nothing"):
        tables.render(asked, ROWS)
    (tmp_path / "x.json").write_text(json.dumps({"rows": ROWS}))
    page = "<!-- table\nfigures = 'x'\nrows = 'who'\ncels = {}\n-->\n<!-- end of table -->"
    with pytest.raises(UserError, match="cels"):
        tables.filled(page, tmp_path)
