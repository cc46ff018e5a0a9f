"""Adapters for other libraries: every piece is of the text itself, and a saved model brings its tokenizer along."""

import base64
import copy
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import TokenStream, Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, cut_at_offsets
from zh_lstm_lm.tokenizers.registry import get_tokenizer, restore_tokenizer
from zh_lstm_lm.tokenizers.workers import number_chunks

QUICK = settings(max_examples=80, deadline=None, derandomize=True, database=None)
TEXTS = ["话说展昭大喜，与白玉堂二人推门进了酒店。", "白玉堂笑道：好大的雪！", "展昭 拔剑在手，道：请。"] * 20
ODD = "  展昭 大喜  ，①ＡＢＣ　ﬁ🐑爨\r\t<unk>[UNK]▁<0xE7>e\u0301 "
KINDS = ["hf-bytes", "hf-nfkc", "hf-wordpiece", "sentencepiece-nfkc", "sentencepiece-bytes"]


def hugging_face(kind: str, path: Path) -> Path:
    """Trains a tiny tokenizer of Hugging Face."""
    library = pytest.importorskip("tokenizers", reason="tokenizers (extra hf) is missing")
    models, trainers = library.models, library.trainers
    if kind == "hf-bytes":
        tokenizer = library.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    elif kind == "hf-nfkc":
        tokenizer = library.Tokenizer(models.BPE(unk_token="[UNK]"))
        tokenizer.normalizer = library.normalizers.NFKC()
        trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=["[UNK]"], show_progress=False)
    else:
        tokenizer = library.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
        tokenizer.enable_truncation(max_length=4)
        trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(path))
    return path


def sentence_piece(kind: str, path: Path) -> Path:
    """Trains a tiny SentencePiece model."""
    library = pytest.importorskip("sentencepiece", reason="sentencepiece (extra sentencepiece) is missing")
    written = io.BytesIO()
    options: dict[str, Any] = {"vocab_size": 60, "model_type": "unigram"}
    if kind == "sentencepiece-bytes":
        options = {"vocab_size": 330, "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"}
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=written, hard_vocab_limit=False, minloglevel=2, **options
    )
    path.write_bytes(written.getvalue())
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LosslessTokenizer]:
    """Tokenizers of the libraries, each trained once on a few sentences."""
    folder = tmp_path_factory.mktemp("trained")
    made: dict[str, LosslessTokenizer] = {}

    def get(kind: str) -> LosslessTokenizer:
        if kind not in made:
            name, train = ("hf", hugging_face) if kind.startswith("hf") else ("sentencepiece", sentence_piece)
            made[kind] = get_tokenizer(name, path=train(kind, folder / kind))
        return made[kind]

    return get


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_concatenate_to_the_text(trained: Callable[[str], LosslessTokenizer], kind: str) -> None:
    tokenizer = trained(kind)

    @QUICK
    @given(st.text(st.sampled_from([*ODD, "展", "昭"])) | st.text(st.characters(exclude_categories=["Cs"])))
    def check(text: str) -> None:
        tokens = tokenizer.tokenize(text)
        assert "".join(tokens) == text
        assert "" not in tokens

    check()
    assert "".join(tokenizer.tokenize(ODD)) == ODD
    # BERT's tokenizer cuts Chinese into characters.
    if kind != "hf-wordpiece":
        assert any(len(token) > 1 for token in tokenizer.tokenize(TEXTS[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_vocabulary_brings_its_tokenizer_along(
    trained: Callable[[str], LosslessTokenizer], kind: str, tmp_path: Path
) -> None:
    tokenizer = trained(kind)
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts(TEXTS[:3], tokenizer=tokenizer))

    again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))

    assert again.encode(ODD) == vocabulary.encode(ODD)
    assert again.decode(again.encode(ODD)) == ODD
    assert again.tokenizer.fingerprint == tokenizer.fingerprint
    assert "path" not in again.tokenizer.options


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_copied_and_pickled(trained: Callable[[str], LosslessTokenizer], kind: str) -> None:
    tokenizer = trained(kind)

    for again in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert again.tokenize(ODD) == tokenizer.tokenize(ODD)


@pytest.mark.parametrize("kind", ["hf-nfkc", "sentencepiece-nfkc"])
def test_workers_get_the_content_of_the_file(trained: Callable[[str], LosslessTokenizer], kind: str) -> None:
    tokenizer = trained(kind)

    words: dict[str, int] = {}
    for text, numbers in zip(TEXTS, number_chunks(tokenizer, TEXTS[:3], words, workers=2), strict=False):
        assert [list(words)[number] for number in numbers] == tokenizer.tokenize(text)


@pytest.mark.parametrize(("name", "module"), [("hf", "tokenizers"), ("sentencepiece", "sentencepiece")])
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, module: str) -> None:
    pytest.importorskip(module, reason=f"{module} is missing")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("展昭", encoding="utf-8")

    for wrong in ("empty", "text"):
        with pytest.raises(ConfigError, match="not the content of a"):
            get_tokenizer(name, path=tmp_path / wrong)
    for missing in (tmp_path / "none", tmp_path, 5):
        with pytest.raises(ConfigError, match="cannot be read"):
            get_tokenizer(name, path=missing)
    with pytest.raises(ConfigError, match="does not take the options"):
        get_tokenizer(name)


def test_a_saved_model_names_no_file(tmp_path: Path) -> None:
    for name, module in (("hf", "tokenizers"), ("sentencepiece", "sentencepiece")):
        pytest.importorskip(module, reason=f"{module} is missing")
        with pytest.raises(ConfigError, match="does not take the options"):
            restore_tokenizer(name, {"path": str(tmp_path)})


def test_sentencepiece_refuses_what_is_no_base64() -> None:
    pytest.importorskip("sentencepiece", reason="sentencepiece is missing")

    for wrong in ("展", base64.b64encode(b"no model").decode()):
        with pytest.raises(ConfigError, match="not the content of a SentencePiece model"):
            restore_tokenizer("sentencepiece", {"model": wrong})


@QUICK
@given(st.text("展昭大喜", max_size=12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))
def test_any_offsets_give_pieces_of_the_text(text: str, offsets: list[tuple[int, int]]) -> None:
    inside = [(min(a, b, len(text)), min(max(a, b), len(text))) for a, b in sorted(offsets)]

    pieces = cut_at_offsets(text, inside)

    assert "".join(pieces) == text
    assert "" not in pieces


def test_offsets_cut_where_tokens_begin_and_end() -> None:
    assert cut_at_offsets("展昭 大喜。", [(0, 0), (0, 2), (3, 4), (3, 4), (4, 5)]) == ["展昭", " ", "大", "喜", "。"]
