"""From the command line's options to `studio.config.Settings`."""

from __future__ import annotations

import argparse
import re

from engines.base import UserError
from studio.config import Settings
from studio.options import OPTIONS, read_auth

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_CLUSTER = re.compile(r"dask://\[?[A-Za-z0-9.:-]+\]?:[0-9]{1,5}/?")


def load(args: argparse.Namespace) -> Settings:
    """Settings with what was given on the command line.

    Raises:
        UserError: an option's value is none that is known.
    """
    given = {option.name: getattr(args, option.name, None) for option in OPTIONS}
    given |= {
        "auth": read_auth(args.auth) if args.auth else None,
        "open_browser": args.open_browser,
        "executor": _executor(args.executor),
        "device": device(args),
    }
    return Settings.load(**given)


def device(args: argparse.Namespace) -> str | None:
    """The device that was asked for, or None.

    Raises:
        UserError: there is no device of that name.
    """
    if args.device is not None and not _DEVICE.fullmatch(args.device):
        raise UserError(f"A device is called cpu, cuda, cuda:1 or mps: {args.device}")
    return args.device


def _executor(given: str | None) -> str | None:
    if given in (None, "worker", "inline") or (given and _CLUSTER.fullmatch(given)):
        return given
    raise UserError(f"An executor is called worker, inline or dask://host:port: {given}")
