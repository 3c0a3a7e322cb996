"""Archives whose names lead out, pickles, models with code of their own, tensors that are none."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from tests.hostile.case import MODEL, Case, safetensors, zipped

TOUCHED = "touched-by-a-pickle"  # what the pickles would make, were they ever run


def archives(folder: Path) -> Iterator[Case]:
    """Names in a zip that lead out of it."""
    folder.mkdir()
    good = {"config.json": b"{}", "model.safetensors": safetensors()}
    names = (
        "../escaped.txt",
        "../../escaped.txt",
        "/tmp/hostile-escaped.txt",
        "a/../../escaped.txt",
        "..\\escaped.txt",
        "C:\\escaped.txt",
        "\\\\server\\escaped.txt",
        "a\0b.txt",
        "CON",
        "nul.txt",
        ".hidden/escaped.txt",
        "a/" * 300 + "deep.txt",
        "x" * 300 + ".txt",
        "config.json/inside.txt",
    )
    for number, name in enumerate(names):
        path = folder / f"slip-{number}.zip"
        path.write_bytes(zipped({**good, name: b"escaped"}))
        yield Case(f"archives/{name[:30]!r}", MODEL, path)
    link = zipfile.ZipInfo("link.safetensors")
    link.external_attr = 0o120777 << 16
    for name, target in (("link-out.zip", "/etc/passwd"), ("link-up.zip", "../../../studio.db")):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as packed:
            for inside, content in good.items():
                packed.writestr(inside, content)
            packed.writestr(link, target)
        (folder / name).write_bytes(made.getvalue())
        yield Case(f"archives/{name}", MODEL, folder / name)
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as packed:
        for content in (b"{}", b'{"other": 1}'):
            packed.writestr(zipfile.ZipInfo("config.json"), content)
        packed.writestr("model.safetensors", safetensors())
    (folder / "twice.zip").write_bytes(twice.getvalue())
    yield Case("archives/twice.zip", MODEL, folder / "twice.zip")
    (folder / "no-zip.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    yield Case("archives/no-zip.zip", MODEL, folder / "no-zip.zip")


def models(folder: Path) -> Iterator[Case]:
    """Pickles, code, and tensors that are none."""
    folder.mkdir()
    llama: dict[str, Any] = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 64,
        "intermediate_size": 64,
    }
    remote = llama | {
        "auto_map": {
            "AutoModelForCausalLM": "modeling_evil.EvilModel",
            "AutoConfig": "modeling_evil.EvilConfig",
        }
    }
    evil = f"import os\nopen({TOUCHED!r}, 'w').write('x')\n".encode()
    pickled = _pickle()
    words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a")).to_str().encode()
    ways: dict[str, dict[str, bytes]] = {
        "pickle-as-safetensors": {"model.safetensors": pickled},
        "pickle-as-bin": {"pytorch_model.bin": pickled},
        "remote-code": {
            "config.json": json.dumps(remote).encode(),
            "modeling_evil.py": evil,
            "model.safetensors": safetensors(),
        },
        "remote-tokenizer": {
            "tokenizer_config.json": json.dumps(
                {"auto_map": {"AutoTokenizer": ["tok_evil.Tok", None]}}
            ).encode(),
            "tok_evil.py": evil,
            "model.safetensors": safetensors(),
        },
        "header-huge": {"model.safetensors": struct.pack("<Q", 2**62) + b"{}"},
        "header-text": {"model.safetensors": struct.pack("<Q", 9) + b"not json!"},
        "header-cut": {"model.safetensors": b"\x10\0"},
        "offsets-out": {
            "model.safetensors": safetensors(
                {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 2**40]}}
            )
        },
        "offsets-negative": {
            "model.safetensors": safetensors(
                {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [-9, 4]}}
            )
        },
        "shape-huge": {
            "model.safetensors": safetensors(
                {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}
            )
        },
        "dtype-none": {
            "model.safetensors": safetensors(
                {"a": {"dtype": "F999", "shape": [1], "data_offsets": [0, 4]}}
            )
        },
        "index-out": {
            "model.safetensors.index.json": json.dumps(
                {"weight_map": {"a": "../../../../etc/passwd"}}
            ).encode()
        },
        "config-list": {"config.json": b"[]", "model.safetensors": safetensors()},
        "config-huge": {
            "config.json": json.dumps(
                llama | {"hidden_size": 2**40, "num_hidden_layers": 2**31}
            ).encode(),
            "model.safetensors": safetensors(),
        },
        "config-negative": {
            "config.json": json.dumps(
                llama | {"hidden_size": -32, "num_attention_heads": 0}
            ).encode(),
            "model.safetensors": safetensors(),
        },
        "config-type": {
            "config.json": b'{"model_type": "../../evil"}',
            "model.safetensors": safetensors(),
        },
        "nothing": {},
    }
    for name, files in ways.items():
        inside = {"config.json": json.dumps(llama).encode(), "tokenizer.json": words, **files}
        path = folder / f"{name}.zip"
        path.write_bytes(zipped({f"m/{key}": value for key, value in inside.items()}))
        yield Case(f"models/{name}", MODEL, path)
        place = folder / name
        place.mkdir()
        for key, value in inside.items():
            (place / key).write_bytes(value)
        yield Case(f"models/{name}/", MODEL, place)


def _pickle() -> bytes:
    """Written by hand: `open(TOUCHED, "w")` on being loaded."""
    return b"cbuiltins\nopen\n(V" + TOUCHED.encode() + b"\nVw\ntR."
