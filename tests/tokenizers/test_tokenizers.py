"""Tokenizers: tokens that together are the text, whoever cut it."""

import copy
import functools
import importlib.util
import itertools
import json
import marshal
import os
import pickle
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zh_lstm_lm
from zh_lstm_lm import TokenStream, Vocabulary
from zh_lstm_lm.errors import ConfigError, DataError, MissingDependencyError
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.tokenizers.base import LosslessTokenizer, Tokenizer, restore_dropped_spans
from zh_lstm_lm.tokenizers.registry import get_tokenizer

QUICK = settings(max_examples=80, deadline=None, derandomize=True, database=None)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))
SENTENCES = [
    "话说展爷大喜，与白玉堂二人推门进了酒店。",
    "小明硕士毕业于中国科学院计算所，后在日本京都大学深造。",
    "他来到了网易杭研大厦",
    "李小福是创新办主任也是云计算方面的专家",
    "　　第一回　锦毛鼠 夜探 冲霄楼\t（上）",
    "GB18030-2022 编码，v1.0_beta，50%的人用 C++ 和 C#。",
    "𠮷野家里有三只🐑，龘靐齉爩，嗰啲嘢。",
    "３月５日，１９７５年；......——？！",
    "\r混\x0b入\x1c控\x00制\x85字\u2028符\ufeff",
]
NAMES = [
    "characters",
    "jieba",
    pytest.param(
        "rjieba",
        marks=pytest.mark.skipif(importlib.util.find_spec("rjieba") is None, reason="rjieba (extra fast) is missing"),
    ),
]
Loaded = Callable[..., LosslessTokenizer]


@pytest.fixture(scope="session")
def loaded() -> Loaded:
    """Tokenizers by name and options, each with its dictionary loaded once."""

    @functools.cache
    def get(name: str, **options: bool) -> LosslessTokenizer:
        return get_tokenizer(name, **options)

    return get


def run_python(code: str, folder: Path, *flags: str, given: str = "", **environment: str) -> tuple[str, str]:
    """Runs a script in a fresh interpreter whose temporary folder is `folder`; returns what it wrote."""
    own = {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder), "PYTHONUTF8": "1"}
    source = {"PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        input=given.encode("utf-8"),
        capture_output=True,
        env={**os.environ, **own, **source, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8")
    return done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def plain_jieba(texts: list[str], folder: Path, *, hmm: bool = True) -> list[list[str]]:
    """Segments texts with jieba itself in a process without this library."""
    code = (
        "import json, sys, jieba; segmenter = jieba.Tokenizer(); "
        f"json.dump([segmenter.lcut(text, HMM={hmm}) for text in json.load(sys.stdin)], sys.stdout)"
    )
    written, _ = run_python(code, folder, "-W", "ignore", given=json.dumps(texts))
    return cast(list[list[str]], json.loads(written))


def random_lines(seed: int, number: int) -> list[str]:
    """Lines of words and odd characters in disorder."""
    pieces = [*"".join(SENTENCES), "展昭", "白玉堂", "中国", "科学院", "大喜", "不知道", "  ", "3.14", "abc"]
    choose = random.Random(seed)
    return ["".join(choose.choices(pieces, k=choose.randrange(1, 40))) for _ in range(number)]


def ends(tokens: Sequence[str]) -> list[int]:
    return list(itertools.accumulate(map(len, tokens)))


def assert_joined_only(ours: list[str], theirs: list[str]) -> None:
    """Our tokens are theirs, except that dashes, dots and numbers may be joined (see test_token_merging.py)."""
    missing = set(ends(theirs)) - set(ends(ours))
    inside = [token for end, token in zip(ends(ours), ours, strict=True) if missing & set(range(end - len(token), end))]
    assert set(ends(ours)) <= set(ends(theirs))
    assert all(re.fullmatch(r"([—－-])\1+|…+|\.+|[0-9０-９.．,%％]+", token) for token in inside), inside


@pytest.mark.parametrize("hmm", [True, False])
def test_jieba_s_tokens_are_those_of_jieba(tmp_path: Path, loaded: Loaded, hmm: bool) -> None:
    texts = [*SENTENCES, *random_lines(seed=0, number=300)]
    ours = loaded("jieba", hmm=hmm)

    expected = plain_jieba(texts, tmp_path, hmm=hmm)

    for text, tokens in zip(texts, expected, strict=True):
        assert_joined_only(ours.tokenize(text), tokens)
    assert any(len(token) > 1 for tokens in expected for token in tokens)


def test_jieba_s_tokens_of_a_real_novel_are_those_of_jieba(tmp_path: Path, loaded: Loaded, shared_data: Path) -> None:
    lines = (shared_data / "wuxia" / "争春园.txt").read_text(encoding="utf-8").split("\n")[:300]

    for line, tokens in zip(filter(None, lines), plain_jieba(list(filter(None, lines)), tmp_path), strict=True):
        assert_joined_only(loaded("jieba", hmm=True).tokenize(line), tokens)


def test_the_hidden_markov_model_can_be_left_out(loaded: Loaded) -> None:
    without = loaded("jieba", hmm=False)

    assert "李小福" in loaded("jieba", hmm=True).tokenize(SENTENCES[3])
    assert "李小福" not in without.tokenize(SENTENCES[3])
    assert without.fingerprint != loaded("jieba", hmm=True).fingerprint


def test_jieba_is_loaded_and_used_in_silence(tmp_path: Path) -> None:
    code = (
        "from zh_lstm_lm.tokenizers.registry import get_tokenizer\n"
        "tokens = get_tokenizer('jieba').tokenize('话说展爷大喜。')\n"
        "assert ''.join(tokens) == '话说展爷大喜。' and len(tokens) < 7, tokens\n"
    )

    # without compiled files too: jieba's own source gives warnings when it is compiled
    assert run_python(code, tmp_path, "-W", "error", PYTHONPYCACHEPREFIX=str(tmp_path / "pyc")) == ("", "")


def test_jieba_s_shared_cache_is_neither_read_nor_written(tmp_path: Path) -> None:
    # jieba itself would load this file, and know no other word.
    planted = marshal.dumps(({"展": 1}, 1))
    (tmp_path / "jieba.cache").write_bytes(planted)
    before = (tmp_path / "jieba.cache").stat()
    code = (
        "import json\n"
        "from zh_lstm_lm.tokenizers.registry import get_tokenizer\n"
        "print(json.dumps(get_tokenizer('jieba', hmm=False).tokenize('中国科学院')))\n"
    )

    # Our own cache is in another folder.
    written, _ = run_python(code, tmp_path)

    assert json.loads(written) == ["中国科学院"]
    assert [file.name for file in tmp_path.iterdir()] == ["jieba.cache"]
    assert (tmp_path / "jieba.cache").read_bytes() == planted
    assert (tmp_path / "jieba.cache").stat().st_mtime_ns == before.st_mtime_ns

    (tmp_path / "jieba.cache").unlink()
    run_python(code, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="session")
def after_changes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """Our and the global jieba's tokens of one sentence after each of two changes to the global jieba."""
    code = (
        "import json, jieba\n"
        "from zh_lstm_lm.tokenizers.registry import get_tokenizer\n"
        f"ours, text = get_tokenizer('jieba'), {SENTENCES[2]!r}\n"
        "seen = {'none': [ours.tokenize(text), jieba.lcut(text)]}\n"
        "jieba.add_word('到了网易')\n"
        "seen['add'] = [ours.tokenize(text), jieba.lcut(text), get_tokenizer('jieba').tokenize(text)]\n"
        "jieba.del_word('杭研')\n"
        "seen['delete'] = [ours.tokenize(text), jieba.lcut(text)]\n"
        "print(json.dumps(seen))\n"
    )
    written, _ = run_python(code, tmp_path_factory.mktemp("jieba"), "-W", "ignore")
    return cast(dict[str, list[list[str]]], json.loads(written))


def test_words_added_to_the_global_jieba_do_not_reach_ours(after_changes: dict[str, list[list[str]]]) -> None:
    ours, global_ones = after_changes["none"]
    assert ours == global_ones
    ours_after, global_after, ours_made_later = after_changes["add"]

    assert global_after != ours
    assert ours_after == ours
    assert ours_made_later == ours


def test_words_deleted_from_the_global_jieba_stay_in_ours(after_changes: dict[str, list[list[str]]]) -> None:
    ours_after, global_after = after_changes["delete"]

    assert "杭研" not in global_after
    assert ours_after == after_changes["none"][0]


def test_jieba_may_be_used_first_by_several_threads_at_once(loaded: Loaded) -> None:
    fresh = get_tokenizer("jieba")
    barrier = threading.Barrier(4)
    seen: list[list[list[str]]] = []

    def use() -> None:
        barrier.wait()
        seen.append([fresh.tokenize(text) for text in SENTENCES])

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [[loaded("jieba", hmm=True).tokenize(text) for text in SENTENCES]] * 4


@pytest.mark.parametrize("hmm", [True, False])
def test_rjieba_s_tokens_are_those_of_rjieba(hmm: bool) -> None:
    rjieba = pytest.importorskip("rjieba", reason="rjieba (extra fast) is missing")
    ours = get_tokenizer("rjieba", hmm=hmm)

    for text in SENTENCES[:5]:
        assert ours.tokenize(text) == rjieba.cut(text, hmm)
    assert ours.fingerprint is not None
    assert f"hmm={hmm}" in ours.fingerprint


def test_a_missing_library_is_told_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module, extra in [
        ("rjieba", "rjieba", "fast"),
        ("hf", "tokenizers", "hf"),
        ("sentencepiece", "sentencepiece", "sentencepiece"),
    ]:
        monkeypatch.setitem(sys.modules, module, None)
        options = {"hf": {"definition": "{}"}, "sentencepiece": {"model": ""}}.get(name, {})
        with pytest.raises(MissingDependencyError, match=rf"{module} is not installed.*'zh-lstm-lm\[{extra}\]'"):
            get_tokenizer(name, **options)


def test_characters_are_code_points() -> None:
    assert get_tokenizer("characters").tokenize("雪 🐑\u3000a\u0301") == ["雪", " ", "🐑", "\u3000", "a", "\u0301"]


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(text=TEXT)
def test_tokens_concatenate_to_the_text(loaded: Loaded, name: str, text: str) -> None:
    tokenizer = loaded(name)

    tokens = tokenizer.tokenize(text)

    assert "".join(tokens) == text
    assert "" not in tokens
    assert tokenizer.join(tokens) == text


@pytest.mark.parametrize("name", NAMES)
def test_a_named_tokenizer_tells_its_name_options_and_fingerprint(name: str) -> None:
    tokenizer = get_tokenizer(name)

    assert tokenizer.name == name
    assert tokenizer.options == {}
    assert tokenizer.fingerprint is not None
    assert name in tokenizer.fingerprint
    assert isinstance(tokenizer, Tokenizer)
    assert get_tokenizer(tokenizer) is tokenizer
    with pytest.raises(ConfigError, match="options are for a tokenizer's name"):
        get_tokenizer(tokenizer, hmm=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_tokenizer_in_use_can_be_copied_and_pickled(loaded: Loaded, name: str) -> None:
    tokenizer = loaded(name)
    expected = tokenizer.tokenize(SENTENCES[0])

    assert copy.deepcopy(tokenizer).tokenize(SENTENCES[0]) == expected
    assert pickle.loads(pickle.dumps(tokenizer)).tokenize(SENTENCES[0]) == expected


@pytest.mark.parametrize(
    ("wrong", "right"), [("jeiba", "jieba"), ("Jieba", "jieba"), ("rjeiba", "rjieba"), ("character", "characters")]
)
def test_an_unknown_name_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=rf"no tokenizer '{wrong}'; did you mean '{right}'\?.*jieba, rjieba, char"):
        get_tokenizer(wrong)


def test_a_name_like_no_other_is_told_the_registered_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no tokenizer 'bpe'; the registered ones are jieba, rjieba, characters, hf,"
    ):
        TokenStream.from_texts(["雪"], tokenizer="bpe")


@pytest.mark.parametrize("name", ["jieba", "rjieba"])
def test_the_hidden_markov_model_is_on_or_off(name: str) -> None:
    if name == "rjieba":
        pytest.importorskip("rjieba", reason="rjieba (extra fast) is missing")
    with pytest.raises(ConfigError, match="hmm must be a bool, got 'no'"):
        get_tokenizer(name, hmm="no")


@pytest.mark.parametrize(("name", "option"), [("jieba", "hnm"), ("characters", "hmm")])
def test_an_unknown_option_is_refused(name: str, option: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' does not take the options.*{option}"):
        get_tokenizer(name, **{option: True})


class Words:
    """Cuts at spaces, and drops them."""

    def tokenize(self, text: str) -> Sequence[str]:
        return text.split()


class Generating(Words):
    def tokenize(self, text: str) -> Sequence[str]:
        def characters() -> Iterator[str]:
            yield from text

        return cast(Sequence[str], characters())


class Giving(Words):
    """Gives the same tokens whatever the text."""

    def __init__(self, tokens: object) -> None:
        self.tokens = tokens

    def tokenize(self, text: str) -> Sequence[str]:
        return cast(Sequence[str], self.tokens)


def test_any_object_with_the_method_cuts_text() -> None:
    words = get_tokenizer(Words())

    assert words.tokenize("  展昭 拔\t剑，  道 ") == ["  ", "展昭", " ", "拔", "\t", "剑，", "  ", "道", " "]
    assert words.tokenize(" ") == [" "]
    assert words.tokenize("") == []
    assert words.name is None
    assert words.fingerprint is None
    assert get_tokenizer(Generating()).tokenize("展昭") == ["展", "昭"]


@QUICK
@given(text=TEXT)
def test_dropped_spaces_come_back(text: str) -> None:
    tokens = get_tokenizer(Words()).tokenize(text)

    assert "".join(tokens) == text
    assert [token for token in tokens if token.strip()] == text.split()


@QUICK
@given(st.lists(st.tuples(st.text(st.sampled_from("展昭雪 "), max_size=3), st.booleans()), max_size=12))
def test_whatever_is_dropped_comes_back(pieces: list[tuple[str, bool]]) -> None:
    text = "".join(piece for piece, _ in pieces)
    kept = [piece for piece, keep in pieces if keep]

    restored = restore_dropped_spans(text, kept)

    assert "".join(restored) == text
    assert "" not in restored
    rest = iter(restored)
    assert all(piece in rest for piece in kept if piece), "the tokenizer's own tokens stay, in order"


def test_empty_tokens_are_left_out() -> None:
    assert get_tokenizer(Giving(["", "展昭", "", "到", ""])).tokenize("展昭到") == ["展昭", "到"]
    assert get_tokenizer(Giving(["展昭", "", "到"])).tokenize("展昭 到") == ["展昭", " ", "到"]


@pytest.mark.parametrize(
    "tokens", [["展昭", "道"], ["到", "展昭"], ["展昭到来"], ["展昭", "展昭到"], ["展 昭"], "展 昭 到"]
)
def test_a_tokenizer_that_changes_characters_is_refused(tokens: Sequence[str]) -> None:
    with pytest.raises(DataError, match=r"changes the text: its token '.+' is not in '.*'…; a tokenizer must cut"):
        get_tokenizer(Giving(tokens)).tokenize("展昭到")


def test_a_stream_refuses_a_tokenizer_that_changes_characters() -> None:
    class Simplifying(Words):
        def tokenize(self, text: str) -> Sequence[str]:
            return [text.replace("後", "后")]

    assert list(TokenStream.from_texts(["前后"], tokenizer=Simplifying())) == ["前后", "\n"]
    with pytest.raises(DataError, match="token '前后' is not in '前後'"):
        TokenStream.from_texts(["前後"], tokenizer=Simplifying())


@pytest.mark.parametrize("tokens", [[1, 2], [("展昭", "nr")], [b"\xe5"], [None], ["展昭", None], None, 5])
def test_tokens_that_are_no_strings_are_refused(tokens: object) -> None:
    with pytest.raises(DataError, match="must give strings"):
        get_tokenizer(Giving(tokens)).tokenize("展昭到")


def test_a_method_detokenize_is_ignored() -> None:
    class WithBoth(Words):
        separator = "-"

        def detokenize(self, tokens: Sequence[str]) -> str:
            raise AssertionError("it is not a part of the protocol")

    vocabulary = Vocabulary.from_stream(TokenStream.from_texts(["展昭 拔剑"], tokenizer=WithBoth()))

    assert list(vocabulary.tokenizer.tokenize("展昭 拔剑")) == ["展昭", " ", "拔剑"]
    assert vocabulary.decode(vocabulary.encode("展昭 拔剑\n道")) == "展昭 拔剑\n道"


def test_an_object_without_the_method_is_refused() -> None:
    class Decodes:
        def detokenize(self, tokens: Sequence[str]) -> str:
            return "".join(tokens)

    class WithAttribute:
        tokenize = "tokenize"

    for wrong in (Decodes(), WithAttribute(), Words, None, 5, ["jieba"]):
        with pytest.raises(ConfigError, match=r"needs the method tokenize\(text\), got"):
            get_tokenizer(wrong)  # type: ignore[arg-type]


def test_a_fingerprint_must_be_a_string() -> None:
    class Numbered(Words):
        fingerprint = 7

    class Named(Words):
        fingerprint = "words 7"

    assert get_tokenizer(Named()).fingerprint == "words 7"
    with pytest.raises(ConfigError, match="fingerprint must be a string or None, got 7"):
        get_tokenizer(Numbered())


@pytest.mark.parametrize("hmm", [True, False])
def test_rjieba_cuts_as_jieba_does(loaded: Loaded, hmm: bool) -> None:
    pytest.importorskip("rjieba", reason="rjieba (extra fast) is missing")
    odd = [
        "更新时间:2007-11-16 7:55:51，见www.in和a_b-c、1-1、a.B%。",
        "杀进𬮱来，进得𬮱时㽙鿖﨎中国",
        *random_lines(seed=1, number=400),
    ]

    for line in odd:
        assert loaded("rjieba", hmm=hmm).tokenize(line) == loaded("jieba", hmm=hmm).tokenize(line)


def real_lines(folder: Path) -> list[str]:
    """The lines of a folder of novels, whatever their encoding."""
    lines: list[str] = []
    for file in sorted(folder.glob("*.txt")):
        data = file.read_bytes()
        for encoding in ("utf-8", "big5hkscs" if folder.name == "big5" else "gb18030"):
            try:
                lines += filter(None, map(str.strip, data.decode(encoding).splitlines()))
                break
            except UnicodeDecodeError:
                continue
    return lines


@pytest.mark.parametrize("hmm", [True, False])
def test_rjieba_cuts_real_novels_as_jieba_does(loaded: Loaded, shared_data: Path, hmm: bool) -> None:
    pytest.importorskip("rjieba", reason="rjieba (extra fast) is missing")
    choose = random.Random(0)
    same = jiebas = rjiebas = 0
    for name in ("wuxia", "gb18030", "big5"):
        for line in choose.sample(real_lines(shared_data / name), 350):
            one, other = loaded("jieba", hmm=hmm).tokenize(line), loaded("rjieba", hmm=hmm).tokenize(line)
            jiebas, rjiebas = jiebas + len(one), rjiebas + len(other)
            same += len(set(itertools.pairwise([0, *ends(one)])) & set(itertools.pairwise([0, *ends(other)])))

    f1 = 2 * same / (jiebas + rjiebas)
    assert jiebas > 30_000
    assert f1 >= (0.9999 if hmm else 1.0)


def test_jieba_is_imported_whole_or_not_at_all() -> None:
    """By an interpreter of its own, with an import that fails once, and tokenizers in several threads."""
    code = """
import importlib.machinery, sys, threading
from zh_lstm_lm.tokenizers.registry import get_tokenizer
loader, failed = importlib.machinery.SourceFileLoader, []
execute = loader.exec_module
def fails_once(self, module):
    if self.name.endswith("._jieba") and not failed:
        failed.append(True)
        raise KeyboardInterrupt
    execute(self, module)
loader.exec_module = fails_once
try:
    get_tokenizer("jieba").tokenize("展昭")
except KeyboardInterrupt:
    print("interrupted", "zh_lstm_lm.tokenizers._jieba" in sys.modules)
cut = []
threads = [threading.Thread(target=lambda: cut.append(get_tokenizer("jieba").tokenize("中国科学院"))) for _ in range(4)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(cut == [["中国科学院"]] * 4)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["interrupted", "False", "True"], done.stderr


def test_a_library_that_is_there_but_broken_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text("import one_of_its_own_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"broken_library cannot be imported \(No module named 'one_of"):
        require("broken_library", extra="fast")
    with pytest.raises(MissingDependencyError, match="no_library is not installed"):
        require("no_library", extra="fast")
