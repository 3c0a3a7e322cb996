"""A tiny Llama as llama.cpp would have it, for tests: the same weights as a transformers model."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, SHARED = 4, 2  # of queries; of keys and values
WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789", "Ġ", "Ċ", "th", "the", "12"]
MERGES = ["t h", "th e", "1 2"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def model() -> LlamaForCausalLM:
    """Grouped queries, tied embeddings, weights that float16 holds exactly."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS) + len(LETTERS), hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=HEADS, num_key_value_heads=SHARED, head_dim=8,
        max_position_embeddings=64, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn_like(parameter) if parameter.ndim > 1 else 1 + 0.1 * parameter
            parameter.copy_(noise.half().float())
    return made


def write(
    path: Path, source: LlamaForCausalLM, *, architecture: str = "llama", cut: str = "smollm",
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F16,
) -> None:  # fmt: skip
    """Write `source` as llama.cpp's converter does; linear layers of blocks as `kind`."""
    config = source.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(SHARED)
    writer.add_rope_dimension_count(config.hidden_size // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(WORDS + LETTERS)
    writer.add_token_types([3] * len(WORDS) + [1] * len(LETTERS))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    heads = {"attn_q": HEADS, "attn_k": SHARED}
    for name, parameter in source.named_parameters():
        weight = parameter.detach().numpy()
        if not name.startswith("model.layers."):
            outer = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}
            writer.add_tensor(f"{outer[name]}.weight", weight)
            continue
        number, inner = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
        called = _NAMES[inner]
        if called in heads:  # llama.cpp turns neighbours, transformers halves
            rows, columns = weight.shape
            halves = weight.reshape(heads[called], 2, rows // heads[called] // 2, columns)
            weight = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
        name = f"blk.{number}.{called}.weight"
        if weight.ndim > 1:
            writer.add_tensor(name, gguf.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_wheel(path: Path, files: dict[str, Path]) -> None:
    """A wheel, as pip takes one, of package "tiny-llm" 1.0."""
    info = "tiny_llm-1.0.dist-info"
    with ZipFile(path, "w") as archive:
        for name, file in files.items():
            archive.write(file, name)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-llm\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n",
        )  # fmt: skip
        archive.writestr(f"{info}/RECORD", "")
