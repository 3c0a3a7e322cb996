"""Options of `presets`, `recipes` and `watch`, and those that `run` and `watch` share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS_COMMANDS = {
    "presets": "studio.commands.presets:show",
    "presets list": "studio.commands.presets:show",
    "presets save": "studio.commands.presets:save",
    "presets show": "studio.commands.presets:export",
    "presets add": "studio.commands.presets:add",
    "presets start": "studio.commands.presets:start",
    "presets rename": "studio.commands.presets:rename",
    "presets remove": "studio.commands.presets:remove",
    "recipes": "studio.commands.recipes:show",
    "recipes list": "studio.commands.recipes:show",
    "recipes show": "studio.commands.recipes:export",
    "recipes add": "studio.commands.recipes:add",
    "recipes rename": "studio.commands.recipes:rename",
    "recipes remove": "studio.commands.recipes:remove",
}
Add = Callable[[argparse.ArgumentParser], None]


def work_options(parser: argparse.ArgumentParser) -> None:
    """Settings of what is done with files."""
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE",
        help="a parameter; one that takes several values is given several times",
    )  # fmt: skip
    parser.add_argument("--preset", metavar="P", help="name of a preset, or a JSON file")
    parser.add_argument(
        "--keep-steps", action=argparse.BooleanOptionalAction, default=None,
        help="whether what a recipe's steps before the last one make is kept; the recipe says",
    )  # fmt: skip


def add_parsers(commands: Any, device: Add, json: Add) -> None:
    """The parsers of these commands; `device` and `json` add the options of those names."""
    presets = commands.add_parser(
        "presets", help="settings with a name: list, save, show, add, start, rename, remove"
    )
    verbs = presets.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    listed = verbs.add_parser("list", help="presets that are kept (also without a verb)")
    save = verbs.add_parser("save", help="keep settings under a name", allow_abbrev=False)
    save.add_argument("name", metavar="NAME")
    save.add_argument("engine", nargs="?", metavar="ENGINE", help="with --param")
    save.add_argument("--job", metavar="ID", help="take those of a job; `jobs` lists them")
    save.add_argument("--param", action="append", default=[], metavar="NAME=VALUE")
    show = verbs.add_parser("show", help="the preset's JSON file, to be kept or sent")
    show.add_argument("name", metavar="NAME")
    add = _adds(verbs, "keep the preset of a JSON file")
    start = verbs.add_parser("start", help="let its tab of the page begin with one")
    start.add_argument("name", metavar="NAME")
    start.add_argument("--off", action="store_true", help="no longer")
    rename, remove = _renames_and_removes(verbs)
    for verb in (show, start, rename, remove):
        verb.add_argument("--engine", metavar="ENGINE", help="where several have that name")
    for verb in (listed, save, add, start, rename, remove, presets):
        json(verb)

    recipes = commands.add_parser(
        "recipes", help="chains of engines: list, show, add, rename, remove"
    )
    verbs = recipes.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    listed = verbs.add_parser("list", help="recipes that there are (also without a verb)")
    show = verbs.add_parser("show", help="the recipe's file, to be read, kept or changed")
    show.add_argument("name", metavar="NAME")
    add = _adds(verbs, "keep the recipe of a TOML or JSON file")
    rename, remove = _renames_and_removes(verbs)
    for verb in (listed, show, add, rename, remove, recipes):
        json(verb)

    watch = commands.add_parser(
        "watch", help="process what comes into a folder, once it is there", allow_abbrev=False
    )
    watch.add_argument("folder", type=Path, metavar="IN", help="and the folders in it")
    what = watch.add_mutually_exclusive_group(required=True)
    what.add_argument("--recipe", metavar="R", help="a recipe's name, or its file")
    what.add_argument("--engine", metavar="ENGINE", help="such as raw.yond")
    watch.add_argument("--out", required=True, type=Path, metavar="OUT", help="where results go")
    work_options(watch)
    watch.add_argument(
        "--settle", type=float, default=3.0, metavar="SECONDS",
        help="how long a file must not have changed (3)",
    )  # fmt: skip
    watch.add_argument(
        "--every", type=float, default=1.0, metavar="SECONDS", help="between two looks (1)"
    )
    watch.add_argument(
        "--once", action="store_true", help="do what is there, and end instead of waiting for more"
    )
    watch.add_argument(
        "--again", action="store_true", help="forget what was done before, and do it again"
    )
    device(watch)


def _adds(verbs: Any, help: str) -> argparse.ArgumentParser:
    add: argparse.ArgumentParser = verbs.add_parser("add", help=help)
    add.add_argument("file", type=Path, metavar="FILE")
    add.add_argument("--name", default="", metavar="NAME", help="what to call it")
    add.add_argument("--replace", action="store_true", help="in the place of one of that name")
    return add


def _renames_and_removes(verbs: Any) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    rename: argparse.ArgumentParser = verbs.add_parser("rename", help="call one something else")
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("to", metavar="NEW")
    remove: argparse.ArgumentParser = verbs.add_parser(
        "remove", help="delete one; what it made stays"
    )
    remove.add_argument("name", metavar="NAME")
    return rename, remove
