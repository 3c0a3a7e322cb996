"""Every setting of a studio that serves others: its option, its variable, and what it means.

The command line, the environment and the table in docs/serving.md are made from here.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.passwords import LEAST

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True)
class Option:
    """One setting.

    Attributes:
        name: field of `Settings`.
        help: what it is, for the command line and the table.
        read: from text; raises ValueError.
        what: what is expected, for the sentence about a wrong value.
        flag: option of the command line; "" where there is none.
        variable: of the environment; "" where there is none.
        metavar: as the command line shows the value.
    """

    name: str
    help: str
    read: Callable[[str], Any]
    what: str
    flag: str = ""
    variable: str = ""
    metavar: str = "N"


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _amount(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or number < 0:
        raise ValueError
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError
    return number


def _yes(text: str) -> bool:
    if text.strip().lower() in _YES:
        return True
    if text.strip().lower() in _NO:
        return False
    raise ValueError


def _limit(name: str, help: str, *, whole: bool = True) -> Option:
    return Option(
        name, help, _count if whole else _amount, "a number from 0",
        f"--{name.replace('_', '-')}", f"STUDIO_{name.upper()}",
    )  # fmt: skip


OPTIONS = (
    Option("home", "folder of everything that is kept", Path, "a folder", variable="STUDIO_HOME"),
    Option("database_url", "SQLAlchemy URL of the database; without one it is SQLite in that "
           "folder", str, "a URL", variable="STUDIO_DATABASE_URL"),
    Option("host", "address to listen on; 0.0.0.0 for the local network", str, "an address",
           "--host", "STUDIO_HOST", "ADDRESS"),
    Option("port", "first port to try", _port, "a port", "--port", "STUDIO_PORT"),
    Option("share", "a public address through Gradio's tunnel; needs a password", _yes,
           "1 or 0", "--share", "STUDIO_SHARE"),
    Option("auth", "what visitors have to give; several times for several people, each of whom "
           "sees only their own (in the variable one a line)", lambda text: read_auth([text]),
           "USER:PASSWORD", "--auth", "STUDIO_AUTH", "USER:PASSWORD"),
    Option("device", "cpu, cuda or mps; by default the best there is", str, "a device",
           "--device", "STUDIO_DEVICE"),
    Option("mcp", "offer the engines as MCP tools at /studio/mcp", _yes, "1 or 0",
           "--mcp", "STUDIO_MCP"),
    _limit("max_upload_mb", "largest file that may be sent, in MB"),
    _limit("max_files", "most files that a visitor may run at once"),
    _limit("max_megapixels", "largest picture of a visitor's", whole=False),
    _limit("max_media_minutes", "longest sound or film of a visitor's", whole=False),
    _limit("max_job_minutes", "longest that a visitor's job may take", whole=False),
    _limit("max_waiting_jobs", "most jobs that one owner may have waiting"),
    _limit("max_waiting_all", "most jobs that may wait, of all together"),
    _limit("max_jobs_hour", "most jobs that a visitor may ask for in an hour"),
    _limit("max_stored_mb", "most that a visitor may keep, in MB"),
    _limit("min_free_mb", "what visitors leave free on the disk, in MB"),
    _limit("keep_hours", "a visitor's session is deleted so long after its last use", whole=False),
    _limit("gpu_seconds", "how long a job may hold the card of a ZeroGPU Space"),
)  # fmt: skip


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What the environment sets, by field of `Settings`.

    Raises:
        UserError: a value cannot be used.
    """
    from engines.base import UserError  # brings pydantic, which `--help` has no time for

    found: dict[str, Any] = {}
    for option in OPTIONS:
        text = environment.get(option.variable, "") if option.variable else ""
        if not text or option.name == "home":  # a Space's home is looked for before
            continue
        try:
            found[option.name] = option.read(text)
        except ValueError:
            raise UserError(f"{option.variable} is {option.what}, not {text!r}") from None
    return found


def add_options(group: argparse._ArgumentGroup) -> None:
    """Options of all limits for the command line."""
    for option in OPTIONS:
        if option.name.startswith(("max_", "min_", "keep_", "gpu_")):
            group.add_argument(
                option.flag, dest=option.name, metavar=option.metavar, help=option.help,
                type=_checked(option),
            )  # fmt: skip


def _checked(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{option.what} is expected, not {text!r}") from None

    return read


def read_auth(given: list[str]) -> tuple[tuple[str, str], ...]:
    """Users and passwords, each USER:PASSWORD, one a line where it is a text of several.

    Raises:
        UserError: one is incomplete, too short, or there twice.
    """
    from engines.base import UserError

    users: dict[str, str] = {}
    for line in [line.strip() for text in given for line in text.splitlines()]:
        if not line:
            continue
        user, _, password = line.partition(":")
        if not user or not password:
            raise UserError("A user and a password are given as USER:PASSWORD")
        if len(password) < LEAST:
            raise UserError(f"The password of {user} is short; take {LEAST} characters or more")
        if user in users:
            raise UserError(f"There are two passwords of {user}; give one")
        users[user] = password
    return tuple(users.items())
