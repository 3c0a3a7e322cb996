"""Alembic's entry: runs on the connection, and in the transaction, of `db.database`."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import TypeDecorator

from db.schema import Base


def _plain_types(kind: str, item: Any, _autogenerate: Any) -> str | Literal[False]:
    """A revision names the column's own type: our decorators may change, a revision may not."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=_plain_types,
)
with context.begin_transaction():
    context.run_migrations()
