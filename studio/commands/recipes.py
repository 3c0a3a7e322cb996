"""`recipes`: chains of engines, as files and in the studio."""

from __future__ import annotations

import argparse
from dataclasses import replace

from studio.commands import output, settings
from studio.config import LOCAL, VERSION
from studio.jobs.service import Studio
from studio.recipes.book import RecipeBook, read_recipe
from studio.recipes.recipe import Recipe


def show(args: argparse.Namespace) -> int:
    """List recipes with their steps."""
    found = _book(args).list(LOCAL)
    if args.json:
        _document(args, found)
        return 0
    output.table(
        [
            (recipe.name, "shipped" if recipe.shipped else "yours",
             " -> ".join(step.title for step in recipe.steps), recipe.about)
            for recipe in found
        ]
    )  # fmt: skip
    print("Run one with `run recipe:NAME FILES --out DIR`; `recipes show NAME` prints its file")
    return 0


def export(args: argparse.Namespace) -> int:
    """Print a recipe's file."""
    recipe = _book(args).find(LOCAL, args.name)
    if args.json:
        _document(args, [recipe])
    else:
        print(recipe.to_toml(), end="")
    return 0


def add(args: argparse.Namespace) -> int:
    """Check a file and keep its recipe."""
    recipe = read_recipe(args.file)
    if args.name:
        recipe = replace(recipe, name=args.name)
    kept = _book(args).save(LOCAL, recipe, replacing=args.replace)
    return _said(args, [kept], f"Kept; use it with `run recipe:{kept.name}`")


def rename(args: argparse.Namespace) -> int:
    """Call a recipe something else."""
    book = _book(args)
    book.rename(LOCAL, args.name, args.to)
    return _said(args, [book.find(LOCAL, args.to)], f"It is now {args.to}")


def remove(args: argparse.Namespace) -> int:
    """Delete a recipe."""
    _book(args).remove(LOCAL, args.name)
    return _said(args, [], f"Removed {args.name}")


def _book(args: argparse.Namespace) -> RecipeBook:
    return RecipeBook(Studio(settings.load(args)).factory)


def _said(args: argparse.Namespace, recipes: list[Recipe], text: str) -> int:
    if args.json:
        _document(args, recipes)
    else:
        print(text)
    return 0


def _document(args: argparse.Namespace, recipes: list[Recipe]) -> None:
    described = [
        {"name": recipe.name, "shipped": recipe.shipped, **recipe.content()} for recipe in recipes
    ]
    output.document(args, {"version": VERSION, "recipes": described})
