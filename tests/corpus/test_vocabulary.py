"""Tokens to ids and back: nothing is lost, and ids depend on the text alone."""

import copy
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import zh_lstm_lm
from zh_lstm_lm import TokenStream, Vocabulary
from zh_lstm_lm.errors import ConfigError, DataError, VocabularyError, ZhLstmLmError
from zh_lstm_lm.tokenizers.probe import TokenizerMismatchWarning
from zh_lstm_lm.tokenizers.registry import get_tokenizer

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SPECIAL_LOOKS = ["<bos>", "<unk>", "<0xE5>"]
WHITE = ["\r", "\n", "\n\n", "\r\n", "\u2028", "\ufeff", " ", "\u3000", "\x00"]
UNSEEN = ["爨", "𠮷", "🐑", "\ufffd", "é", "\U0010ffff"]
ODD_TEXT = st.lists(st.sampled_from(["展昭", "白玉堂", "雪", *SPECIAL_LOOKS, *WHITE, *UNSEEN])).map("".join)
WORDS = st.lists(st.sampled_from(["展昭", "白玉堂", "大喜", "雪", "昭", "夜", "<bos>", "a"]), min_size=1, max_size=60)


class Words:
    """Cuts at spaces; the spaces are tokens too."""

    fingerprint = "words"

    def tokenize(self, text: str) -> Sequence[str]:
        return text.split()


Spelled = Callable[[str], Vocabulary]


@pytest.fixture(scope="session")
def spelling(texts: list[str]) -> Spelled:
    """Vocabularies of the tiny chapters by tokenizer; jieba's dictionary is loaded once."""
    known: dict[str, Vocabulary] = {}

    def get(name: str) -> Vocabulary:
        if name not in known:
            known[name] = Vocabulary.from_stream(TokenStream.from_texts(texts, tokenizer=get_tokenizer(name)))
        return known[name]

    return get


def of(*texts: str, **options: Any) -> Vocabulary:
    """The vocabulary of texts that are cut at spaces."""
    return Vocabulary.from_stream(TokenStream.from_texts(texts, tokenizer=Words()), **options)


def spelled_counts(vocabulary: Vocabulary, stream: TokenStream) -> Counter[int]:
    """Counts the ids by hand: a word, else its characters, else their bytes."""
    shown = list(vocabulary)
    special = 2 if vocabulary.unknown == "characters" else 3
    bytes_there = set(vocabulary.byte_ids)
    ids = {"\n": 1, **{shown[n]: n for n in range(special, len(shown)) if n not in bytes_there}}
    counts: Counter[int] = Counter({0: stream.num_documents})
    for token in stream:
        if token in ids:
            counts[ids[token]] += 1
        elif vocabulary.unknown == "unk":
            counts[2] += 1
        else:
            for character in token:
                if character in ids:
                    counts[ids[character]] += 1
                else:
                    counts.update(shown.index(f"<0x{byte:02X}>") for byte in character.encode("utf-8"))
    return counts


@pytest.mark.parametrize("name", ["characters", "jieba"])
@QUICK
@given(text=TEXT | ODD_TEXT)
@example(text="<bos>展昭<0xE5>\r\r\n\n🐑<unk>\ufffd")
def test_decoding_gives_back_every_text(spelling: Spelled, name: str, text: str) -> None:
    vocabulary = spelling(name)

    ids = vocabulary.encode(text)

    assert vocabulary.decode(ids) == text
    assert all(0 < token_id < len(vocabulary) for token_id in ids)
    assert vocabulary.decode(torch.tensor(ids)) == text
    assert vocabulary.decode(iter(ids)) == text


@QUICK
@given(text=TEXT | ODD_TEXT, max_size=st.integers(259, 300), learned=ODD_TEXT.filter(bool))
def test_decoding_gives_back_every_text_however_small_the_vocabulary(text: str, max_size: int, learned: str) -> None:
    stream = TokenStream.from_texts([learned], tokenizer=Words())
    for vocabulary in (Vocabulary.from_stream(stream, max_size=max_size), Vocabulary(tokenizer="characters")):
        assert vocabulary.decode(vocabulary.encode(text)) == text


@pytest.mark.parametrize("name", ["characters", "jieba"])
@QUICK
@given(text=TEXT | ODD_TEXT)
def test_the_characters_of_the_ids_are_those_of_the_text(spelling: Spelled, name: str, text: str) -> None:
    vocabulary = spelling(name)
    assert vocabulary.characters_per_id is not None

    assert int(vocabulary.characters_per_id[vocabulary.encode(text)].sum()) == len(text)
    assert vocabulary.characters_per_id[vocabulary.bos_id] == 0


def test_a_lone_surrogate_is_no_text(vocabulary: Vocabulary) -> None:
    with pytest.raises(DataError, match=r"character 2 is a lone surrogate \('\\udc80'\)"):
        vocabulary.encode("展昭\udc80")


@pytest.mark.parametrize("wrong", [None, 5, b"\xe5", ["展"]])
def test_only_strings_are_encoded(vocabulary: Vocabulary, wrong: str) -> None:
    with pytest.raises(DataError, match="text must be a string, got"):
        vocabulary.encode(wrong)


def test_words_are_one_id_and_unknown_ones_are_spelled() -> None:
    vocabulary = of("展昭 大喜 展昭\n白玉堂 大喜 展昭")

    def names(text: str) -> list[str]:
        return [vocabulary.id_to_token(token_id) for token_id in vocabulary.encode(text)]

    assert names("展昭 大喜\n") == ["展昭", " ", "大喜", "\n"]
    assert names("昭展") == ["昭", "展"]
    assert names("展爨") == ["展", "<0xE7>", "<0x88>", "<0xA8>"]
    assert names("") == []
    assert names("\n\n") == ["\n", "\n"]


@pytest.mark.parametrize("unknown", ["characters", "unk"])
@QUICK
@given(documents=st.lists(WORDS, min_size=1, max_size=4), min_freq=st.integers(1, 3))
def test_ids_are_ordered_by_falling_frequency_after_spelling_then_by_token(
    unknown: str, documents: list[list[str]], min_freq: int
) -> None:
    stream = TokenStream.from_texts([" ".join(words) for words in documents], tokenizer=Words())

    vocabulary = Vocabulary.from_stream(stream, min_freq=min_freq, unknown=unknown)  # type: ignore[arg-type]

    counts = spelled_counts(vocabulary, stream)
    special = 2 if unknown == "characters" else 3
    assert list(vocabulary)[:special] == ["<bos>", "\n", "<unk>"][:special]
    rest = range(special, len(vocabulary))
    assert list(rest) == sorted(rest, key=lambda token_id: (-counts[token_id], vocabulary.id_to_token(token_id)))
    assert vocabulary.counts == [counts[token_id] for token_id in range(len(vocabulary))]


def test_ids_do_not_depend_on_the_order_of_the_documents(texts: list[str]) -> None:
    vocabularies = [
        Vocabulary.from_stream(TokenStream.from_texts(order, tokenizer="characters"), min_freq=2, max_size=300)
        for order in itertools.permutations(texts)
    ]

    assert len({json.dumps(vocabulary.to_dict()) for vocabulary in vocabularies}) == 1
    assert len({vocabulary.fingerprint() for vocabulary in vocabularies}) == 1


def test_ids_do_not_depend_on_the_hash_seed(texts: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from zh_lstm_lm import TokenStream, Vocabulary\n"
        "class Pairs:\n"
        "    def tokenize(self, text): return [text[start : start + 2] for start in range(0, len(text), 2)]\n"
        "stream = TokenStream.from_texts(json.load(sys.stdin), tokenizer=Pairs())\n"
        "vocabulary = Vocabulary.from_stream(stream, max_size=330)\n"
        "print(json.dumps([vocabulary.to_dict(), vocabulary.fingerprint(), vocabulary.encode('展昭笑道：好！')]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**environment, "PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    first, second = [process.communicate(json.dumps(texts).encode(), timeout=120)[0] for process in processes]

    assert len(json.loads(first)) == 3
    assert first == second


@QUICK
@given(documents=st.lists(WORDS, min_size=1, max_size=4), min_freq=st.integers(1, 4))
def test_min_freq_filters_words_and_keeps_all_characters(documents: list[list[str]], min_freq: int) -> None:
    texts = [" ".join(words) for words in documents]
    frequency = Counter(word for words in documents for word in words)

    vocabulary = of(*texts, min_freq=min_freq)

    for word, count in frequency.items():
        if len(word) > 1:
            assert (word in vocabulary) == (count >= min_freq)
    characters = set("".join(texts))
    assert all(character in vocabulary for character in characters)
    kept = sum(count >= min_freq and len(word) > 1 for word, count in frequency.items())
    assert len(vocabulary) == 2 + 256 + len(characters) + kept


@pytest.mark.parametrize(("unknown", "fixed"), [("characters", 258), ("unk", 3)])
def test_max_size_counts_everything_and_keeps_the_most_frequent(
    texts: list[str], spelling: Spelled, unknown: str, fixed: int
) -> None:
    stream = TokenStream.from_texts(texts, tokenizer=spelling("jieba").tokenizer)
    frequency = Counter(stream)
    everything = Vocabulary.from_stream(stream, unknown=unknown)  # type: ignore[arg-type]
    full = len(everything)

    for max_size in [*range(fixed + 1, full + 3), 10**9]:
        vocabulary = Vocabulary.from_stream(stream, unknown=unknown, max_size=max_size)  # type: ignore[arg-type]

        assert len(vocabulary) == min(max_size, full)
        words = [token for token in frequency if token != "\n" and (len(token) > 1 or unknown == "unk")]
        kept = [frequency[word] for word in words if word in vocabulary]
        dropped = [frequency[word] for word in words if word not in vocabulary]
        assert min(kept, default=10**9) >= max(dropped, default=0)
        if unknown == "characters":
            in_text = Counter("".join(stream))
            known = [in_text[character] for character in in_text if character in vocabulary and character != "\n"]
            unseen = [in_text[character] for character in in_text if character not in vocabulary]
            assert min(known, default=10**9) >= max(unseen, default=0)
            assert len(known) <= max((max_size - fixed) // 2, max_size - fixed - len(words)), "words have room too"
    assert list(vocabulary) == list(everything)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 258}, "max_size must be greater than 258, the number of special tokens and bytes, got 258"),
        ({"max_size": 3, "unknown": "unk"}, "max_size must be greater than 3, the number of special tokens, got 3"),
        ({"max_size": 0}, "max_size must be at least 1, got 0"),
        ({"max_size": 300.0}, "max_size must be an integer or None, got 300.0"),
        ({"min_freq": 0}, "min_freq must be at least 1, got 0"),
        ({"min_freq": True}, "min_freq must be an integer, got True"),
        ({"min_freq": None}, "min_freq must be an integer, got None"),
        ({"unknown": "UNK"}, "unknown must be one of 'characters', 'unk', got 'UNK'"),
    ],
)
def test_options_out_of_range_are_refused(stream: TokenStream, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Vocabulary.from_stream(stream, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("unknown", ["characters", "unk"])
@QUICK
@given(learned=st.lists(WORDS, min_size=1, max_size=2), read=st.lists(WORDS, min_size=1, max_size=3))
def test_a_stream_is_encoded_as_its_documents_are(
    unknown: str, learned: list[list[str]], read: list[list[str]]
) -> None:
    vocabulary = of(*(" ".join(words) for words in learned), min_freq=2, unknown=unknown)
    stream = TokenStream.from_texts([" ".join(words) + "\n" * (len(words) % 3) for words in read], tokenizer=Words())

    ids = vocabulary.encode_stream(stream)

    assert ids.dtype == torch.int32
    expected = [token_id for text in stream.texts() for token_id in (vocabulary.bos_id, *vocabulary.encode(text))]
    assert ids.tolist() == expected
    counts = Counter(expected)
    assert vocabulary.count_ids(stream) == [counts[token_id] for token_id in range(len(vocabulary))]
    assert counts == spelled_counts(vocabulary, stream)


def test_parts_of_a_split_are_encoded_and_counted_by_themselves(texts: list[str], spelling: Spelled) -> None:
    stream = TokenStream.from_texts(texts, tokenizer=spelling("jieba").tokenizer)
    train, valid, test = stream.split(valid=0.2, test=0.2)
    vocabulary = Vocabulary.from_stream(train)

    assert sum(vocabulary.counts) == len(vocabulary.encode_stream(train))
    for part in (train, valid, test):
        ids = vocabulary.encode_stream(part).tolist()
        assert vocabulary.decode(ids) == "".join(part.texts())
        assert ids.count(vocabulary.bos_id) == part.num_documents > 0
    seen = set("".join(train.texts()))
    assert any(character not in vocabulary for character in set("".join(test.texts())) - seen)
    assert all(character in vocabulary for character in seen)


def test_an_empty_part_has_no_ids(stream: TokenStream, vocabulary: Vocabulary) -> None:
    _, empty, _ = stream.split(valid=0, test=0.3)

    assert vocabulary.encode_stream(empty).tolist() == []
    assert set(vocabulary.count_ids(empty)) == {0}


def test_a_closed_vocabulary_has_one_id_for_all_it_does_not_know() -> None:
    closed = of("展昭 大喜 展昭\n展昭 雪", min_freq=2, unknown="unk")

    assert list(closed) == ["<bos>", "\n", "<unk>", " ", "展昭"]
    assert closed.counts == [1, 2, 2, 3, 3]
    assert closed.unk_id == 2
    assert closed.encode("展昭 白玉堂\n雪") == [4, 3, 2, 1, 2]
    assert closed.decode([0, 4, 3, 2, 1, 2]) == "展昭 <unk>\n<unk>"
    assert closed.token_to_id("白玉堂") == 2
    assert "白玉堂" not in closed
    assert closed.characters_per_id is None
    assert closed.byte_ids == []


def test_a_vocabulary_that_spells_has_no_unknown(vocabulary: Vocabulary) -> None:
    assert vocabulary.unk_id is None
    assert sorted(vocabulary.id_to_token(token_id) for token_id in vocabulary.byte_ids) == [
        f"<0x{byte:02X}>" for byte in range(256)
    ]
    assert vocabulary.bos_id == 0
    assert vocabulary.paragraph_end_id == vocabulary.token_to_id("\n") == vocabulary.encode("\n")[0] == 1


def test_tokens_and_ids_find_each_other(vocabulary: Vocabulary) -> None:
    assert len(list(vocabulary)) == len(vocabulary)
    assert len(set(vocabulary)) == len(vocabulary)
    for token_id, token in enumerate(vocabulary):
        assert vocabulary.id_to_token(token_id) == token
        assert vocabulary.token_to_id(token) == token_id
    assert "展" in vocabulary
    assert "爨" not in vocabulary
    assert 5 not in vocabulary
    assert "" not in vocabulary
    with pytest.raises(VocabularyError, match="'爨' is not in the vocabulary; encode"):
        vocabulary.token_to_id("爨")


@pytest.mark.parametrize("unknown", ["characters", "unk"])
def test_words_that_look_special_are_only_words(unknown: str) -> None:
    text = "<bos> <unk> <0xE5> 雪"
    vocabulary = of(text, unknown=unknown)

    ids = vocabulary.encode(text)

    assert [vocabulary.id_to_token(token_id) for token_id in ids[::2]] == text.split()
    assert not {0, 1, vocabulary.unk_id, *vocabulary.byte_ids} & set(ids)
    assert vocabulary.decode(ids) == text
    assert [vocabulary.token_to_id(word) for word in text.split()] == ids[::2]
    assert all(word in vocabulary for word in text.split())
    assert len(set(ids[::2])) == 4
    again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())), tokenizer=Words())
    assert again.encode(text) == ids


def test_special_tokens_are_no_words_of_the_vocabulary(vocabulary: Vocabulary) -> None:
    for text in ("<bos>", "<0xE5>", "<unk>"):
        assert text not in vocabulary
        assert not {0, vocabulary.token_to_id("<0xE5>")} & set(vocabulary.encode(text))
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_decoding_shows_no_document_start_and_broken_bytes_as_replacement(vocabulary: Vocabulary) -> None:
    snow, lead = vocabulary.token_to_id("雪"), vocabulary.token_to_id("<0xE7>")

    assert vocabulary.decode([]) == ""
    assert vocabulary.decode([0, snow, 0, 1]) == "雪\n"
    assert vocabulary.decode([lead, snow, lead]) == "\ufffd雪\ufffd"
    rest = [vocabulary.token_to_id("<0x88>"), vocabulary.token_to_id("<0xA8>")]
    assert vocabulary.decode([lead, *rest, snow]) == "爨雪"


@pytest.mark.parametrize("wrong", [-1, 10**6, True, "3", 1.0, None])
def test_ids_out_of_range_are_refused(vocabulary: Vocabulary, wrong: int) -> None:
    with pytest.raises(VocabularyError, match=rf"integers from 0 to {len(vocabulary) - 1}, got {wrong!r}"):
        vocabulary.id_to_token(wrong)
    with pytest.raises(VocabularyError, match=rf"got {wrong!r}"):
        vocabulary.decode([1, wrong])
    assert vocabulary.id_to_token(len(vocabulary) - 1)
    with pytest.raises(VocabularyError):
        vocabulary.id_to_token(len(vocabulary))


@pytest.mark.parametrize("wrong", [5, None, torch.tensor(5), torch.tensor([[5]]), "56"])
def test_what_is_no_run_of_ids_is_refused(vocabulary: Vocabulary, wrong: list[int]) -> None:
    with pytest.raises(VocabularyError):
        vocabulary.decode(wrong)


@pytest.mark.parametrize("unknown", ["characters", "unk"])
def test_a_new_token_gets_the_next_id_and_a_known_one_keeps_its_own(unknown: str) -> None:
    vocabulary = of("展昭 大喜 雪", unknown=unknown)
    before = list(vocabulary)

    assert vocabulary.add_token("展昭") == before.index("展昭")
    assert vocabulary.add_token("\n") == 1
    assert list(vocabulary) == before
    new = vocabulary.add_token("白玉堂")
    assert new == len(before)
    assert list(vocabulary) == [*before, "白玉堂"]
    assert len(vocabulary) == len(before) + 1
    assert vocabulary.add_token("白玉堂") == new
    assert vocabulary.token_to_id("白玉堂") == new
    assert vocabulary.encode("展昭 白玉堂")[-1] == new
    assert vocabulary.decode([new]) == "白玉堂"
    assert len(vocabulary.counts) == len(vocabulary)
    look_alike = vocabulary.add_token("<bos>")
    assert look_alike == len(before) + 1
    assert vocabulary.decode(vocabulary.encode("<bos> 展昭")) == "<bos> 展昭"


def test_every_id_has_its_characters_after_a_token_was_added() -> None:
    vocabulary = of("展昭 大喜 雪")
    assert vocabulary.characters_per_id is not None
    assert len(vocabulary.characters_per_id) == len(vocabulary)

    new = vocabulary.add_token("白玉堂")

    assert len(vocabulary.characters_per_id) == len(vocabulary)
    assert vocabulary.characters_per_id[new] == 3


def test_an_added_token_is_saved_and_counted() -> None:
    vocabulary = of("展昭 大喜 雪")
    vocabulary.add_token("白玉堂")
    stream = TokenStream.from_texts(["白玉堂 展昭 白玉堂"], tokenizer=Words())

    again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())), tokenizer=Words())

    assert list(again) == list(vocabulary)
    assert again.count_ids(stream)[-1] == 2
    assert vocabulary.count_ids(stream) == again.count_ids(stream)


@pytest.mark.parametrize(("wrong", "error"), [("", VocabularyError), (5, VocabularyError), ("展\ud800", DataError)])
def test_what_is_no_token_is_not_added(wrong: str, error: type[Exception]) -> None:
    vocabulary = Vocabulary(tokenizer="characters")

    with pytest.raises(error):
        vocabulary.add_token(wrong)
    assert len(vocabulary) == len(vocabulary.counts) == 258


def test_a_frozen_copy_takes_no_token_and_does_not_see_later_ones() -> None:
    vocabulary = of("展昭 大喜 雪")
    frozen = vocabulary.frozen_copy()
    size = len(vocabulary)

    vocabulary.add_token("白玉堂")

    assert len(frozen) == size
    assert "白玉堂" not in frozen
    assert frozen.add_token("展昭") == vocabulary.token_to_id("展昭")
    with pytest.raises(VocabularyError, match="'白玉堂' cannot be added: a model's vocabulary is fixed"):
        frozen.add_token("白玉堂")
    with pytest.raises(VocabularyError):
        frozen.frozen_copy().add_token("白玉堂")
    assert len(frozen) == size
    assert frozen.counts == vocabulary.counts[:size]
    assert frozen.decode(frozen.encode("白玉堂 展昭")) == "白玉堂 展昭"


@QUICK
@given(
    learned=st.lists(TEXT | ODD_TEXT, min_size=1, max_size=3).filter(any), text=TEXT | ODD_TEXT, closed=st.booleans()
)
def test_a_saved_vocabulary_is_the_same_vocabulary(learned: list[str], text: str, closed: bool) -> None:
    stream = TokenStream.from_texts(learned, tokenizer="characters")
    vocabulary = Vocabulary.from_stream(stream, unknown="unk" if closed else "characters")

    again = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict(), ensure_ascii=closed)))

    assert list(again) == list(vocabulary)
    assert again.encode(text) == vocabulary.encode(text)
    assert again.counts == vocabulary.counts
    assert again.unknown == vocabulary.unknown
    assert again.tokenizer.name == "characters"
    assert again.fingerprint() == vocabulary.fingerprint()
    assert again.to_dict() == vocabulary.to_dict()


def test_the_fingerprint_tells_vocabularies_apart() -> None:
    text = "展昭 大喜 雪"
    added = of(text)
    added.add_token("白玉堂")
    by_character = Vocabulary.from_dict({**of(text).to_dict(), "tokenizer": {"name": "characters", "options": {}}})
    different = [of(text), of(text, unknown="unk"), of(text, max_size=262), of(text + " 展昭 雪"), added, by_character]

    assert len({vocabulary.fingerprint() for vocabulary in different}) == len(different)
    assert of(text).fingerprint() == of(text).fingerprint() == of(text).frozen_copy().fingerprint()


def test_tokenizer_options_are_saved_with_the_words() -> None:
    stream = TokenStream.from_texts(["李小福是创新办主任"], tokenizer=get_tokenizer("jieba", hmm=False))
    saved = json.loads(json.dumps(Vocabulary.from_stream(stream).to_dict()))

    again = Vocabulary.from_dict(saved)

    assert again.tokenizer.options == {"hmm": False}
    assert again.tokenizer.fingerprint == stream.tokenizer.fingerprint != get_tokenizer("jieba").fingerprint


def test_a_tokenizer_of_the_user_s_must_be_given_again() -> None:
    vocabulary = of("展昭 大喜")
    saved = json.loads(json.dumps(vocabulary.to_dict()))

    with pytest.raises(
        VocabularyError, match=r"user.s tokenizer object, which is not saved; pass the same object.*tokenizer="
    ):
        Vocabulary.from_dict(saved)
    assert Vocabulary.from_dict(saved, tokenizer=Words()).encode("大喜 展昭") == vocabulary.encode("大喜 展昭")


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": None},
        {"tokens": [*range(256), "雪", "雪"]},
        {"tokens": [*range(256), ""]},
        {"tokens": [*range(256), "\n"]},
        {"tokens": [*range(256), None]},
        {"tokens": [*range(256), "\ud800"]},
        {"tokens": [*range(257)]},
        {"tokens": [*range(255), "雪"]},
        {"tokens": [*range(256), True]},
        {"tokens": [*range(256), 1.5]},
        {"tokens": [*range(256), 3]},
        {"counts": [1, 2]},
        {"counts": ["1"] * 258},
        {"counts": 5},
        {"tokenizer": None},
        {"tokenizer": {}},
        {"tokenizer": {"name": "characters", "options": None}},
    ],
)
def test_what_is_no_saved_vocabulary_is_refused(change: dict[str, Any]) -> None:
    saved = Vocabulary(tokenizer="characters").to_dict()
    if "tokens" in change:
        change = {"counts": None, **change}
    assert len(Vocabulary.from_dict(saved)) == 258

    with pytest.raises(VocabularyError):
        Vocabulary.from_dict({**saved, **change})


@pytest.mark.parametrize("key", ["tokens", "counts", "unknown", "tokenizer"])
def test_a_saved_vocabulary_without_a_part_is_refused(key: str) -> None:
    saved = Vocabulary(tokenizer="characters").to_dict()
    del saved[key]

    with pytest.raises(VocabularyError, match=key):
        Vocabulary.from_dict(saved)


@pytest.mark.parametrize(
    "change", [{"unknown": "guess"}, {"unknown": None}, {"tokenizer": {"name": "os.system", "options": {}}}]
)
def test_a_saved_choice_that_does_not_exist_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ZhLstmLmError):
        Vocabulary.from_dict({**Vocabulary(tokenizer="characters").to_dict(), **change})


@pytest.mark.parametrize("wrong", [None, [], "vocabulary", 5])
def test_values_that_are_no_mapping_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VocabularyError, match="not a saved vocabulary"):
        Vocabulary.from_dict(wrong)


@pytest.mark.parametrize("name", ["characters", "jieba"])
def test_a_vocabulary_can_be_copied_and_pickled(spelling: Spelled, name: str) -> None:
    vocabulary = spelling(name)
    text = "展昭笑道：爨！"

    for again in (copy.deepcopy(vocabulary), pickle.loads(pickle.dumps(vocabulary))):
        assert again.encode(text) == vocabulary.encode(text)
        assert list(again) == list(vocabulary)


def test_a_real_novel_survives_a_vocabulary_of_another(shared_data: Path) -> None:
    learned, read = (
        (shared_data / "wuxia" / f"{name}.txt").read_text(encoding="utf-8")[:100_000] for name in ("争春园", "说唐")
    )
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts([learned], tokenizer="characters"), max_size=1500)
    stream = TokenStream.from_texts([read], tokenizer="characters")

    ids = vocabulary.encode_stream(stream)

    assert len(vocabulary) == 1500
    assert vocabulary.decode(ids) == "".join(stream.texts())
    assert vocabulary.characters_per_id is not None
    assert int(vocabulary.characters_per_id[ids.long()].sum()) == stream.num_characters
    assert torch.bincount(ids, minlength=len(vocabulary)).tolist() == vocabulary.count_ids(stream)


# --- another tokenizer than the one that was saved ----------------------------------------------------------------


def saved_with(name: str, **options: Any) -> dict[str, Any]:
    """A vocabulary of a sentence as it comes from a file."""
    stream = TokenStream.from_texts(["李小福是创新办主任"], tokenizer=get_tokenizer(name, **options))
    saved: dict[str, Any] = json.loads(json.dumps(Vocabulary.from_stream(stream).to_dict()))
    return saved


@pytest.mark.parametrize("options", [{}, {"hmm": False}, {"user_dictionary": ["流云十三式 5", "展爷"]}])
def test_the_same_tokenizer_is_met_without_a_word(options: dict[str, Any]) -> None:
    saved = saved_with("jieba", **options)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Vocabulary.from_dict(saved)
        Vocabulary.from_dict(saved, tokenizer=get_tokenizer("jieba", **options))
        Vocabulary.from_dict(saved, tokenizer="jieba")


@pytest.mark.parametrize("change", [{"hmm": False}, {"user_dictionary": ["展昭听了"]}])
def test_another_tokenizer_is_told_and_how_far_it_differs(change: dict[str, Any]) -> None:
    other = get_tokenizer("jieba", **change)

    with pytest.warns(TokenizerMismatchWarning) as told:
        vocabulary = Vocabulary.from_dict(saved_with("jieba"), tokenizer=other)

    message = str(told[0].message)
    assert get_tokenizer("jieba").fingerprint in message  # type: ignore[operator]
    assert other.fingerprint in message  # type: ignore[operator]
    share = re.search(r"([0-9.]+)% of the words of a probe text are segmented differently", message)
    assert share is not None
    assert 0 < float(share[1]) < 20
    assert vocabulary.tokenizer is other
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Saved again, the vocabulary belongs to the other tokenizer.
        Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))


def test_another_version_is_told_even_where_it_cuts_alike() -> None:
    saved = saved_with("jieba")
    saved["tokenizer"]["fingerprint"] = "jieba 0.41 hmm=True"

    with pytest.warns(TokenizerMismatchWarning, match=r"'jieba 0\.41 hmm=True'.*'jieba 0\.4.*: 0\.0% of the words"):
        Vocabulary.from_dict(saved)
    del saved["tokenizer"]["probe"]
    with pytest.warns(TokenizerMismatchWarning, match="the number of affected words is unknown"):
        Vocabulary.from_dict(saved)


@pytest.mark.parametrize("options", [{}, {"hmm": False}, {"user_dictionary": ["展昭听了"]}])
def test_another_backend_takes_the_saved_options(options: dict[str, Any]) -> None:
    pytest.importorskip("rjieba", reason="rjieba (extra fast) is missing")

    with pytest.warns(TokenizerMismatchWarning, match=r"'jieba .*'rjieba .*: 0\.0% of the words"):
        vocabulary = Vocabulary.from_dict(saved_with("jieba", **options), tokenizer="rjieba")

    assert vocabulary.tokenizer.name == "rjieba"
    assert ("展昭听了" in vocabulary.tokenizer.tokenize("展昭听了")) == ("user_dictionary" in options)


def test_an_object_of_the_user_s_is_known_by_what_it_does() -> None:
    class Own:
        def __init__(self, size: int) -> None:
            self.size = size

        def tokenize(self, text: str) -> list[str]:
            return [text[start : start + self.size] for start in range(0, len(text), self.size)]

    saved = Vocabulary(tokenizer=Own(2)).to_dict()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Vocabulary.from_dict(saved, tokenizer=Own(2))
    with pytest.warns(TokenizerMismatchWarning, match=r"object of a user.*: [0-9.]+% of the words"):
        Vocabulary.from_dict(saved, tokenizer=Own(3))


def test_a_tokenizer_that_fails_on_the_probe_does_not_hinder_saving() -> None:
    class Picky(Words):
        def tokenize(self, text: str) -> Sequence[str]:
            if "展" in text:
                raise RuntimeError("not my kind of text")
            return super().tokenize(text)

    assert Vocabulary(tokenizer=Picky()).to_dict()["tokenizer"]["probe"] is None


@pytest.mark.parametrize("change", [{"probe": 5}, {"probe": [5]}, {"fingerprint": 5}, {"options": {"path": "/x"}}])
def test_a_damaged_description_of_a_tokenizer_is_refused(change: dict[str, Any]) -> None:
    saved = Vocabulary(tokenizer="characters").to_dict()

    with pytest.raises(ZhLstmLmError):
        Vocabulary.from_dict({**saved, "tokenizer": {**saved["tokenizer"], **change}})


def test_integers_of_other_libraries_are_ids() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts(["展昭道：好。"], tokenizer="characters"))
    ids = vocabulary.encode("展昭好𠮷")

    assert vocabulary.decode(numpy.array(ids, dtype=numpy.int32)) == "展昭好𠮷"
    assert vocabulary.id_to_token(numpy.int64(ids[0])) == "展"
    with pytest.raises(VocabularyError, match="integers"):
        vocabulary.decode(numpy.array([1.5]))


def test_a_character_is_neither_a_word_nor_special_nor_a_byte(vocabulary: Vocabulary) -> None:
    characters = {
        vocabulary.id_to_token(number) for number in range(len(vocabulary)) if vocabulary.is_character(number)
    }
    assert "展" in characters
    assert {len(character) for character in characters} == {1}
    assert not characters & {"\n", "<bos>"}


def test_a_vocabulary_shows_its_size_and_tokenizer() -> None:
    assert repr(Vocabulary(tokenizer="characters")) == (
        "Vocabulary(258 tokens, unknown='characters', tokenizer='characters')"
    )


@pytest.mark.parametrize("unknown", ["bytes", "", None, 5])
def test_another_way_with_unknown_words_is_refused(unknown: Any) -> None:
    with pytest.raises(ConfigError, match="unknown"):
        Vocabulary(["展昭"], tokenizer="characters", unknown=unknown)


def test_the_name_of_the_unknown_word_is_one_of_closed_vocabularies_only() -> None:
    closed = Vocabulary(["展昭"], tokenizer="characters", unknown="unk")
    spelled = Vocabulary([*range(256), "展昭"], tokenizer="characters")
    assert closed.token_to_id("<unk>") == closed.unk_id
    with pytest.raises(VocabularyError, match="'<unk>' is not in the vocabulary"):
        spelled.token_to_id("<unk>")
