"""A user's own words: whatever form they come in, they are found in text, and travel with the model."""

import copy
import importlib.util
import json
import logging
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.tokenizers.registry import get_tokenizer, restore_tokenizer
from zh_lstm_lm.tokenizers.user_dictionary import read_user_dictionary
from zh_lstm_lm.tokenizers.workers import number_chunks

TEXT = "令狐冲使出流云十三式，东方不败在铁笛崖上冷笑。"
WORDS = {"流云十三式": None, "铁笛崖": 30, "东方不败": 5, "使出流云": 2}
NAMES = [name for name in ("jieba", "rjieba") if importlib.util.find_spec(name) is not None]
with_each = pytest.mark.parametrize("name", NAMES)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def plain_jieba(dictionary: Path, texts: list[str], *, hmm: bool) -> list[list[str]]:
    """Segments texts with jieba itself and the dictionary loaded."""
    code = (
        "import json, sys, jieba; segmenter = jieba.Tokenizer(); segmenter.load_userdict(sys.argv[1]); "
        f"json.dump([segmenter.lcut(text, HMM={hmm}) for text in json.loads(sys.argv[2])], sys.stdout)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(dictionary), json.dumps(texts)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    tokens: list[list[str]] = json.loads(done.stdout)
    return tokens


@with_each
def test_a_word_is_cut_whole_however_it_is_given(tmp_path: Path, name: str) -> None:
    (tmp_path / "names.txt").write_bytes("\ufeff流云十三式\r\n\r\n  铁笛崖 30 ns\n东方不败\t5\n使出流云 2".encode())
    lines = ["流云十三式", "", "铁笛崖 30 ns", "东方不败 5", "使出流云 2\n"]
    given: list[Any] = [tmp_path / "names.txt", str(tmp_path / "names.txt"), lines, iter(lines), WORDS]

    without = get_tokenizer(name).tokenize(TEXT)
    for source in given:
        tokenizer = get_tokenizer(name, user_dictionary=source)
        tokens = tokenizer.tokenize(TEXT)
        assert {"流云十三式", "铁笛崖", "东方不败"} <= set(tokens)
        assert tokenizer.options == {"user_dictionary": WORDS}
    assert not {"流云十三式", "铁笛崖"} & set(without)
    assert get_tokenizer(name).tokenize(TEXT) == without, "they belong to that tokenizer alone"


@pytest.mark.parametrize("hmm", [True, False])
def test_jieba_cuts_as_it_does_with_its_own_load_userdict(tmp_path: Path, hmm: bool) -> None:
    lines = "流云十三式\n铁笛崖 3\n大吃一惊 0\n来到了 900 v\n网易杭研\n网易 0 nt\n冷笑 1\n冷笑 40000\n令狐 7"
    (tmp_path / "names.txt").write_text(lines, encoding="utf-8")
    texts = [TEXT, "他来到了网易杭研大厦，大吃一惊。", "令狐冲冷笑，网易来到。", "李小福是创新办主任"]

    ours = get_tokenizer("jieba", hmm=hmm, user_dictionary=tmp_path / "names.txt")

    assert [ours.tokenize(text) for text in texts] == plain_jieba(tmp_path / "names.txt", texts, hmm=hmm)


def test_a_word_taken_out_is_taken_out_of_one_tokenizer_only() -> None:
    text = "他来到了网易杭研大厦"
    before = get_tokenizer("jieba").tokenize(text)

    assert "杭研" in before
    assert "杭研" not in get_tokenizer("jieba", user_dictionary=["杭研 0"]).tokenize(text)
    assert get_tokenizer("jieba").tokenize(text) == before


def test_rjieba_cannot_take_a_word_out() -> None:
    pytest.importorskip("rjieba", reason="rjieba (extra fast) is missing")

    with pytest.raises(ConfigError, match=r"'杭研' has the frequency 0.*tokenizer 'jieba'"):
        get_tokenizer("rjieba", user_dictionary=["杭研 0"])


@with_each
def test_names_with_characters_that_jieba_never_joins_are_words_too(name: str) -> None:
    tokenizer = get_tokenizer(name, user_dictionary=["哈利·波特", "𠮷野家", "流云十三式"])

    assert tokenizer.tokenize("，哈利·波特在𠮷野家使流云十三式") == [
        "，", "哈利·波特", "在", "𠮷野家", "使", "流云十三式",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("降龙 十八掌", "'降龙 十八掌' is not an entry"),
        ("降龙十八掌 -5", "whole number"),
        ("降龙十八掌 many 5", "降龙十八掌 many 5"),
        ("降龙十八掌 5.5 n", "whole number"),
        ("降龙十八掌 ５", "whole number"),
        ("降龙十八掌 5 6", "not an entry"),
        ("降龙十八掌 5 n v", "not an entry"),
        ("降龙十八掌 " + "9" * 5_000, "from 0 to 1,000,000,000,000"),
        ("降龙十八掌 9999999999999", "from 0 to 1,000,000,000,000"),
        ("降" * 101, "101 characters, expected at most 100"),
    ],
)
def test_a_bad_line_is_named_with_its_place(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "names.txt"
    file.write_text(f"流云十三式\n\n{line}\n铁笛崖\n", encoding="utf-8")

    with pytest.raises(ConfigError) as from_file:
        get_tokenizer("jieba", user_dictionary=file)
    with pytest.raises(ConfigError, match="user_dictionary, line 2: "):
        get_tokenizer("jieba", user_dictionary=["流云十三式", line])
    assert str(from_file.value).startswith(f"{file}, line 3: ")
    assert told in str(from_file.value)
    assert "frequency" in str(from_file.value) or "characters" in str(from_file.value)


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_a_file_without_words_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.txt").write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"names\.txt: there is no word in it; expected 'word \[frequency\]"):
        get_tokenizer("jieba", user_dictionary=tmp_path / "names.txt")


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "gbk", "gb18030"])
def test_a_file_is_read_in_the_encodings_of_editors_on_windows(tmp_path: Path, codec: str) -> None:
    (tmp_path / "names.txt").write_bytes(
        "流云十三式 5 n\r\n展昭\r\n东方朱䶮 3\r\n".replace("䶮", "" if codec == "gbk" else "䶮").encode(codec)
    )

    words = list(read_user_dictionary(tmp_path / "names.txt"))

    assert words == ["流云十三式", "展昭", "东方朱" if codec == "gbk" else "东方朱䶮"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    # In Big5, whose bytes are also valid in GBK.
    (tmp_path / "big5.txt").write_bytes("流雲十三式 5\n萬劍歸宗 5\n".encode("big5"))

    with pytest.raises(ConfigError, match=r"big5\.txt, byte 0: not valid UTF-8 \(0xac\), nor GBK; .* save it as such"):
        get_tokenizer("jieba", user_dictionary=tmp_path / "big5.txt")
    for wrong in (tmp_path / "none.txt", tmp_path, "a\x00b"):
        with pytest.raises(ConfigError, match="cannot be read"):
            get_tokenizer("jieba", user_dictionary=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        5, b"names.txt", [], {}, [None], [5], {"剑": "5"}, {"剑": -1}, {"剑": True}, {"剑": 1.5}, {"": 5}, {"流 云": 5},
        {5: 5}, {"\ud800": 5}, ["\ud800"], {"剑\n": 1},
    ],
)  # fmt: skip
def test_what_is_no_dictionary_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="user_dictionary"):
        get_tokenizer("jieba", user_dictionary=wrong)


@pytest.mark.parametrize(
    "line",
    [
        "降龙十八掌,20,n",
        "降龙十八掌，20，n",
        "降龙十八掌, 20, n",
        "降龙十八掌;20",
        "降龙十八掌|20|n",
        "word,freq,tag",
        "降龙十八掌=20",
        "降龙十八掌、亢龙有悔",
        '"降龙十八掌"',
        "“降龙十八掌”",
        "降龙十八掌\x00\x01",
    ],
)
def test_columns_of_another_format_are_noticed(tmp_path: Path, line: str) -> None:
    (tmp_path / "names.csv").write_text(f"流云十三式 5\n{line}\n", encoding="utf-8")
    mark = next(character for character in line if character in ',，;|=、"“\x00')

    with pytest.raises(
        ConfigError, match=rf"names\.csv, line 2: .* has a {re.escape(repr(mark))}; expected 'word \[frequency\]"
    ):
        get_tokenizer("jieba", user_dictionary=tmp_path / "names.csv")
    assert get_tokenizer("jieba", user_dictionary={"一，二": 5}).tokenize("说一，二") == ["说", "一，二"]


@pytest.mark.parametrize("door", ["texts", "files"])
@with_each
def test_words_are_normalised_as_the_text_is(tmp_path: Path, name: str, door: str) -> None:
    words = {"Ｔ７飞船": 20, "cafe\u0301馆": None, "流云十三式": 5}
    text = "他坐Ｔ７飞船，去，café馆，使流云十三式。"
    tokenizer = get_tokenizer(name, user_dictionary=words)
    if door == "texts":
        stream = TokenStream.from_texts([text], tokenizer=tokenizer, normalize="nfc+width")
    else:
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        stream = TokenStream.from_files(tmp_path / "a.txt", tokenizer=tokenizer, cache_dir=tmp_path / "cache")

    assert {"T7飞船", "café馆", "流云十三式"} <= set(stream)
    assert stream.tokenizer.options["user_dictionary"] == {"T7飞船": 20, "café馆": None, "流云十三式": 5}
    assert tokenizer.options["user_dictionary"] == words
    saved = json.loads(json.dumps(Vocabulary.from_stream(stream).to_dict()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Vocabulary.from_dict(saved, tokenizer=tokenizer)
    assert again.tokenizer.fingerprint == stream.tokenizer.fingerprint
    assert TokenStream.from_texts([text], tokenizer=tokenizer).tokenizer is tokenizer


def test_words_that_never_occur_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    words = {"铁笛崖": 30, "桃花岛": 5, "黑木崖": None, "冷笑": 0}
    # The second stream is loaded from the cache.
    for _ in range(2):
        caplog.clear()
        TokenStream.from_files(
            tmp_path / "a.txt", tokenizer=get_tokenizer("jieba", user_dictionary=words), cache_dir=tmp_path / "cache"
        )
        assert warnings_of(caplog) == ["user_dictionary: 2 of 4 words never occur as tokens of the text: 桃花岛 黑木崖"]
    caplog.clear()
    TokenStream.from_texts([TEXT], tokenizer=get_tokenizer("jieba", user_dictionary=["铁笛崖"]))
    assert not warnings_of(caplog)


def test_of_a_word_that_stands_twice_the_last_line_counts() -> None:
    assert read_user_dictionary(["剑 5", "刀 1 n", "剑", "刀 7"]) == {"剑": None, "刀": 7}


def test_the_fingerprint_changes_with_the_words() -> None:
    given: list[Any] = [None, ["剑客"], ["剑客 5"], ["剑客 6"], ["刀客"], ["剑客", "刀客"]]
    prints = [get_tokenizer("jieba", user_dictionary=words).fingerprint for words in given]

    assert len(set(prints)) == len(given)
    assert get_tokenizer("jieba").fingerprint == prints[0]
    assert get_tokenizer("jieba", user_dictionary={"剑客": 5}).fingerprint == prints[2]


@with_each
def test_a_tokenizer_with_words_can_be_copied_and_pickled(name: str) -> None:
    tokenizer = get_tokenizer(name, user_dictionary=WORDS)
    expected = tokenizer.tokenize(TEXT)

    for again in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert again.tokenize(TEXT) == expected
        assert again.fingerprint == tokenizer.fingerprint


def test_the_words_travel_with_a_stream_a_vocabulary_and_a_saved_model(tmp_path: Path) -> None:
    words = tmp_path / "names.txt"
    words.write_text("流云十三式\n铁笛崖 30\n", encoding="utf-8")
    (tmp_path / "novel.txt").write_text(f"{TEXT}\n" * 4, encoding="utf-8")
    stream = TokenStream.from_files(
        tmp_path / "novel.txt", tokenizer=get_tokenizer("jieba", user_dictionary=words), cache_dir=tmp_path / "cache"
    )
    vocabulary = Vocabulary.from_stream(stream)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    model.save_pretrained(tmp_path / "model")
    words.unlink()

    again = LSTMLanguageModel.from_pretrained(tmp_path / "model").vocabulary

    assert "流云十三式" in again
    assert again.tokenizer.options == {"user_dictionary": {"流云十三式": None, "铁笛崖": 30}}
    assert again.encode(TEXT) == vocabulary.encode(TEXT)
    assert again.token_to_id("流云十三式") in again.encode("使出流云十三式！")


def test_a_saved_dictionary_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("流云十三式\n", encoding="utf-8")

    with pytest.raises(ConfigError, match="user_dictionary must be a mapping from word to frequency"):
        restore_tokenizer("jieba", {"user_dictionary": str(tmp_path / "names.txt")})


def test_workers_get_a_dictionary_of_any_size() -> None:
    many = {f"{first}{second}{third}派": 1 for first in "甲乙丙丁戊己庚辛" for second in "子丑寅卯辰巳午未" * 1
            for third in [chr(code) for code in range(0x4E00, 0x4E00 + 300)]}  # fmt: skip
    tokenizer = get_tokenizer("jieba", user_dictionary={**many, **WORDS})
    assert len(json.dumps(tokenizer.options)) > 200_000

    words: dict[str, int] = {}
    first, second = number_chunks(tokenizer, [TEXT, "甲子一派的人"], words, workers=2)
    assert [list(words)[number] for number in first] == tokenizer.tokenize(TEXT)
    assert [list(words)[number] for number in second] == tokenizer.tokenize("甲子一派的人")
    assert tokenizer.tokenize("甲子一派的人")[0] == "甲子一派"


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """A vocabulary whose tokenizer has words of its own."""
    tokenizer = get_tokenizer("jieba", user_dictionary=[*WORDS, "哈利·波特", "𠮷野家"])
    return Vocabulary.from_stream(TokenStream.from_texts([TEXT, "哈利·波特，𠮷野家"], tokenizer=tokenizer))


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.sampled_from([*WORDS, "哈利·波特", "𠮷野家", "·", "——", "3", ".", "　", "\n", "流云", "🐑"])).map(
        "".join
    )
    | st.text(st.characters(exclude_categories=["Cs"]))
)
def test_nothing_is_lost_between_text_and_ids(vocabulary: Vocabulary, text: str) -> None:
    assert vocabulary.decode(vocabulary.encode(text)) == text
    for paragraph in text.split("\n"):
        assert "".join(vocabulary.tokenizer.tokenize(paragraph)) == paragraph
