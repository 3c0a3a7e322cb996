"""Alembic migrations: append-only, one file a revision."""
