"""Presets that a tab begins with"""

# pyright: basic
from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add whether a preset's tab begins with it; none did."""
    op.add_column(
        "presets", sa.Column("starts", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
