"""${message}."""

# pyright: basic
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision).replace("'", '"')}
down_revision = ${repr(down_revision).replace("'", '"')}


def upgrade() -> None:
    """${message}."""
    ${upgrades if upgrades else "pass"}
