"""The command ``pairs``, its page, and ``evaluate`` with two models."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import (
    ContinuousCache,
    NGramLanguageModel,
    TokenStream,
    Vocabulary,
    compare_models,
    compare_pairs,
    evaluate,
    write_report,
)

PAIRS = [("展昭道", "昭展道", "一"), ("好大的雪", "好的大雪", "二"), ("酒", "酒", "二"), ("龘雪", "雪", "一")]


def write_jsonl(name: str, fields: tuple[str, str, str] = ("good", "bad", "group"), encoding: str = "utf-8") -> None:
    lines = (json.dumps(dict(zip(fields, pair, strict=True)), ensure_ascii=False) + "\n" for pair in PAIRS)
    Path(name).write_text("".join(lines), encoding=encoding)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_every_option_of_pairs_is_held(check_all_held: Callable[..., None]) -> None:
    check_all_held("pairs")


@pytest.mark.options("pairs", "--output", "--html", "--quiet")
def test_the_table_the_json_and_the_page_hold_the_result(place: Any) -> None:
    write_jsonl("p.jsonl")
    result = compare_pairs(place.model(), PAIRS)
    shown = place.run("pairs", "model", "p.jsonl", "--output", "r.tsv", "--html", "r.html")
    rows = table(Path("r.tsv").read_text(encoding="utf-8"))
    for row, expected in zip(rows, result.to_rows(), strict=True):
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            assert row[name] == str(value) if isinstance(value, (int, str)) else float(row[name]) == round(value, 4)
    assert shown.startswith(Path("r.tsv").read_text(encoding="utf-8"))
    assert shown.endswith("# characters outside the vocabulary, and pairs with them: 龘 1\n")
    assert place.run("pairs", "model", "p.jsonl", "--output", "r.json", "--quiet") == shown
    assert place.json("r.json") == json.loads(json.dumps({"model": "model", "file": "p.jsonl", **result.to_dict()}))
    page = Path("r.html").read_text(encoding="utf-8")
    low, high = result.macro.slln.low, result.macro.slln.high
    for told in (
        "最小对立对",
        "Minimal pairs",
        "p.jsonl",
        "龘 1",
        f"{result.macro.slln.accuracy:.3f} [{low:.3f}, {high:.3f}]",
    ):
        assert told in page
    assert "<script" not in page


def test_the_report_shows_results_beside_each_other(place: Any) -> None:
    write_jsonl("p.jsonl")
    place.run("pairs", "model", "p.jsonl", "--output", "first.json")
    place.run("pairs", "model", "p.jsonl", "--output", "second.json")
    place.run("report", "first.json", "second.json", "--output", "report.html")
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.count("<h3>first.json</h3>") == page.count("<h3>second.json</h3>") == 1
    hostile = {"groups": [{"name": "<b>", "num_pairs": "x", "slln": 5}], "macro": {"name": 1}, "unknown_characters": 3}
    Path("hostile.json").write_text(json.dumps(hostile), encoding="utf-8")
    page = write_report("hostile.json", "hostile.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    for name, content in (("other.json", "{}"), ("list.json", "[1]"), ("other.txt", "展昭"), ("bad.json", "{")):
        Path(name).write_text(content, encoding="utf-8")
        place.run("report", name, "--output", "no.html", status=2)
        assert name in place.err
        assert not Path("no.html").exists()


@pytest.mark.options("pairs", "--good-field", "--bad-field", "--group-field", "--encoding")
def test_other_fields_tables_and_encodings(place: Any) -> None:
    write_jsonl("p.jsonl")
    expected = place.run("pairs", "model", "p.jsonl")
    write_jsonl("named.jsonl", ("right", "wrong", "phenomenon"), encoding="gb18030")
    named = ["--good-field", "right", "--bad-field", "wrong", "--group-field", "phenomenon", "--encoding", "gb18030"]
    assert place.run("pairs", "model", "named.jsonl", *named) == expected
    place.run("pairs", "model", "p.jsonl", "--encoding", "ascii", status=2)
    assert "p.jsonl, byte 10, line 1: not valid ascii" in place.err
    rows = [("id", "bad", "good", "group"), *((str(n), bad, good, group) for n, (good, bad, group) in enumerate(PAIRS))]
    forms: list[tuple[str, Any]] = [("\t", csv.QUOTE_MINIMAL), ("\t", csv.QUOTE_ALL), (",", csv.QUOTE_ALL)]
    for delimiter, quoting in forms:
        with open("p.tsv", "w", encoding="utf-8-sig", newline="") as file:
            csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerows(rows)
        assert place.run("pairs", "model", "p.tsv") == expected
    write_jsonl("blimp.jsonl", ("sentence_good", "sentence_bad", "phenomenon"))
    ungrouped = table(place.run("pairs", "model", "blimp.jsonl"))
    assert [row["group"] for row in ungrouped][:2] == ["all", "macro average"]
    assert place.run("pairs", "model", "blimp.jsonl", "--group-field", "phenomenon") == expected
    Path("numbers.jsonl").write_text('{"good": "雪", "bad": "酒", "group": 7}\n', encoding="utf-8")
    assert table(place.run("pairs", "model", "numbers.jsonl"))[0]["group"] == "7"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "there is no pair"),
        ("good\tbad\n", "there is no row below the header"),
        (
            "a\tb\n雪\t酒\n",
            "row 2 (line 2): has no field 'good'; its fields are 'a', 'b'; name the right one by --good-field",
        ),
        ("good\tbad\n雪\t酒\n雪\n", "row 3 (line 3): expected 2 cells as in the header, got 1"),
        ("good\tbad\n雪\t酒\t墨\n", "row 2 (line 2): expected 2 cells as in the header, got 3"),
        ("good\tbad\n雪\t\n", "row 2 (line 2): the bad sentence is empty"),
        ("good\tbad\tgroup\n雪\t酒\t\n", "row 2 (line 2): the group is empty"),
        ('good\tbad\n"雪\t酒\n雪\t酒\n', "row that begins in line 2: not a row of a table"),
        ('good\tbad\n雪\t"酒\n雪\t酒\n', "row that begins in line 2: not a row of a table"),
        ('good\tbad\n雪\t"酒\n雪"\n', "has several lines; close its quotation mark"),
        ('{"good": "雪", "bad": "酒"}\n{"good": "雪"\n', "line 2: not valid JSON"),
        ('{"good": "雪", "bad": "酒"}\n\n[1]\n', "line 3: expected an object"),
        ('{"good": "雪", "bad": "酒", "group": "x"}\n{"good": "雪", "bad": "酒"}\n', "line 2: has no field 'group'"),
        ('[{"good": "雪", "bad": "酒"}]', "line 1: expected an object"),
        ('{"good": "雪", "bad": 5}\n', "line 1: the bad sentence must be a string, got 5"),
        ('{"good": "雪", "bad": "\\ud800"}\n', "line 1: the bad sentence: character 0 is a lone surrogate"),
    ],
)
def test_broken_rows_are_named_and_nothing_is_written(content: str, told: str, place: Any) -> None:
    Path("broken.tsv").write_text(content, encoding="utf-8")
    written = ["--output", "none.tsv", "--html", "none.html"]
    assert place.run("pairs", "model", "broken.tsv", *written, status=2) == ""
    assert "broken.tsv" in place.err
    assert told in place.err
    assert not Path("none.tsv").exists()
    assert not Path("none.html").exists()


def test_unknown_groups_and_places_to_write_are_refused(place: Any) -> None:
    write_jsonl("p.jsonl")
    place.run("pairs", "model", "p.jsonl", "--group-field", "phenomenon", status=2)
    assert "has no field 'phenomenon'; its fields are 'good', 'bad', 'group'" in place.err
    place.run("pairs", "no model", "p.jsonl", "--output", "r.xlsx", status=2)
    assert "--output must end in .tsv or .json, got r.xlsx" in place.err
    for option in ("--output", "--html"):
        place.run("pairs", "no model", "p.jsonl", option, "nowhere/r.json", status=2)
        assert "there is no folder" in place.err
    place.run("pairs", "model", "no.tsv", status=2)
    assert "no.tsv: cannot be read" in place.err


def test_two_models_are_compared(place: Any) -> None:
    model, stream = place.model(), place.stream()
    NGramLanguageModel.from_stream(stream, model.vocabulary).save_pretrained("ngram")
    ngram = NGramLanguageModel.from_pretrained("ngram")
    reading = ["novels", "--batch-size", "3"]
    # The model's own normalisation is none.
    stream = place.stream(normalize="none")
    compared = compare_models(model, ngram, stream)
    shown = place.run("evaluate", "model", "ngram", *reading)
    assert shown.endswith(f"{compared}\n")
    for head, result in {"A: model\n": compared.a, "B: ngram\n": compared.b}.items():
        line = shown.partition(head)[2].splitlines()[0]
        assert f"{result.bits_per_character:.4f} bits/character" in line
    cached = ContinuousCache(model)
    assert str(compare_models(cached, cached, stream)) in place.run("evaluate", "model", "model", *reading, "--cache")
    low, high = compared.b.error_bars().perplexity
    assert f"perplexity {low:,.2f} to {high:,.2f}" in place.run("evaluate", "model", "ngram", *reading, "--error-bars")
    assert "cleaning none" in place.run("evaluate", "model", "ngram", *reading, "--clean", "none")


def test_each_model_applies_its_own_normalisation(place: Any) -> None:
    Path("wide.txt").write_text("展昭ＡＢＣ\n好大的雪\n" * 3, encoding="utf-8")
    folded = TokenStream.from_files("wide.txt", tokenizer="characters", normalize="width")
    NGramLanguageModel.from_stream(folded, Vocabulary.from_stream(folded)).save_pretrained("folded")
    plain = TokenStream.from_files("wide.txt", tokenizer="characters", normalize="none")
    model = NGramLanguageModel.from_stream(plain, Vocabulary.from_stream(plain))
    model.save_pretrained("plain")
    bits = evaluate(model, plain).bits_per_character
    assert f"{bits:.4f} bits/character" in place.run("evaluate", "plain", "wide.txt")
    alone = place.run("evaluate", "folded", "wide.txt")
    for order in (["folded", "model"], ["model", "folded"]):
        shown = place.run("evaluate", *order, "wide.txt")
        assert alone in shown
        assert "characters different, by the models' normalisations" in shown
        assert "normalisation: A " in shown


def test_what_does_not_go_with_two_models_is_refused(place: Any) -> None:
    place.run("evaluate", "model", "model", status=2)
    assert "there are two models and no text" in place.err
    for words in (["--dynamic"], ["--temperature", "2"]):
        place.run("evaluate", "model", "model", "novels", *words, status=2)
        assert f"{words[0]} does not go together with two models" in place.err
    # A folder of texts with a file of that name is no model.
    for name in ("vocabulary", "config"):
        folder = Path(f"texts of {name}")
        folder.mkdir()
        folder.joinpath(f"{name}.json").write_text("{}", encoding="utf-8")
        folder.joinpath("a.txt").write_text("展昭。\n好大的雪。\n", encoding="utf-8")
        assert "bits/character" in place.run("evaluate", "model", folder)
