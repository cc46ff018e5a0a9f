"""Normalisation of text before it is cut into words."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, Sampler, TokenStream, Vocabulary, score
from zh_lstm_lm.errors import ConfigError, MissingDependencyError
from zh_lstm_lm.text.normalization import align_text, check_normalization, normalization_fingerprint, normalize_text

PUNCTUATION = "，。！？；：、“”‘’「」『』（）《》〈〉【】…—～·％＋－．　"


def test_letters_and_digits_are_folded_and_punctuation_stays() -> None:
    assert normalize_text("Ａｚ０９ＡＺ", "width") == "Az09AZ"
    assert normalize_text(PUNCTUATION, "nfc+width") == PUNCTUATION


def test_nfc_composes() -> None:
    assert normalize_text("cafe\u0301", "nfc") == "caf\u00e9"
    assert normalize_text("\uf9d0", "nfc") == "類"  # a compatibility ideograph


def test_nfkc_changes_punctuation_too() -> None:
    assert normalize_text("，…①", "nfkc") == ",...1"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_normalisation_changes_nothing_twice(text: str) -> None:
    for normalize in ("nfc", "width", "nfkc", "nfc+width", "none"):
        once = normalize_text(text, normalize)
        assert normalize_text(once, normalize) == once


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_width_folding_is_nfkc_of_letters_and_digits_only(text: str) -> None:
    folded = "".join(
        unicodedata.normalize("NFKC", character)
        if "\uff01" <= character <= "\uff5e" and unicodedata.normalize("NFKC", character).isalnum()
        else character
        for character in text
    )
    assert normalize_text(text, "width") == folded


def test_traditional_becomes_simplified() -> None:
    pytest.importorskip("opencc", reason="the extra opencc is not installed")
    assert normalize_text("後來，白玉堂說：「好劍！」", "simplified") == "后来，白玉堂说：「好剑！」"
    assert "opencc" in normalization_fingerprint("nfc+simplified")


def test_a_step_whose_library_is_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zh_lstm_lm.text.normalization._converter.__wrapped__", None, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "opencc", None)
    from zh_lstm_lm.text import normalization

    normalization._converter.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"zh-lstm-lm\[opencc\]"):
        check_normalization("simplified")


@pytest.mark.parametrize("bad", ["nfd", "nfc+", "", "nfc+nfc", "NFC", 3, None])
def test_what_is_no_normalisation_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"normali"):
        check_normalization(bad)  # type: ignore[arg-type]


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match="nfkc"):
        check_normalization("nfkd")


def test_a_model_reads_prompts_and_texts_in_its_own_normalisation() -> None:
    stream = TokenStream.from_texts(["展昭１２岁。\n"], tokenizer="characters", normalize="nfc+width")
    vocabulary = Vocabulary.from_stream(stream)
    assert "１" not in vocabulary
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=8))
    assert model.vocabulary.normalize == "nfc+width"
    assert Vocabulary.from_dict(vocabulary.to_dict()).normalize == "nfc+width"
    assert Vocabulary.from_dict(vocabulary.to_dict()).fingerprint() == vocabulary.fingerprint()

    assert score(model, "１岁").log_prob == score(model, "1岁").log_prob
    assert score(model, "１岁").tokens == ("1", "岁")
    assert vocabulary.encode("１") != vocabulary.encode("1")  # encode itself changes nothing
    written = Sampler(model).generate("展昭１", max_new_tokens=5)
    assert written.startswith("展昭１")  # the prompt stands as it was given
    assert written[3:] == Sampler(model).generate("展昭1", max_new_tokens=5)[3:]


def test_files_are_normalised_with_the_novel_cleaning_and_not_without(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "a.txt").write_text("展昭１２岁，好。\n", encoding="utf-8")
    cleaned = TokenStream.from_files(folder, tokenizer="characters")
    assert "".join(cleaned) == "展昭12岁，好。\n"
    assert cleaned.normalize == "nfc+width"
    as_it_is = TokenStream.from_files(folder, tokenizer="characters", clean="none")
    assert "".join(as_it_is) == "展昭１２岁，好。\n"
    assert as_it_is.normalize == "none"
    assert "".join(TokenStream.from_files(folder, tokenizer="characters", normalize="none")) == "展昭１２岁，好。\n"
    assert "".join(TokenStream.from_files(folder, tokenizer="characters", clean="none", normalize="width"))[2] == "1"


class Converter:
    """Stands in for OpenCC, of which most machines have none: a character at a time, and one phrase."""

    def convert(self, text: str) -> str:
        return text.replace("乾隆皇帝", "乾隆皇上").replace("後", "后").replace("來", "来")


def test_simplification_is_what_its_library_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from zh_lstm_lm.text import normalization

    monkeypatch.setattr(normalization, "_converter", Converter)
    assert normalize_text("後來，乾隆皇帝", "simplified") == "后来，乾隆皇上"
    aligned = align_text("雪\n後來，乾隆皇帝", "simplified")
    assert aligned.text == "雪\n后来，乾隆皇上"
    assert [aligned.span(place, place + 1) for place in range(9)] == [(place, place + 1) for place in range(9)]
