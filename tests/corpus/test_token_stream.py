"""Streams of tokens: what is in them, the cache that keeps them, and how they are split."""

import contextlib
import errno
import importlib.util
import itertools
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zh_lstm_lm
from zh_lstm_lm import TokenStream
from zh_lstm_lm.corpus.segmentation import DocumentSpan
from zh_lstm_lm.corpus.stream_cache import check_stored
from zh_lstm_lm.errors import ConfigError, DataError

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=5)
PARAGRAPHS = st.lists(st.text(st.sampled_from("展昭雪"), max_size=9), min_size=1, max_size=12)
FILES = {
    "a.txt": "　　展昭 道：好雪！\n\n　　二人 进了 酒店。\n",
    "b/c.txt": "只见 一条 黑影。\n",
    "d.txt": "展昭 道：哪里走！",
}
CACHED = ["manifest.json", "stream.json", "tokens.bin", "lexicon.utf8"]


class Words:
    """Cuts at spaces, and counts how often it is asked."""

    fingerprint: str | None = None

    def __init__(self, fingerprint: str | None = None) -> None:
        self.fingerprint = fingerprint
        self.calls = 0

    def tokenize(self, text: str) -> Sequence[str]:
        self.calls += 1
        return text.split()


@pytest.fixture
def novels(tmp_path: Path) -> Path:
    folder = tmp_path / "novels"
    write(folder, FILES)
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")


def of(text: str) -> TokenStream:
    """One document, a character a token."""
    return TokenStream.from_texts([text], tokenizer="characters")


def lines_of(stream: TokenStream) -> list[list[str]]:
    """The paragraphs of each document."""
    return [text.removesuffix("\n").split("\n") for text in stream.texts()]


def by_hand(texts: list[str]) -> list[list[str]]:
    """The characters of each text that has some; line ends are newlines, the last line has one too."""
    documents = []
    for text in texts:
        if text:
            unified = text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
            documents.append(list(unified if unified.endswith("\n") else unified + "\n"))
    return documents


@QUICK
@given(TEXTS.filter(any))
def test_a_stream_holds_the_characters_of_its_texts_and_counts_them(texts: list[str]) -> None:
    documents = by_hand(texts)
    tokens = [token for document in documents for token in document]

    stream = TokenStream.from_texts(texts, tokenizer="characters")

    assert list(stream) == tokens
    assert list(stream.texts()) == ["".join(document) for document in documents]
    assert len(stream) == stream.num_tokens == stream.num_characters == len(tokens)
    assert stream.num_documents == len(documents)
    assert stream.lexicon == list(dict.fromkeys(["\n", *tokens]))
    counts = dict(zip(stream.lexicon, stream.token_counts().tolist(), strict=True))
    assert counts == {"\n": 0, **Counter(tokens)}


@QUICK
@given(st.lists(st.text(st.sampled_from("展昭雪夜 　\n"), min_size=1, max_size=40), min_size=1, max_size=4))
def test_words_are_counted_as_tokens_and_their_characters_as_characters(texts: list[str]) -> None:
    stream = TokenStream.from_texts(texts, tokenizer=Words())

    expected = [text if text.endswith("\n") else text + "\n" for text in texts]
    assert list(stream.texts()) == expected
    assert stream.num_characters == sum(map(len, expected))
    words = [word for text in texts for word in text.split()]
    assert [token for token in stream if token.strip()] == words
    assert stream.num_tokens == len(list(stream))
    assert list(stream).count("\n") == sum(text.count("\n") for text in expected)


def test_numbers_never_run_across_documents() -> None:
    stream = TokenStream.from_texts(["一二三四五", "六七"], tokenizer="characters")

    pieces = [[stream.lexicon[number] for number in piece.tolist()] for piece in stream.numbers(chunk_size=4)]
    assert pieces == [["一", "二", "三", "四"], ["五", "\n"], ["六", "七", "\n"]]


def test_a_long_document_is_one_document(tmp_path: Path) -> None:
    texts = ["大雪\n" * 60_000, "夜\n", "昭" * 140_000 + "\n展\n"]
    write(tmp_path, {f"{number}.txt": text for number, text in enumerate(texts)})

    for stream in (
        TokenStream.from_texts(texts, tokenizer="characters"),
        TokenStream.from_files(tmp_path, tokenizer="characters", cache_dir=tmp_path / "cache"),
    ):
        assert stream.num_documents == 3
        assert list(stream.texts()) == texts
        assert len(stream) == sum(map(len, texts))


def test_texts_are_not_cleaned() -> None:
    stream = of("　　一\n\n　二　")

    assert list(stream.texts()) == ["　　一\n\n　二　\n"]
    assert stream.clean == "none"


def test_jieba_is_the_tokenizer_where_none_is_named() -> None:
    assert list(TokenStream.from_texts(["中国科学院"])) == ["中国科学院", "\n"]


@pytest.mark.parametrize("texts", [[], [""], ["", ""], iter([])])
def test_no_text_at_all_is_told(texts: list[str]) -> None:
    with pytest.raises(DataError, match="there is no text"):
        TokenStream.from_texts(texts, tokenizer="characters")


def test_texts_that_are_no_texts_are_refused_by_their_place() -> None:
    with pytest.raises(DataError, match=r"give \[text\]"):
        TokenStream.from_texts("展昭", tokenizer="characters")
    with pytest.raises(DataError, match=r"texts\[1\] must be a string, got b'\\xe5'"):
        TokenStream.from_texts(["展昭", b"\xe5"], tokenizer="characters")  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"texts\[1\]: character 2 is a lone surrogate \('\\ud83d'\)"):
        TokenStream.from_texts(["展昭", "展昭\ud83d"], tokenizer="characters")


@pytest.mark.parametrize("texts", [None, 5])
def test_what_is_no_list_of_texts_is_refused(texts: list[str]) -> None:
    with pytest.raises(DataError, match="texts must be a list of strings"):
        TokenStream.from_texts(texts, tokenizer="characters")


def test_files_pass_through_cleaning_and_texts_do_not(novels: Path, tmp_path: Path) -> None:
    cleaned = ["展昭 道：好雪！\n二人 进了 酒店。\n", "只见 一条 黑影。\n", "展昭 道：哪里走！\n"]
    asis = ["　　展昭 道：好雪！\n\n　　二人 进了 酒店。\n", *cleaned[1:]]

    novel = TokenStream.from_files(novels, tokenizer="characters", cache_dir=tmp_path)
    none = TokenStream.from_files(novels, tokenizer="characters", clean="none", cache_dir=tmp_path)

    assert list(novel.texts()) == cleaned
    assert novel.clean == "novel"
    assert [document.name for document in novel.documents] == ["a.txt", "b/c.txt", "d.txt"]
    assert list(none.texts()) == asis
    assert none.clean == "none"
    assert none.lexicon == TokenStream.from_texts(asis, tokenizer="characters").lexicon


@pytest.mark.parametrize("name", ["characters", "words"])
def test_a_stream_from_the_cache_is_the_stream_that_was_made(novels: Path, tmp_path: Path, name: str) -> None:
    def read() -> TokenStream:
        tokenizer = Words("words 1") if name == "words" else name
        return TokenStream.from_files(novels, tokenizer=tokenizer, cache_dir=tmp_path / "cache")

    made, kept = read(), read()

    in_memory = TokenStream.from_files(novels, tokenizer=Words()) if name == "words" else None
    for stream in (kept, in_memory) if in_memory else (kept,):
        assert list(stream) == list(made)
        assert stream.lexicon == made.lexicon
        assert stream.documents == made.documents
        assert stream.num_characters == made.num_characters
        assert stream.clean == made.clean


def test_what_is_in_the_cache_is_not_cut_again(novels: Path, tmp_path: Path) -> None:
    first, second = Words("words 1"), Words("words 1")
    TokenStream.from_files(novels, tokenizer=first, cache_dir=tmp_path / "cache")
    os.utime(novels / "a.txt", (1, 1))
    moved = novels.rename(tmp_path / "moved")

    stream = TokenStream.from_files(moved, tokenizer=second, cache_dir=str(tmp_path / "cache"))

    assert first.calls == 4
    assert second.calls == 0
    assert stream.lexicon[:3] == ["\n", "展昭", " "]


def test_the_user_s_cache_folder_is_taken_where_none_is_named(
    novels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path / "users"))
    first, second = Words("words 1"), Words("words 1")

    TokenStream.from_files(novels, tokenizer=first)
    TokenStream.from_files(novels, tokenizer=second, cache_dir=tmp_path / "users")

    assert (first.calls, second.calls) == (4, 0)


def test_whatever_can_change_a_token_makes_another_cache(novels: Path, tmp_path: Path) -> None:
    def is_cut(fingerprint: str = "words 1", *, clean: str = "novel", encoding: str = "auto") -> bool:
        tokenizer, cache = Words(fingerprint), tmp_path / "cache"
        stream = TokenStream.from_files(novels, tokenizer=tokenizer, clean=clean, encoding=encoding, cache_dir=cache)
        in_memory = TokenStream.from_files(novels, tokenizer=Words(), clean=clean, encoding=encoding)
        assert list(stream) == list(in_memory)
        return tokenizer.calls > 0

    assert is_cut()
    assert not is_cut()
    assert is_cut("words 2")
    assert is_cut(clean="none")
    assert is_cut(encoding="utf-8")
    assert is_cut(encoding="latin-1")
    (novels / "d.txt").write_text("展昭 道：哪里跑！", encoding="utf-8")
    assert is_cut()
    (novels / "e.txt").write_text("新 的。", encoding="utf-8")
    assert is_cut()
    (novels / "e.txt").unlink()
    assert not is_cut()


def test_a_tokenizer_without_a_fingerprint_leaves_nothing_on_disk(novels: Path, tmp_path: Path) -> None:
    for _ in range(2):
        tokenizer = Words()
        TokenStream.from_files(novels, tokenizer=tokenizer, cache_dir=tmp_path / "cache")
        assert tokenizer.calls == 4
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("place", ["cache", ".cache"])
def test_a_cache_kept_among_the_novels_is_not_read_as_one(novels: Path, place: str) -> None:
    read = [TokenStream.from_files(novels, tokenizer="characters", cache_dir=novels / place) for _ in range(2)]

    assert [document.name for document in read[1].documents] == ["a.txt", "b/c.txt", "d.txt"]
    assert list(read[1]) == list(read[0])


@pytest.mark.parametrize("damage", ["truncated", "halved", "flipped", "emptied", "removed"])
def test_a_damaged_cache_is_made_again(
    novels: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    def read() -> tuple[list[str], bool]:
        tokenizer = Words("words 1")
        stream = TokenStream.from_files(novels, tokenizer=tokenizer, cache_dir=tmp_path / "cache")
        return list(stream), tokenizer.calls > 0

    tokens, _ = read()
    (folder,) = (tmp_path / "cache" / "streams").iterdir()
    names = sorted(file.name for file in folder.iterdir())
    assert "tokens.bin" in names
    for name in names:
        file = folder / name
        data = file.read_bytes()
        middle = len(data) // 2
        if damage == "removed":
            file.unlink()
        elif damage == "flipped":
            file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        else:  # the manifest ends in a newline more than it needs
            file.write_bytes(data[: {"truncated": len(data) - 2, "halved": middle, "emptied": 0}[damage]])

        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert read() == (tokens, True), name
        assert f"{folder}: a damaged cache is made again" in caplog.text, name
        assert read() == (tokens, False), name
        assert sorted(file.name for file in folder.iterdir()) == names


def test_files_that_cannot_be_read_and_that_are_no_text_are_named_together(novels: Path, tmp_path: Path) -> None:
    (novels / "broken.txt").write_bytes(bytes(range(128, 256)) * 8)
    (novels / "nowhere.txt").symlink_to(tmp_path / "nothing.txt")

    with pytest.raises(DataError, match=r"broken\.txt: seems to be no text(.|\n)*nowhere\.txt: cannot be read"):
        TokenStream.from_files(novels, tokenizer="characters", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_folder_that_cannot_be_made_is_done_without(
    novels: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")

    with caplog.at_level(logging.WARNING):
        stream = TokenStream.from_files(novels, tokenizer="characters", cache_dir=tmp_path / "cache")

    assert list(stream) == list(TokenStream.from_files(novels, tokenizer="characters", cache_dir=tmp_path / "other"))
    assert "no cache is kept" in caplog.text
    assert (tmp_path / "cache").read_text(encoding="utf-8") == "a file"


def test_without_a_home_folder_no_cache_is_kept(
    novels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    expected = list(TokenStream.from_files(novels, tokenizer="characters", cache_dir=tmp_path / "cache"))
    for name in ("ZH_LSTM_LM_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)

    assert list(TokenStream.from_files(novels, tokenizer="characters")) == expected
    assert "ZH_LSTM_LM_CACHE" in caplog.text


@pytest.mark.parametrize("call", ["mkdir", "fsync"])
def test_a_cache_folder_that_takes_no_file_is_done_without(
    novels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    expected = list(TokenStream.from_files(novels, tokenizer=Words()))
    (tmp_path / "cache" / "streams").mkdir(parents=True)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    if call == "mkdir":
        # Python 3.10 took the function of the system when `pathlib` was imported.
        monkeypatch.setattr(Path, call, fail)
    stream = TokenStream.from_files(novels, tokenizer=Words("words 1"), cache_dir=tmp_path / "cache")

    assert list(stream) == expected
    monkeypatch.undo()
    assert list((tmp_path / "cache" / "streams").iterdir()) == []


def test_threads_may_read_the_same_novels_at_once(novels: Path, tmp_path: Path) -> None:
    meeting = threading.Barrier(4)

    class Meeting(Words):
        """Meets the others once each has begun, so that they all come to the end together."""

        def tokenize(self, text: str) -> Sequence[str]:
            if not self.calls:
                with contextlib.suppress(threading.BrokenBarrierError):  # one waits for the other: that is fine too
                    meeting.wait(timeout=2)
            return super().tokenize(text)

    def use(cache: Path, read: list[list[str] | Exception]) -> None:
        try:
            read.append(list(TokenStream.from_files(novels, tokenizer=Meeting("words 1"), cache_dir=cache)))
        except Exception as error:
            read.append(error)

    expected = list(TokenStream.from_files(novels, tokenizer=Words()))
    for turn in range(20):
        read: list[list[str] | Exception] = []
        threads = [threading.Thread(target=use, args=(tmp_path / str(turn), read)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert read == [expected] * 4


def test_processes_started_together_share_a_cache(novels: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from zh_lstm_lm import TokenStream\n"
        "folder, me = Path(sys.argv[1]), sys.argv[2]\n"
        "for turn in range(8):\n"
        "    (folder / f'ready-{turn}-{me}').touch()\n"
        "    while not all((folder / f'ready-{turn}-{other}').exists() for other in range(2)):\n"
        "        time.sleep(0.001)\n"
        "    try:\n"
        "        stream = TokenStream.from_files(folder / 'novels', tokenizer='characters', cache_dir=folder / str(turn))\n"
        "        print(len(list(stream)))\n"
        "    except Exception as error:\n"
        "        print(repr(error))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(zh_lstm_lm.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(me)], env=environment, stdout=subprocess.PIPE)
        for me in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].decode("utf-8").split("\n") for process in processes]

    length = len(TokenStream.from_files(novels, tokenizer="characters", cache_dir=tmp_path / "cache"))
    assert printed == [[*[str(length)] * 8, ""]] * 2


@pytest.mark.parametrize("clean", ["novels", "", None])
def test_an_unknown_cleaning_is_refused(novels: Path, clean: str) -> None:
    with pytest.raises(ConfigError, match="clean must be"):
        TokenStream.from_files(novels, clean=clean)


def protocol(lines: list[str], train: float, known: float) -> tuple[list[str], list[str], list[str]]:
    """The lines of one document dealt out as the protocol does."""
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    total, seen = sum(map(len, lines)), 0
    for line in lines:
        seen += len(line)
        parts[0 if seen < train * total else 1 if seen < known * total else 2].append(line)
    return parts


def proportions(parts: Sequence[TokenStream]) -> list[float]:
    total = sum(part.num_characters for part in parts)
    return [part.num_characters / total for part in parts]


@QUICK
@given(st.lists(st.lists(st.integers(1, 30), min_size=120, max_size=160), min_size=1, max_size=4))
def test_documents_of_short_paragraphs_are_cut_as_the_protocol_does(lengths: list[list[int]]) -> None:
    documents = [["雪" * length for length in one] for one in lengths]
    stream = TokenStream.from_texts(["\n".join(lines) + "\n" for lines in documents], tokenizer="characters")
    expected = [protocol(lines, 0.7, 0.9) for lines in documents]
    sizes = [
        [sum(map(len, part)) / sum(map(len, lines)) for part in one]
        for one, lines in zip(expected, documents, strict=True)
    ]

    parts = stream.split(valid=0.2, test=0.1)

    total = sum(map(sum, lengths))
    if all(abs(valid - 0.2) <= 0.01 and abs(test - 0.1) <= 0.01 for _, valid, test in sizes):
        for number, part in enumerate(parts):
            assert lines_of(part) == [lines[number] for lines in expected]
            assert part.num_tokens == len(list(part)) == part.num_characters
            assert (part.clean, part.lexicon) == (stream.clean, stream.lexicon)
            assert sum(part.token_counts()[1:]) == pytest.approx([0.7, 0.2, 0.1][number] * total, abs=0.02 * total)


MANY_SHORT = [*["\n".join(["雪夜昭道好"] * 50)] * 10, *["展" * 250] * 10]
SENTENCES = "二人在雪夜里行了三里，来到一座古庙之前。只见庙门半掩！“谁？”展昭喝道。无人应声……他推门而入。"


@pytest.mark.parametrize(
    "texts",
    [
        MANY_SHORT,
        MANY_SHORT[::-1],
        ["展" * 250] * 40,
        [SENTENCES] * 200,
        ["风雪夜归人。\n"] * 300,
        ["白日依山尽，\n黄河入海流。\n欲穷千里目，\n更上一层楼。"] * 150,
        [SENTENCES * 3000],
        [SENTENCES * 1500 + "\n" + SENTENCES * 1500],
        [SENTENCES * 300, "雪夜。", SENTENCES * 2],
        ["\n".join([SENTENCES * 2] * 60)] * 3 + [SENTENCES] * 12,
        ["一卷\n" + SENTENCES * 40, *["\n".join(["雪夜"] * 30)] * 20, SENTENCES * 100],
    ],
)
@pytest.mark.parametrize(("valid", "test"), [(0.05, 0.05), (0.1, 0.05), (0.0, 0.1)])
def test_proportions_hold_whatever_the_documents_are_like(
    texts: list[str], valid: float, test: float, caplog: pytest.LogCaptureFixture
) -> None:
    stream = TokenStream.from_texts(texts, tokenizer="characters")

    parts = stream.split(valid=valid, test=test)

    assert proportions(parts)[1:] == pytest.approx([valid, test], abs=0.01)
    assert "cannot be met" not in caplog.text
    whole = {span.name: (span.start, span.stop) for span in stream.documents}
    pieces: dict[str, list[tuple[int, int]]] = {}
    for part in parts:
        for span in part.documents:
            pieces.setdefault(span.name, []).append((span.start, span.stop))
    for name, spans in pieces.items():  # nothing is lost, nothing doubled, and the order is that of the document
        assert [spans[0][0], spans[-1][1]] == list(whole[name])
        assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def test_a_long_paragraph_is_cut_at_a_sentence_end() -> None:
    stream = TokenStream.from_texts([SENTENCES * 3000], tokenizer="characters")

    for part in stream.split():
        assert next(part.texts()).startswith(("二人", "只见", "“谁", "无人", "他推"))
        assert next(part.texts()).rstrip("\n").endswith(("。", "！", "？”", "……"))


def test_a_text_without_sentences_is_cut_between_two_tokens() -> None:
    parts = TokenStream.from_texts(["雪夜 " * 4000], tokenizer=Words()).split()

    assert proportions(parts)[1:] == pytest.approx([0.05, 0.05], abs=0.001)


def test_small_documents_go_whole_into_one_part() -> None:
    texts = [f"{number}。{SENTENCES}" for number in range(200)]

    parts = TokenStream.from_texts(texts, tokenizer="characters").split()

    assert sorted(text for part in parts for text in part.texts()) == sorted(text + "\n" for text in texts)
    assert [part.num_documents for part in parts] == [180, 10, 10]


def test_proportions_that_cannot_be_met_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    TokenStream.from_texts(["展" * 30, "昭" * 30, "雪" * 30], tokenizer="characters").split(valid=0.05, test=0.05)

    assert "valid=0.05 cannot be met: the part has 33.3 %" in caplog.text
    assert "test=0.05 cannot be met: the part has 33.3 %" in caplog.text
    caplog.clear()
    TokenStream.from_texts(["雪夜。\n" * 50] * 4, tokenizer="characters").split(by="document")
    assert "valid=0.05 cannot be met: the part has 25.0 %" in caplog.text
    assert "by='document'" in caplog.text


@pytest.mark.parametrize(
    "texts", [["雪夜归人。\n" * 3], ["雪夜归人。\n" * 40], ["展昭笑道。" * 20] * 9 + ["雪夜归人。\n" * 40]]
)
def test_proportions_less_than_a_paragraph_get_one(texts: list[str], caplog: pytest.LogCaptureFixture) -> None:
    parts = TokenStream.from_texts(texts, tokenizer="characters").split(valid=0.002, test=0.001)

    assert [list(part.texts()) for part in parts[1:]] == [["雪夜归人。\n"]] * 2
    assert ("cannot be met" in caplog.text) == (len(texts) == 1)


@pytest.mark.parametrize("proportion", [1e-9, 0.0005, 0.002])
@pytest.mark.parametrize("after", ["", "\n展昭笑道。"])
def test_less_than_a_paragraph_of_a_novel_in_one_line_is_a_few_sentences(proportion: float, after: str) -> None:
    novel = "".join(f"展昭在雪夜里行了{number}里，来到一座古庙之前。" for number in range(2_000)) + after

    parts = TokenStream.from_texts([novel], tokenizer="characters").split(valid=proportion, test=proportion)

    whole = "".join(text for part in parts for text in part.texts())
    assert whole.replace("\n", "") == novel.replace("\n", "")
    assert all(0 < part.num_characters < 0.01 * len(novel) for part in parts[1:])
    assert "".join(parts[0].texts()).rstrip("\n").endswith("。")


def test_a_text_that_repeats_itself_is_in_one_script(caplog: pytest.LogCaptureFixture) -> None:
    for size in (1_000, 2_500, 5_000):
        TokenStream.from_texts([SENTENCES * size], tokenizer="characters").split()

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_held_out_part_in_another_script_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    licence = "You may copy it, give it away or re-use it under the terms of the licence. " * 150
    simplified = "\n".join(["这个时候他们来到门前，听见里面说话，还没开门，便问谁在这里。"] * 700)
    traditional = "\n".join(["這個時候他們來到門前，聽見裡面說話，還沒開門，便問誰在這裡。"] * 40)
    TokenStream.from_texts([simplified[:20000] + "\n" + licence.replace(". ", ".\n")], tokenizer="characters").split()
    assert "test: 0 % of its letters are Han characters, against" in caplog.text
    caplog.clear()
    TokenStream.from_texts([simplified, traditional, traditional], tokenizer="characters").split(by="document")
    assert "of its Han characters do not occur in the training part" in caplog.text
    caplog.clear()
    TokenStream.from_texts([simplified, traditional + "\n" + simplified], tokenizer="characters").split()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_default_split_is_the_tail_of_every_document() -> None:
    stream = TokenStream.from_texts(["\n".join("一二三四五六七八九十" * 10)] * 2, tokenizer="characters")

    train, valid, test = stream.split()

    assert [part.num_characters for part in (train, valid, test)] == [2 * 2 * 89, 2 * 2 * 5, 2 * 2 * 6]
    assert [part.num_documents for part in (train, valid, test)] == [2, 2, 2]
    assert lines_of(test)[0] == list("五六七八九十")


def test_shares_are_the_decimal_numbers_that_were_written() -> None:
    assert 1 - 0.2 - 0.1 > 0.7  # in binary

    parts = of("\n".join("一二三四五六七八九十")).split(valid=0.2, test=0.1)

    assert ["".join(*lines_of(part)) for part in parts] == ["一二三四五六七", "八九", "十"]


@pytest.mark.parametrize("by", ["tail", "document"])
@pytest.mark.parametrize(("valid", "test"), [(0.0, 0.3), (0.3, 0.0), (0.0, 0.0)])
def test_a_part_that_is_not_asked_for_is_empty(by: str, valid: float, test: float) -> None:
    stream = TokenStream.from_texts(["一\n二\n三\n四", "五\n六\n七\n八"], tokenizer="characters")

    parts = stream.split(valid=valid, test=test, by=by)  # type: ignore[arg-type]

    for share, part in zip((1.0, valid, test), parts, strict=True):
        assert bool(len(part)) == bool(share)
        if not share:
            assert (list(part), part.num_characters, part.num_documents) == ([], 0, 0)
    assert sum(map(len, parts)) == len(stream)


@QUICK
@given(
    lengths=st.lists(st.integers(1, 40), min_size=3, max_size=8),
    valid=st.sampled_from([0.0, 0.01, 0.1, 0.25]),
    test=st.sampled_from([0.0, 0.01, 0.1, 0.25]),
)
def test_the_document_split_holds_out_whole_documents_from_the_end(
    lengths: list[int], valid: float, test: float
) -> None:
    texts = [chr(0x4E00 + number) * length + "\n" for number, length in enumerate(lengths)]
    stream = TokenStream.from_texts(texts, tokenizer="characters")
    total = sum(map(len, texts))
    rest, held = list(texts), []
    for share in (test, valid):
        part: list[str] = []
        while share and rest and (not part or share * total - len("".join(part)) > len(rest[-1]) / 2):
            part = [rest.pop(), *part]
        held.append(part)

    if rest and bool(held[0]) == bool(test) and bool(held[1]) == bool(valid):
        parts = stream.split(valid=valid, test=test, by="document")
        assert [list(part.texts()) for part in parts] == [rest, held[1], held[0]]
        assert [part.num_documents for part in parts] == [len(rest), len(held[1]), len(held[0])]
    else:
        with pytest.raises(DataError, match="the split leaves nothing for"):
            stream.split(valid=valid, test=test, by="document")


def test_a_part_may_be_split_again() -> None:
    stream = of("一\n二\n三\n四\n五\n六\n七\n八\n九\n十")

    train, _, test = stream.split(valid=0, test=0.5)
    first, _, second = train.split(valid=0, test=0.5)

    assert list(first.texts()) + list(second.texts()) + list(test.texts()) == [
        "一\n二\n",
        "三\n四\n五\n",
        "六\n七\n八\n九\n十\n",
    ]
    assert first.token_counts().sum() == first.num_tokens


def test_a_split_that_leaves_nothing_is_told() -> None:
    with pytest.raises(DataError, match="the split leaves nothing for train: 1 documents with 5 characters at valid=0"):
        of("展昭道好").split()
    with pytest.raises(DataError, match="leaves nothing for valid"):
        of("一" * 100 + "\n" + "二").split(valid=0.001, test=0.001)
    with pytest.raises(DataError, match=r"leaves nothing for train.*by='document'"):
        of("一\n二\n三\n四").split(by="document")


@pytest.mark.parametrize(
    "options",
    [
        {"valid": 1.0},
        {"test": -0.1},
        {"valid": 0.5, "test": 0.5},
        {"valid": float("nan")},
        {"valid": "5%"},
        {"test": True},
        {"by": "head"},
        {"by": None},
    ],
)
def test_split_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"(valid|test|by)\b.* must be "):
        of("一\n二\n三\n四").split(**options)  # type: ignore[arg-type]


def load_protocol(shared_data: Path) -> ModuleType:
    path = shared_data.parent / "protocol" / "split_corpus.py"
    if not path.is_file():
        pytest.skip("the protocol's script is not beside the corpora")
    spec = importlib.util.spec_from_file_location("split_corpus", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Lines(Words):
    """Keeps each paragraph as one token."""

    def tokenize(self, text: str) -> Sequence[str]:
        return [text]


def test_real_novels_are_split_as_the_protocol_does(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "wuxia"
    load_protocol(shared_data).main(folder, tmp_path / "expected")

    # The cleaning is what the protocol does to a text, and no more.
    corpus = TokenStream.from_files(folder, tokenizer=Lines(), clean="indents+empty_lines", normalize="none")
    parts = corpus.split()

    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        expected = (tmp_path / "expected" / f"{name}.txt").read_bytes()
        assert "".join(part.texts()).encode("utf-8") == expected
        assert part.num_characters == len(expected.decode("utf-8"))
        assert part.num_documents == 24


def test_a_stream_tells_what_it_holds(texts: list[str]) -> None:
    stream = TokenStream.from_texts(texts, tokenizer="characters")
    assert repr(stream) == (
        f"TokenStream(3 documents, {len(stream):,} tokens, {stream.num_characters:,} characters, "
        "tokenizer='characters')"
    )


def test_a_stream_is_cut_and_counted_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "一二三\n四\n五六七八九\n十\n"
    stream = TokenStream.from_texts([text * 5, text * 3], tokenizer="characters")
    shares = [(0.1, 0.2), (0.3, 0.05), (0.5, 0.4)]
    whole = [[part.documents for part in stream.split(valid=valid, test=test)] for valid, test in shares]
    counts, lines = stream.token_counts(), list(stream)
    for size in (1, 2, 7, 30):
        monkeypatch.setattr("zh_lstm_lm.corpus.cut_positions._CHUNK_TOKENS", size)
        again = [[part.documents for part in stream.split(valid=valid, test=test)] for valid, test in shares]
        assert again == whole
        assert torch.equal(stream.token_counts(), counts)
        assert list(stream) == lines


def test_opening_a_cache_takes_no_memory_for_its_tokens(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="the system does not tell")
    line = "展昭在雪夜中行了三里，来到一座古庙之前，只见庙门半掩，里面有火光。\n"
    (tmp_path / "large.txt").write_text(line * 120_000, encoding="utf-8")
    code = """
import resource, sys
from zh_lstm_lm import TokenStream
TokenStream.from_texts(["雪夜。"], tokenizer="characters")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stream = TokenStream.from_files(sys.argv[1], tokenizer="characters", cache_dir=sys.argv[2])
unit = 1 if sys.platform == "darwin" else 1024
print(len(stream), unit * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "large.txt"), str(tmp_path / "cache")]
    first, again = (
        subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.split() for _ in range(2)
    )
    assert first[0] == again[0] == str(120_000 * len(line))
    assert int(again[1]) < 4 * int(again[0]) / 2  # half of what the tokens take in the file


@pytest.mark.parametrize("numbers", [[1, 2, 0], [1, -1, 0], [1, 1, 1], [1, 0, 0]])
def test_numbers_that_are_not_of_the_lexicon_are_refused(numbers: list[int]) -> None:
    lexicon, spans = ["\n", "展昭"], [DocumentSpan("a", 0, len(numbers) - (numbers == [1, 0, 0]))]
    check_stored(torch.tensor([1, 1, 0]), lexicon, [DocumentSpan("a", 0, 3)], bounds=(0, 1))
    with pytest.raises(ValueError, match=r"lexicon|paragraph end|documents"):
        check_stored(torch.tensor(numbers), lexicon, spans, bounds=(min(numbers), max(numbers)))
