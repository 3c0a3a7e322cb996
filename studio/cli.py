"""The command line: what there is to ask for, and which function does it.

Nothing heavy is imported here, so that `--help` answers at once; each command's module is imported
when it is run. Exit codes: 0 all done, 1 some failed, 2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path

from studio.commands.library_options import add_clean, add_jobs, add_sessions
from studio.commands.parsers import SETTINGS_COMMANDS, add_parsers, work_options
from studio.options import add_options

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
_COMMANDS = {  # command -> module:function, which takes the arguments and returns the exit code
    "serve": "studio.commands.serve:serve",
    "run": "studio.commands.run:run",
    "engines": "studio.commands.engines:engines",
    "jobs": "studio.commands.history:jobs",
    "sessions": "studio.commands.sessions:show",
    "sessions list": "studio.commands.sessions:show",
    "sessions rename": "studio.commands.sessions:rename",
    "sessions duplicate": "studio.commands.sessions:duplicate",
    "sessions export": "studio.commands.sessions:export",
    "sessions import": "studio.commands.sessions:bring",
    "sessions delete": "studio.commands.sessions:delete",
    "clean": "studio.commands.history:clean",
    "models": "studio.commands.models:show",
    "watch": "studio.commands.watch:watch",
    **SETTINGS_COMMANDS,
    "models list": "studio.commands.models:show",
    "models pull": "studio.commands.models:pull",
    "models add": "studio.commands.models:add",
    "models remove": "studio.commands.models:remove",
    "models check": "studio.commands.models:check",
    "models verify": "studio.commands.models:verify",
    "train": "studio.commands.train:train",
    "bench": "studio.commands.bench:bench",
    "docs tables": "studio.commands.docs:write_tables",
    "docs pictures": "studio.commands.docs:take_pictures",
    "docs catalogue": "studio.commands.docs:write_catalogue",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names may hold letters that a terminal lacks
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["test"]:  # everything behind it is pytest's
        from studio.commands.test import test

        return test(given[1:])
    try:
        args = parser().parse_args(given)
    except SystemExit as ended:
        return int(ended.code or 0)
    args.out_stream = sys.stdout
    try:
        code = _perform(args)
        sys.stdout.flush()  # a closed pipe is found out here rather than at the very end
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `noise-studio jobs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _perform(args: argparse.Namespace) -> int:
    from engines.base import UserError

    module, _, function = _COMMANDS[_command(args)].partition(":")
    try:
        # A document must stand alone on standard output, whatever a library prints.
        with redirect_stdout(sys.stderr) if args.json else nullcontext():
            return getattr(import_module(module), function)(args)
    except UserError as error:
        print(f"noise-studio: {error}", file=sys.stderr)
        return WRONG_USE


def _command(args: argparse.Namespace) -> str:
    if args.command is None:
        return "serve"
    verb = getattr(args, "verb", "")
    return " ".join(filter(None, (args.command, verb)))


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="noise-studio",
        description="Opens the studio in the browser, or runs one command.",
        epilog="Without a command the studio is opened; COMMAND --help tells more of each.",
        allow_abbrev=False,
    )
    top.set_defaults(json=False)
    _serve_options(top)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    run = commands.add_parser("run", help="process files", allow_abbrev=False)
    run.add_argument(
        "engine", metavar="ENGINE", help="such as raw.yond, or recipe:NAME; `engines` lists them"
    )
    run.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders and globs")
    run.add_argument("--out", required=True, type=Path, metavar="DIR", help="where results go")
    run.add_argument(
        "--skip-done", action="store_true", help="leave files whose results are there already"
    )
    run.add_argument("--summary", action="store_true", help="write summary.html beside the results")
    work_options(run)
    _device_option(run)
    _json_option(run)

    engines = commands.add_parser("engines", help="what there is, with parameters")
    engines.add_argument("engine", nargs="?", metavar="ENGINE")
    _json_option(engines)

    jobs = commands.add_parser("jobs", help="what was done, newest first", allow_abbrev=False)
    add_jobs(jobs)
    sessions = commands.add_parser(
        "sessions", help="collections of jobs: list, rename, duplicate, export, import, delete"
    )
    for one in (jobs, sessions, *add_sessions(sessions)):
        _json_option(one)

    add_parsers(commands, _device_option, _json_option)

    _models_parser(
        commands.add_parser("models", help="weights: list, pull, add, remove, check, verify")
    )

    train = commands.add_parser("train", help="train weights by a recipe", allow_abbrev=False)
    train.add_argument("recipe", nargs="?", metavar="RECIPE", help="without one they are listed")
    train.add_argument("--budget-minutes", type=float, metavar="N", help="stop after so long")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    train.add_argument("--data", type=Path, metavar="DIR", help="your own files to train on")
    _device_option(train)

    bench = commands.add_parser("bench", help="measure what the README says", allow_abbrev=False)
    bench.add_argument("name", nargs="?", metavar="NAME", help="without one they are listed")
    _json_option(bench)

    clean = commands.add_parser(
        "clean", help="say what takes space, and free what can be made again"
    )
    add_clean(clean)
    _json_option(clean)
    docs = commands.add_parser(
        "docs", help="bring what is written down up to date: tables, pictures"
    )
    docs_verbs = docs.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    docs_verbs.add_parser("tables", help="fill README.md and docs/ from docs/figures/")
    pictures = docs_verbs.add_parser(
        "pictures", help="take docs/*.jpg from a studio; needs Chromium"
    )
    pictures.add_argument("only", nargs="*", metavar="TAB", help="those of these alone")
    docs_verbs.add_parser("catalogue", help="list networks and recipes for the Models page")
    commands.add_parser("test", help="run the tests; arguments go to pytest", add_help=False)
    return top


def _serve_options(top: argparse.ArgumentParser) -> None:
    page = top.add_argument_group("the page")
    page.add_argument("--host", help="address to listen on (127.0.0.1)")
    page.add_argument("--port", type=int, help="first port to try (7860)")
    page.add_argument("--share", action="store_true", default=None, help="a public address")
    page.add_argument(
        "--auth", action="append", metavar="USER:PASSWORD",
        help="what visitors have to give; several times for several people",
    )  # fmt: skip
    page.add_argument(
        "--mcp", action="store_true", default=None, help="offer the engines as MCP tools"
    )
    page.add_argument(
        "--no-browser", action="store_false", dest="open_browser", default=None,
        help="open no browser window",
    )  # fmt: skip
    page.add_argument(
        "--executor", help="worker (a process of its own), inline or dask://host:port"
    )
    page.add_argument("--device", help="cpu, cuda, mps; by default the best there is")
    page.add_argument("--version", action=_Version, help="print the version and stop")
    add_options(top.add_argument_group("what one visitor may use (0 is no limit)"))


def _models_parser(models: argparse.ArgumentParser) -> None:
    verbs = models.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    show = verbs.add_parser("list", help="weights that are here (also without a verb)")
    pull = verbs.add_parser("pull", help="fetch a language model; where others are published")
    pull.add_argument("network", nargs="?", metavar="ID", help="such as smollm2-135m")
    add = verbs.add_parser("add", help="check a checkpoint and keep it")
    add.add_argument(
        "file", type=Path, metavar="FILE", help="safetensors, tensors-only .pth, or ncnn .param"
    )
    add.add_argument("--name", default="", metavar="ID", help="what to call it")
    remove = verbs.add_parser("remove", help="forget added weights")
    remove.add_argument("id", metavar="ID")
    check = verbs.add_parser("check", help="whether all are there, unchanged and fit")
    verify = verbs.add_parser("verify", help="our networks against golden files")
    verify.add_argument("files", nargs="+", type=Path, metavar="GOLDEN")
    for verb in (show, pull, add, remove, check, verify):
        _json_option(verb)
    _json_option(models)


def _device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default=argparse.SUPPRESS, help="cpu, cuda, mps; by default the best there is"
    )


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS,
        help="one JSON document on standard output",
    )  # fmt: skip


class _Version(argparse.Action):
    """`--version`, whose number is only read when somebody asks."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        """Print and stop."""
        from studio.config import VERSION

        print(f"noise-studio {VERSION}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
