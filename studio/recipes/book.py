"""Where recipes are kept: those that ship in assets/recipes, and an owner's own in the database."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.schema import RecipeRow
from engines.base import UserError
from studio.jobs.views import NotFound
from studio.recipes.recipe import Recipe, Step, checked, from_text, named
from studio.transaction import transaction

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "recipes"
_LONGEST = 1 << 20  # bytes of a file
_MOST = 500  # of an owner


class RecipeBook:
    """An owner's recipes, and those that ship; every call takes the owner."""

    def __init__(self, factory: sessionmaker[Session]) -> None:
        self._factory = factory

    def list(self, owner: str) -> list[Recipe]:
        """Own ones by name, then those that ship."""
        query = select(RecipeRow).where(RecipeRow.owner == owner).order_by(RecipeRow.name)
        with self._factory() as session:
            return [*(_of(row) for row in session.scalars(query)), *shipped()]

    def find(self, owner: str, name: str) -> Recipe:
        """The recipe of that name.

        Raises:
            NotFound: there is none.
        """
        for recipe in self.list(owner):
            if recipe.name == name:
                return recipe
        there = ", ".join(recipe.name for recipe in self.list(owner))
        raise NotFound(f"There is no recipe called {name}; there are {there}")

    def save(self, owner: str, recipe: Recipe, *, replacing: bool = False) -> Recipe:
        """Keep a recipe, in the place of the one of that name if that is meant.

        Raises:
            UserError: its steps do not fit, or the name is taken.
        """
        kept = replace(checked(recipe), shipped=False)
        _not_shipped(kept.name)
        with transaction(self._factory) as session:
            row = _row(session, owner, kept.name)
            if row is not None and not replacing:
                raise UserError(f"There is a recipe called {kept.name} already; choose another")
            if row is None:
                if len(session.scalars(_mine(owner)).all()) >= _MOST:
                    raise UserError(f"At most {_MOST} recipes are kept; delete one first")
                row = RecipeRow(owner=owner, name=kept.name)
                session.add(row)
            row.content = kept.content()
            session.flush()
            return replace(kept, id=row.id)

    def rename(self, owner: str, name: str, to: str) -> None:
        """Give an own recipe another name.

        Raises:
            NotFound: there is none of that name.
            UserError: it ships, or the new name is taken.
        """
        new = named(to)
        _not_shipped(name)
        _not_shipped(new)
        with transaction(self._factory) as session:
            row = _row(session, owner, name)
            if row is None:
                raise NotFound(f"There is no recipe of yours called {name}")
            if new != name and _row(session, owner, new) is not None:
                raise UserError(f"There is a recipe called {new} already; choose another name")
            row.name = new

    def remove(self, owner: str, name: str) -> None:
        """Delete an own recipe; what it has made stays.

        Raises:
            NotFound: there is none of that name.
            UserError: it ships.
        """
        _not_shipped(name)
        with transaction(self._factory) as session:
            row = _row(session, owner, name)
            if row is None:
                raise NotFound(f"There is no recipe of yours called {name}")
            session.delete(row)


@lru_cache
def shipped() -> tuple[Recipe, ...]:
    """The recipes that come with the studio."""
    return tuple(
        replace(read_recipe(path), shipped=True) for path in sorted(SHIPPED.glob("*.toml"))
    )


def read_recipe(path: Path) -> Recipe:
    """A recipe out of a file.

    Raises:
        UserError: it cannot be read, or is no recipe.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise UserError(f"This file is too long for a recipe: {path.name}")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"This recipe cannot be read; check its path: {path}") from error
    return from_text(text, path.stem)


def _of(row: RecipeRow) -> Recipe:
    """As it was kept; an engine may have gone or changed since, which a run says."""
    found = cast("dict[str, Any]", row.content)
    steps = tuple(Step(one["engine"], one["params"]) for one in found["steps"])
    return Recipe(row.name, steps, found["about"], found["keep"], row.id)


def _mine(owner: str) -> Any:
    return select(RecipeRow).where(RecipeRow.owner == owner)


def _row(session: Session, owner: str, name: str) -> RecipeRow | None:
    return session.scalar(_mine(owner).where(RecipeRow.name == name))


def _not_shipped(name: str) -> None:
    if name in {recipe.name for recipe in shipped()}:
        raise UserError(f"{name} ships with the studio and stays as it is; choose another name")
