"""The commands that score, choose and compare: what a user types and gets."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from zh_lstm_lm import (
    ContinuousCache,
    DynamicEvaluation,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    novelty,
    rescore,
    score,
    suggest,
)
from zh_lstm_lm.cli.main import main

Shown = Callable[..., str]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, vocabulary: object) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8)).save_pretrained(folder)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    def run(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    return run


def loaded(saved: Path) -> LSTMLanguageModel:
    return LSTMLanguageModel.from_pretrained(saved)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("展昭道：“好大的雪！”\n\n酒才\t好喝。\n", encoding="gb18030")
    return path


def test_many_lines_are_as_many_texts(saved: Path, lines: Path, shown: Shown) -> None:
    rows = [line.split("\t") for line in shown("score", saved, "--file", lines).splitlines()]
    texts = {"1": "展昭道：“好大的雪！”", "3": "酒才\t好喝。"}
    words = [(number, word) for number, text in texts.items() for word in score(loaded(saved), text).words]
    assert len(rows) == 1 + len(words)
    for row, (number, word) in zip(rows[1:], words, strict=True):
        assert row[0] == number
        assert row[1] == word.text.replace("\t", "\\t")
        assert float(row[2]) == pytest.approx(word.surprisal, abs=1e-3)


def test_whole_reads_one_text(saved: Path, lines: Path, shown: Shown) -> None:
    found = json.loads(shown("score", saved, "--file", lines, "--whole", "--format", "jsonl", "--per", "character"))
    expected = score(loaded(saved), "展昭道：“好大的雪！”\n\n酒才\t好喝。\n")
    assert found["bits"] == pytest.approx(sum(expected.surprisals), rel=1e-5)
    assert "".join(row["character"] for row in found["characters"]) == expected.text
    assert [row["bits"] for row in found["characters"]] == pytest.approx(expected.character_surprisals, rel=1e-4)


@pytest.mark.parametrize("per", ["word", "token", "character", "text"])
def test_both_formats_say_the_same(saved: Path, lines: Path, shown: Shown, per: str) -> None:
    table = [line.split("\t") for line in shown("score", saved, "--file", lines, "--per", per, "--end").splitlines()]
    objects = [
        json.loads(line)
        for line in shown("score", saved, "--file", lines, "--per", per, "--end", "--format", "jsonl").splitlines()
    ]
    rows = [row for found in objects for row in (found[per + "s"] if per != "text" else [found])]
    assert len(objects) == 2
    assert len(rows) == len(table) - 1
    bits = table[0].index("bits")
    assert [float(row[bits]) for row in table[1:]] == pytest.approx([row["bits"] for row in rows], abs=1e-3)
    assert [found["line"] for found in objects] == [1, 3]
    assert table[0] == [*([] if per == "text" else ["line"]), *rows[0]]


def test_a_page_is_drawn(saved: Path, tmp_path: Path, shown: Shown) -> None:
    shown("score", saved, "展昭", "--html", tmp_path / "page.html")
    assert "展</span>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_evaluate_shows_error_bars(saved: Path, lines: Path, shown: Shown) -> None:
    out = shown("evaluate", saved, lines, "--error-bars").splitlines()
    bars = evaluate(loaded(saved), TokenStream.from_files(lines, tokenizer="characters", normalize="none")).error_bars()
    assert f"{bars.perplexity[0]:,.2f} to {bars.perplexity[1]:,.2f}" in out[1]


def test_evaluate_adapts_in_the_way_that_is_asked_for(saved: Path, lines: Path, shown: Shown) -> None:
    stream = TokenStream.from_files(lines, tokenizer="characters", normalize="none")
    model = loaded(saved)
    for option, expected in (
        (["--dynamic"], evaluate(model, stream, dynamic=DynamicEvaluation())),
        (["--cache"], evaluate(ContinuousCache(model), stream)),
        (["--temperature", "1.5"], evaluate(model, stream, temperature=1.5)),
    ):
        assert f"{expected.bits_per_character:.4f} bits/character" in shown("evaluate", saved, lines, *option)


def test_a_closed_vocabulary_has_its_perplexity_without_unknown_words(
    tmp_path: Path, lines: Path, shown: Shown, stream: TokenStream
) -> None:
    vocabulary = Vocabulary.from_stream(stream, min_freq=2, unknown="unk")
    LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8)).save_pretrained(tmp_path / "closed")
    result = evaluate(
        loaded(tmp_path / "closed"), TokenStream.from_files(lines, tokenizer="characters", normalize="none")
    )
    assert f"({result.perplexity_excluding_unknown:,.2f} without <unk>)" in shown(
        "evaluate", tmp_path / "closed", lines
    )


CANDIDATES = [("utt1", -3.0, "展昭道"), ("utt1", -2.0, "展兆道"), ("utt2", -1.0, "酒好喝")]


def test_lists_are_rescored_in_both_formats(saved: Path, tmp_path: Path, shown: Shown) -> None:
    model = loaded(saved)
    table, objects = tmp_path / "n.tsv", tmp_path / "n.jsonl"
    table.write_text("".join(f"{name}\t{given}\t{text}\n" for name, given, text in CANDIDATES), encoding="utf-8")
    objects.write_text(
        "".join(json.dumps({"list": name, "score": given, "text": text}) + "\n" for name, given, text in CANDIDATES)
    )
    options = ["--weight", "0.5", "--word-bonus", "1", "--length-normalization", "words"]
    rows = [line.split("\t") for line in shown("rescore", saved, table, *options).splitlines()]
    expected = rescore(
        model,
        [(text, given) for _, given, text in CANDIDATES[:2]],
        weight=0.5,
        word_bonus=1,
        length_normalization="words",
    )
    assert [row[0] for row in rows] == ["list", "utt1", "utt1", "utt2"]
    assert [row[-1] for row in rows[1:3]] == [candidate.text for candidate in expected]
    assert [float(row[2]) for row in rows[1:3]] == pytest.approx([c.score for c in expected], abs=1e-3)
    found = [json.loads(line) for line in shown("rescore", saved, objects, "--format", "jsonl", *options).splitlines()]
    assert [(f["list"], str(f["rank"]), f["text"]) for f in found] == [(row[0], row[1], row[-1]) for row in rows[1:]]
    assert shown("rescore", saved, table, "--best", *options).splitlines() == [expected[0].text, "酒好喝"]


def test_lists_without_names_end_at_empty_lines(saved: Path, tmp_path: Path, shown: Shown) -> None:
    path = tmp_path / "n.txt"
    path.write_text("展昭\n展兆\n\n-1.5\t酒\n-9\t雪\n", encoding="utf-8")
    rows = [line.split("\t") for line in shown("rescore", saved, path, "--weight", "0").splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [("1", "展昭"), ("1", "展兆"), ("2", "酒"), ("2", "雪")]
    assert math.isclose(float(rows[2][2]), -1.5)


def test_words_are_suggested(saved: Path, shown: Shown) -> None:
    rows = shown("suggest", saved, "展昭", "好大", "-k", "3").splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == [s.word for s in suggest(loaded(saved), "展昭", "好大", 3)]


def test_copies_are_told(tmp_path: Path, texts: list[str], shown: Shown) -> None:
    (tmp_path / "corpus.txt").write_text(texts[0], encoding="utf-8")
    (tmp_path / "text.txt").write_text("他说：“雪大，酒才好喝。”龘", encoding="utf-8")
    arguments = ["novelty", tmp_path / "text.txt", tmp_path / "corpus.txt", "--tokenizer", "characters"]
    stream = TokenStream.from_files(tmp_path / "corpus.txt", tokenizer="characters")
    expected = novelty("他说：“雪大，酒才好喝。”龘", stream)
    assert shown(*arguments) == f"{expected}\n"
    found = json.loads(shown(*arguments, "--format", "json"))
    assert found["longest_copy"] == expected.longest_copy == 11
    assert found["passages"][0]["text"] == expected.passages[0].text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score", "model", "展昭", "--file", "x"], "not allowed with"),
        (["score", "model", "--file", "no-such-file"], "no-such-file"),
        (["score", "model", "--file", "empty"], "empty"),
        (["score", "model", "展昭", "--html", "no-such-folder/page.html"], "page.html"),
        (["rescore", "model", "bad.tsv"], "line 2"),
        (["rescore", "model", "bad.tsv", "--format", "jsonl"], "line 1"),
        (["rescore", "model", "empty"], "no candidate"),
        (["rescore", "model", "spaces.txt"], "'utt1<TAB>-3.2<TAB>展爷大喜'"),
        (["suggest", "model", "展昭", "-k", "0"], "-k: must"),
        (["novelty", "no-such-file", "bad.tsv"], "no-such-file"),
    ],
)
def test_bad_input_is_told_in_a_line(
    saved: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bad.tsv").write_text("-1\t展\nten\t昭\n", encoding="utf-8")
    (tmp_path / "spaces.txt").write_text("utt1 -3.2 展昭\n", encoding="utf-8")
    try:
        status = main([str(saved) if argument == "model" else argument for argument in arguments])
    except SystemExit as end:
        status = int(end.code or 0)
    error = capsys.readouterr().err
    assert status == 2
    assert said in error
    assert len(error.strip().splitlines()) <= 2
