"""What the library shows, finds and sorts by, and the trash"""

# pyright: basic
from __future__ import annotations

import os
from pathlib import PurePath

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_INPUTS_AND_RESULTS = sa.text(
    'SELECT a.job_number, a.role, a.kind, a.path, a.bytes, a."primary", j.out_dir '
    "FROM artifacts a JOIN jobs j ON j.number = a.job_number ORDER BY a.job_number, a.position"
)
_FILL = sa.text(
    "UPDATE jobs SET name = :name, words = :words, kind = :kind, bytes = :bytes "
    "WHERE number = :number"
)


def upgrade() -> None:
    """Add the columns and their indexes, and fill them from the files of each job.

    A camera is known only of jobs that run from now on: it stands in the files.
    """
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        for name, kind, default in (
            ("name", sa.String(length=200), sa.text("''")),
            ("words", sa.String(), sa.text("''")),
            ("kind", sa.String(length=12), sa.text("''")),
            ("camera", sa.String(length=120), sa.text("''")),
            ("bytes", sa.BigInteger(), "0"),
        ):
            batch_op.add_column(sa.Column(name, kind, nullable=False, server_default=default))
        batch_op.add_column(sa.Column("deleted", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index("ix_jobs_deleted", ["deleted"], unique=False)
    with op.batch_alter_table("artifacts", schema=None) as batch_op:
        batch_op.create_index("ix_artifacts_owner_sha256", ["owner", "sha256"], unique=False)
    with op.batch_alter_table("measurements", schema=None) as batch_op:
        batch_op.create_index("ix_measurements_name_value", ["name", "value"], unique=False)
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    jobs: dict[int, list[sa.Row]] = {}
    for row in connection.execute(_INPUTS_AND_RESULTS):
        jobs.setdefault(row.job_number, []).append(row)
    found = [_columns(number, files) for number, files in jobs.items()]
    if found:
        connection.execute(_FILL, found)


def _columns(number: int, files: list[sa.Row]) -> dict[str, object]:
    inputs = [file for file in files if file.role == "input"]
    outputs = [file for file in files if file.role == "output"]
    names = dict.fromkeys(_name(file.path) for file in (*inputs, *outputs))
    more = f" and {len(inputs) - 1} more" if len(inputs) > 1 else ""
    main = next((file for file in outputs if file.primary), (outputs or inputs or files)[0])
    ours = [
        file for file in files
        if file.role != "input" and not (file.role == "output" and file.out_dir)
    ]  # fmt: skip
    return {
        "number": number,
        "name": f"{_name(inputs[0].path)}{more}"[:200] if inputs else "",
        "words": "\n".join(names).casefold(),
        "kind": main.kind,
        "bytes": sum(file.bytes for file in ours),
    }


def _name(path: str) -> str:
    """File name of a stored path; one whose bytes are no text is stored in hexadecimal."""
    if path.startswith("bytes:"):
        path = os.fsdecode(bytes.fromhex(path.removeprefix("bytes:")))
    return PurePath(path).name.encode(errors="replace").decode()
