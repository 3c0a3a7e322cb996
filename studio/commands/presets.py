"""`presets`: settings with a name, of one engine each."""

from __future__ import annotations

import argparse

from engines import registry
from engines.base import UserError
from studio.commands import output, parameters, settings
from studio.config import LOCAL, VERSION
from studio.jobs.requests import check_params
from studio.jobs.service import Studio
from studio.presets import Preset, Presets, from_json


def show(args: argparse.Namespace) -> int:
    """List presets with the settings that are not the defaults."""
    found = _presets(args).list(LOCAL)
    if args.json:
        document = {"version": VERSION, "presets": [_described(preset) for preset in found]}
        output.document(args, document)
        return 0
    rows = [(one.engine, one.name, _changed(one)) for one in found]
    output.table(rows)
    if not rows:
        print("No presets yet; `presets save NAME ENGINE --param NAME=VALUE` keeps one")
    return 0


def save(args: argparse.Namespace) -> int:
    """Keep settings that are given, or those of a job.

    Raises:
        UserError: neither or both are given, or one of them is wrong.
    """
    studio = Studio(settings.load(args))
    if (args.engine is None) == (args.job is None):
        raise UserError("Give an engine with --param, or --job and the id of a job")
    if args.job is not None:
        job = studio.job(LOCAL, args.job)
        engine, given = job.engine, dict(job.params)
    else:
        engine = args.engine
        given = parameters.read(registry.engine_class(engine).Params, args.param)
    params, _, _ = check_params(engine, given)
    preset = studio.presets.save(LOCAL, engine, args.name, params)
    return _said(args, [preset], f"Kept; use it with `run {engine} ... --preset '{preset.name}'`")


def export(args: argparse.Namespace) -> int:
    """Print a preset's file."""
    print(_presets(args).find(LOCAL, args.name, args.engine or "").to_json(), end="")
    return 0


def add(args: argparse.Namespace) -> int:
    """Check a preset's file and keep it."""
    try:
        text = args.file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"This preset cannot be read; check its path: {args.file}") from error
    found = from_json(text, args.file.stem)
    params, _, _ = check_params(found.engine, found.params)
    presets = _presets(args)
    name = args.name or found.name
    if not args.replace and any(
        (one.engine, one.name) == (found.engine, name) for one in presets.list(LOCAL)
    ):
        raise UserError(f"There is a preset called {name} already; give --name or --replace")
    kept = presets.save(LOCAL, found.engine, name, params)
    return _said(args, [kept], f"Kept; use it with `run {kept.engine} ... --preset '{kept.name}'`")


def start(args: argparse.Namespace) -> int:
    """Let a preset's tab begin with it, or no longer."""
    presets = _presets(args)
    preset = presets.find(LOCAL, args.name, args.engine or "")
    presets.start_with(LOCAL, preset, on=not args.off)
    said = "no longer begins" if args.off else "begins"
    return _said(
        args, [presets.find(LOCAL, args.name, preset.engine)], f"The page's tab {said} with it"
    )


def rename(args: argparse.Namespace) -> int:
    """Call a preset something else."""
    presets = _presets(args)
    preset = presets.find(LOCAL, args.name, args.engine or "")
    presets.rename(LOCAL, preset, args.to)
    return _said(args, [presets.find(LOCAL, args.to, preset.engine)], f"It is now {args.to}")


def remove(args: argparse.Namespace) -> int:
    """Delete a preset."""
    presets = _presets(args)
    presets.remove(LOCAL, presets.find(LOCAL, args.name, args.engine or ""))
    return _said(args, [], f"Removed {args.name}")


def _presets(args: argparse.Namespace) -> Presets:
    return Studio(settings.load(args)).presets


def _said(args: argparse.Namespace, presets: list[Preset], text: str) -> int:
    if args.json:
        found = {"version": VERSION, "presets": [_described(preset) for preset in presets]}
        output.document(args, found)
    else:
        print(text)
    return 0


def _described(preset: Preset) -> dict[str, object]:
    return {
        "engine": preset.engine, "name": preset.name, "params": preset.params,
        "starts": preset.starts,
    }  # fmt: skip


def _changed(preset: Preset) -> str:
    """Settings that are not the defaults, as they would be typed."""
    try:
        fields = registry.engine_class(preset.engine).Params.model_fields
    except UserError:
        return "its engine is no longer there"
    default = {
        name: list(value) if isinstance(value, tuple) else value
        for name, info in fields.items()
        for value in [info.get_default(call_default_factory=True)]
    }
    changed = [f"{k}={v}" for k, v in preset.params.items() if k in default and v != default[k]]
    return ", ".join(changed) or "automatic"
