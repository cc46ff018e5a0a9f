"""Records from iterables and Parquet files: read once, one after another, in bounded memory."""

import json
import random
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zh_lstm_lm import DataError, MissingDependencyError, TokenStream
from zh_lstm_lm.storage import scratch

ROWS = [
    {"id": 1, "text": "展昭道：“好大的雪！”\r\n白玉堂笑道：“酒才好喝。”"},
    {"id": 2, "text": ["夜里三更，", "展昭出了店门。"]},
    {"id": 3, "text": None},
    {"id": 4, "text": "　　二人斗了三十余合。\n\n"},
]


def read(records: Any, text_field: str | None = "text", **options: Any) -> TokenStream:
    return TokenStream.from_records(records, text_field=text_field, **{"tokenizer": "characters", **options})


def documents(stream: TokenStream) -> list[tuple[str, str]]:
    return [(span.name, text) for span, text in zip(stream.documents, stream.texts(), strict=True)]


def test_an_iterable_is_read_as_the_same_records_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS).replace("\\r", ""), encoding="utf-8")
    stream, expected = read(iter(ROWS)), read(path, cache_dir=tmp_path)
    assert list(stream.texts()) == list(expected.texts())
    assert [name for name, _ in documents(stream)] == ["records#1", "records#2", "records#4"]
    assert list(stream.texts())[2] == "二人斗了三十余合。\n", "each record is cleaned"
    assert (stream.clean, stream.normalize) == (expected.clean, expected.normalize)


def test_each_record_is_taken_once_and_when_it_is_needed() -> None:
    taken: list[int] = []

    class Watched:
        name = "watched"

        def tokenize(self, text: str) -> list[str]:
            tokenized.append((text, len(taken)))
            return list(text)

    def rows() -> Iterator[dict[str, str]]:
        for number in range(100):
            taken.append(number)
            yield {"text": f"第{number}回"}

    tokenized: list[tuple[str, int]] = []
    stream = read(rows(), tokenizer=Watched())
    assert taken == list(range(100))
    assert stream.num_documents == 100
    # The tokenizer is tried on a text of its own first.
    assert [seen for text, seen in tokenized if text == "第9回"] == [10]


def test_texts_need_no_field() -> None:
    texts = ["展昭道：“好大的雪！”", "　　夜里三更。"]
    stream = read((text for text in texts), None)
    assert list(stream.texts()) == ["展昭道：“好大的雪！”\n", "夜里三更。\n"]
    assert list(read(texts, None, clean="none").texts())[1] == "　　夜里三更。\n"


def test_paths_may_come_from_a_generator(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jsonl").write_text('{"text": "展昭"}\n', encoding="utf-8")
    stream = read(tmp_path.glob("*.jsonl"), cache_dir=tmp_path / "cache")
    assert sorted(name for name, _ in documents(stream)) == ["0.jsonl#1", "1.jsonl#1"]


@pytest.mark.parametrize(
    ("records", "text_field", "told"),
    [
        ([{"text": "雪"}, {"body": "雪"}], "text", "record 2: has no field 'text'; its fields are 'body'"),
        ([{"text": "雪"}, "雪"], "text", "record 2: has no field 'text'; its fields are none"),
        (
            [{"text": "雪"}, {"text": 3}],
            "text",
            "record 2: the field 'text' must be a string or a list of strings, got 3",
        ),
        ([{"text": "雪\ud800"}], "text", "record 1: character 1 is a lone surrogate"),
        (["雪", 3], None, "record 2 must be a string, got 3"),
        ([{"text": "雪"}], None, "record 1 must be a string, got {'text'"),
        ({"text": "雪"}, "text", "records must be an iterable of mappings, got {'text'"),
        (3, "text", "paths must be a folder, a file"),
        ([], "text", "no file was named"),
        ([{"text": " "}], "text", "not one token was found"),
        (iter(()), None, "not one token was found"),
    ],
)
def test_records_that_are_none_are_refused(records: Any, text_field: str | None, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(records, text_field)


def test_an_error_of_the_iterable_reaches_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"text": "雪" * 1000}
        raise ZeroDivisionError

    monkeypatch.setattr(scratch, "_IN_MEMORY_BYTES", 100)
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        read(rows())
    assert list((tmp_path / "scratch").iterdir()) == [], "nothing is left"


def book(number: int, size: int) -> str:
    return "".join(random.Random(number).choices("展昭白玉堂道好大的雪酒才喝，。", k=size))


def test_the_memory_does_not_grow_with_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight megabytes of tokens go through one."""
    monkeypatch.setattr(scratch, "_IN_MEMORY_BYTES", 1 << 18)
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path))
    size, number = 20_000, 100

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            stream = read({"text": book(seed, size)} for seed in range(count))
            found = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert stream.num_tokens == count * (size + 1)
        return found

    few, many = peak(number // 10), peak(number)
    assert many < 1.2 * few
    assert many < 4 * number * size, "the tokens alone are larger"


def test_long_records_are_read_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [book(seed, 3_000) for seed in range(10)]
    expected = read(texts, None)
    monkeypatch.setattr(scratch, "_IN_MEMORY_BYTES", 10_000)
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path))
    stream = read(iter(texts), None)
    assert list(stream) == list(expected)
    assert list(stream.texts()) == [text + "\n" for text in texts]
    assert list((tmp_path / "scratch").iterdir()) == []
    # A stream without a cache takes the same way.
    assert list(TokenStream.from_texts(texts, tokenizer="characters")) == list(expected)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_IN_MEMORY_BYTES", 100)
    monkeypatch.setenv("ZH_LSTM_LM_CACHE", str(tmp_path))
    if not Path("/dev/full").exists():
        pytest.skip("no device here that is always full")
    monkeypatch.setattr("zh_lstm_lm.storage.scratch.os.fdopen", lambda descriptor, mode: Path("/dev/full").open(mode))  # noqa: SIM115
    with pytest.raises(DataError, match=r"No space left on device.*free some space, or set ZH_LSTM_LM_CACHE"):
        read([{"text": "雪" * 100_000}])
    assert list((tmp_path / "scratch").iterdir()) == []


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=40), min_size=1), st.integers(1, 300))
def test_texts_are_kept_as_they_are(texts: list[str], held: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "_IN_MEMORY_BYTES", held)
        if not any(text.strip("\r") for text in texts):
            return
        stream = read(iter(texts), None, clean="none", normalize="none")
    lines = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert list(stream.texts()) == [text + "\n" * (text[-1] != "\n") for text in lines if text]


# ---- Parquet


def table(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is no dependency of the tests")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(rows), path, **options)
    return path


def test_parquet_is_read_as_json_lines_are(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": number, "text": book(number, 50)} for number in range(300)]
    path = table(tmp_path / "rows.parquet", rows, row_group_size=130)
    stream = read(path, cache_dir=tmp_path / "cache")
    assert documents(stream) == [(f"rows.parquet#{row['id'] + 1}", f"{row['text']}\n") for row in rows]
    again = read(tmp_path, cache_dir=tmp_path / "cache")
    assert list(again) == list(stream), "a folder, from the cache"
    assert len(list((tmp_path / "cache" / "streams").iterdir())) == 2, "it was segmented once a name"


def test_fields_of_parquet(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"data": {"text": "雪"}, "a.b": "酒", "parts": ["夜", "里"]},
        {"data": None, "a.b": None, "parts": []},
    ]
    path = table(tmp_path / "rows.parquet", rows[:1])
    for field, expected in (("data.text", "雪\n"), ("a.b", "酒\n"), ("parts", "夜\n里\n")):
        assert list(read(path, field, cache_dir=tmp_path / "c").texts()) == [expected]
    path = table(tmp_path / "rows.parquet", rows)
    assert read(path, "a.b", cache_dir=tmp_path / "c").num_documents == 1
    with pytest.raises(DataError, match=r"rows\.parquet, record 2: has no field 'data\.text'"):
        read(path, "data.text", cache_dir=tmp_path / "c")


@pytest.mark.parametrize("damage", ["missing", "number", "cut"])
def test_parquet_that_cannot_be_read(damage: str, tmp_path: Path) -> None:
    path = table(tmp_path / "rows.parquet", [{"text": "雪" * 500, "id": 1}])
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    field = {"missing": "body", "number": "id"}.get(damage, "text")
    told = {
        "missing": r"rows\.parquet: has no field 'body'; its fields are 'text', 'id'",
        "number": "record 1: the field 'id' must be a string or a list of strings, got 1",
        "cut": r"rows\.parquet: cannot be read as Parquet",
    }[damage]
    with pytest.raises(DataError, match=told):
        read(path, field, cache_dir=tmp_path / "c")


def test_broken_files_are_told_together(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", [{"body": "雪"}])
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(DataError) as told:
        read(tmp_path)
    assert "a.parquet: has no field 'text'" in str(told.value)
    assert "b.parquet: cannot be read as Parquet" in str(told.value)


def test_parquet_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(100))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'zh-lstm-lm\[parquet\]'"):
        read(tmp_path)
