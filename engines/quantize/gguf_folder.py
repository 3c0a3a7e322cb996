"""A GGUF file of the Llama architecture -> a folder as transformers reads it.

GGUF is llama.cpp's format: one file with settings, tokenizer and tensors, which are mostly rounded
to a few bits. Everything is decoded to float16, so that what comes out is an ordinary model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copymode
from typing import Any

import numpy as np
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file

from engines.base import UserError

_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_BYTE_LEVEL = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
# llama.cpp's name of the way in which text is cut before pairs of letters are merged.
_CUTS: dict[str, list[dict[str, Any]]] = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        _BYTE_LEVEL | {"add_prefix_space": False},
    ],
}
_CONTROL = 3  # tokenizer.ggml.token_type of <|im_start|> and its like


def write_folder(
    source: Path, folder: Path, *, step: Callable[[float], None] = lambda share: None
) -> None:
    """Write config.json, model.safetensors, generation_config.json and the tokenizer's files.

    Args:
        source: a GGUF file.
        folder: exists; files in it are replaced.
        step: told the share that is done, 0 to 1, after every tensor; what it raises ends the work.

    Raises:
        UserError: the file is damaged, or of an architecture or tokenizer that is not known here.
    """
    try:
        reader = GGUFReader(source)
        values = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
        raise UserError(f"This GGUF file is damaged; fetch it again: {source.name}") from error
    if values.get("general.architecture") != "llama":
        raise UserError(
            "Only GGUF files of the Llama architecture can be read here, and this one is "
            f"{values.get('general.architecture')}: {source.name}"
        )
    try:
        config = _config(values, [tensor.name for tensor in reader.tensors])
        tokenizer, tokenizer_config = _tokenizer(values)
    except KeyError as error:
        raise UserError(f"This GGUF file lacks {error.args[0]}: {source.name}") from error
    heads = {
        "attn_q.weight": config["num_attention_heads"],
        "attn_k.weight": config["num_key_value_heads"],
    }
    tensors: dict[str, np.ndarray] = {}
    for number, tensor in enumerate(reader.tensors):
        name, inner = _named(tensor.name)
        weight = dequantize(tensor.data, tensor.tensor_type)
        if inner in heads:
            weight = _halves(weight, heads[inner])
        tensors[name] = weight.astype(np.float16)
        step((number + 1) / len(reader.tensors))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    special = {key: config[key] for key in config if key.endswith("_token_id")}
    _write(folder / "config.json", config)
    # safetensors keeps what it writes from other users; the folder is no secret.
    copymode(folder / "config.json", folder / "model.safetensors")
    _write(folder / "generation_config.json", special)
    _write(folder / "tokenizer.json", tokenizer)
    _write(folder / "tokenizer_config.json", tokenizer_config)


def _named(gguf: str) -> tuple[str, str]:
    """("model.layers.3.mlp.up_proj.weight", "ffn_up.weight") of "blk.3.ffn_up.weight"."""
    if gguf in _OUTER:
        return _OUTER[gguf], gguf
    parts = gguf.split(".", 2)
    if len(parts) != 3 or parts[0] != "blk" or parts[2] not in _INNER:
        raise UserError(f"This GGUF file has a tensor that no Llama model has: {gguf}")
    return f"model.layers.{parts[1]}.{_INNER[parts[2]]}", parts[2]


def _halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys from llama.cpp's order into transformers'.

    Rotary embedding turns pairs of rows of a head: neighbours (2 i, 2 i + 1) in llama.cpp, and
    (i, i + d / 2) in transformers.
    """
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def _config(values: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    hidden = values["llama.embedding_length"]
    heads = values["llama.attention.head_count"]
    if "llama.rope.scaling.type" in values or "rope_freqs.weight" in names:
        raise UserError("GGUF files whose rotary embedding is scaled cannot be read here")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(values["tokenizer.ggml.tokens"]),
        "hidden_size": hidden,
        "intermediate_size": values["llama.feed_forward_length"],
        "num_hidden_layers": values["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": values.get("llama.attention.head_count_kv", heads),
        "head_dim": values.get("llama.rope.dimension_count", hidden // heads),
        "max_position_embeddings": values["llama.context_length"],
        "rms_norm_eps": float(f"{values['llama.attention.layer_norm_rms_epsilon']:.7g}"),
        "rope_theta": values.get("llama.rope.freq_base", 10000.0),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in names,
        "dtype": "float16",
    }
    for token, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        number = values.get(f"tokenizer.ggml.{key}_token_id")
        if number is not None:
            config[f"{token}_token_id"] = number
    return config


def _tokenizer(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(tokenizer.json, tokenizer_config.json), byte-level pairs as the `tokenizers` library has."""
    kind = (values["tokenizer.ggml.model"], values.get("tokenizer.ggml.pre", ""))
    if kind[0] != "gpt2" or kind[1] not in _CUTS:
        raise UserError(f"GGUF files with a tokenizer of this kind cannot be read here: {kind}")
    words = values["tokenizer.ggml.tokens"]
    control = [
        number for number, kind in enumerate(values["tokenizer.ggml.token_type"])
        if kind == _CONTROL
    ]  # fmt: skip
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": words[number], **plain, "special": True} for number in control
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _CUTS[kind[1]]},
        "post_processor": None,
        "decoder": _BYTE_LEVEL | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [merge.split(" ") for merge in values["tokenizer.ggml.merges"]],
        },
    }
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": values["llama.context_length"],
        "clean_up_tokenization_spaces": False,
    }
    for token, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        number = values.get(f"tokenizer.ggml.{key}_token_id")
        if number is not None:
            config[f"{token}_token"] = words[number]
    if "tokenizer.chat_template" in values:
        config["chat_template"] = values["tokenizer.chat_template"]
    return tokenizer, config


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
