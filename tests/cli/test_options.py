"""Each option of the commands beside ``train``, ``generate`` and ``study``, held to its effect; all help texts."""

import argparse
import csv
import dataclasses
import inspect
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import (
    ContinuousCache,
    DynamicEvaluation,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    SamplerConfig,
    StudyConfig,
    TokenStream,
    TrainerConfig,
    Vocabulary,
    evaluate,
    novelty,
    rescore,
    score,
    score_table,
    suggest,
    write_report,
)
from zh_lstm_lm.cli import rescore as rescore_command
from zh_lstm_lm.cli import score as score_command
from zh_lstm_lm.cli.common import duration
from zh_lstm_lm.evaluation import evaluate as evaluation
from zh_lstm_lm.text.inspection import inspect_files
from zh_lstm_lm.tokenizers.registry import get_tokenizer

Actions = dict[tuple[str, str], argparse.Action]
SIZES = ["--embedding-dim", "4", "--hidden-size", "4"]
READING = ("--clean", "--encoding", "--cache-dir", "--workers", "--quiet")


def test_every_option_is_held(check_all_held: Callable[..., None]) -> None:
    check_all_held("evaluate", "score", "rescore", "suggest", "novelty", "report", "info", "inspect", "cache")


def test_every_option_has_a_help_text_and_tells_its_default(actions: Actions) -> None:
    for option, action in actions.items():
        assert action.help, option
        is_switch = action.nargs == 0 and not isinstance(action, argparse.BooleanOptionalAction)
        if not is_switch and not action.required:
            assert re.search(r"\bdefault: \S", action.help), (option, action.help)


@pytest.mark.parametrize(
    ("command", "configs"),
    [("train", (ModelConfig, TrainerConfig)), ("generate", (SamplerConfig,)), ("study", (StudyConfig, TrainerConfig))],
)
def test_defaults_in_help_texts_are_those_of_the_library(
    command: str, configs: tuple[Any, ...], actions: Actions
) -> None:
    defaults = {name: value for config in configs for name, value in config().to_dict().items()}
    checked = 0
    for (name, _), action in actions.items():
        default = defaults.get(action.dest)
        unset = default is None or default is False or default in ("", [])
        if name != command or action.required or unset or action.default is not None:
            continue
        shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        assert f"default: {shown}" in str(action.help), action.dest
        checked += 1
    assert checked >= 8


# Defaults that the command line has of its own stand beside those of a function of the library.
@pytest.mark.parametrize(
    ("command", "function"),
    [
        ("evaluate", evaluate),
        ("rescore", rescore),
        ("suggest", suggest),
        ("novelty", novelty),
        ("score", score_table),
        ("report", write_report),
    ],
)
def test_defaults_of_the_command_line_are_those_of_the_function(
    command: str, function: Callable[..., Any], actions: Actions
) -> None:
    parameters = inspect.signature(function).parameters
    own = {"passages": "num_passages"}
    options = {
        own.get(action.dest, action.dest): action.default for (name, _), action in actions.items() if name == command
    }
    common = {name: options[name] for name in options.keys() & parameters.keys() if options[name] not in (None, False)}
    assert common
    assert common == {name: parameters[name].default for name in common}


# Each command reads a file of nine indented lines, and its output depends on the number of characters in it.
CORPORA = {
    "evaluate": ["evaluate", "model"],
    "novelty": ["novelty", "novels/0.txt", "--tokenizer", "characters", "--max-n", "3"],
    "inspect": ["inspect", "--tokenizer", "characters", *SIZES],
}


@pytest.mark.options("evaluate", *READING)
@pytest.mark.options("novelty", *READING)
@pytest.mark.options("inspect", *READING)
@pytest.mark.parametrize("command", CORPORA)
def test_reading(command: str, place: Any) -> None:
    Path("indented.txt").write_text("　　展昭道：“好大的雪！”\n" * 9, encoding="gb18030")
    cache = ["--cache-dir", f"{command}-cache"]

    def shown(*words: str) -> str:
        # The speed of training is no property of the corpus.
        return str(re.sub(r"[^ ]* MB of memory.*", "", place.run(*CORPORA[command], "indented.txt", *cache, *words)))

    cleaned = shown("--quiet")
    assert "segmenting" not in place.err
    assert len(list(Path(f"{command}-cache").rglob("*.*"))) >= 2
    assert shown("--clean", "none") != cleaned
    assert "segmenting" in place.err
    assert shown("--encoding", "gb18030", "--workers", "1") == cleaned
    place.run(*CORPORA[command], "indented.txt", "--encoding", "utf-8", status=2)
    place.run(*CORPORA[command], "indented.txt", "--workers", "0", status=2)


@pytest.mark.options("evaluate", "--text-field")
@pytest.mark.options("novelty", "--text-field")
@pytest.mark.parametrize("command", ["evaluate", "novelty"])
def test_records(command: str, place: Any) -> None:
    Path("text.txt").write_text("展昭道：“好大的雪！”\n", encoding="utf-8")
    Path("records.jsonl").write_text('{"body": "展昭道：“好大的雪！”"}\n', encoding="utf-8")
    record = place.run(*CORPORA[command], "records.jsonl", "--text-field", "body")
    assert record.replace("records.jsonl#1", "text.txt").replace("records.jsonl", "text.txt") == place.run(
        *CORPORA[command], "text.txt"
    )


@pytest.mark.options("novelty", "--separator")
@pytest.mark.options("inspect", "--separator")
def test_words_that_are_given(place: Any) -> None:
    Path("given.txt").write_text("展昭  笑  道  ：  好  大雪\n" * 9, encoding="utf-8")
    Path("text.txt").write_text("展昭  笑  道  ：  白玉堂", encoding="utf-8")
    reading = ["given.txt", "--clean", "none", "--tokenizer", "whitespace", "--separator", "  "]
    stream = place.stream("given.txt", clean="none", tokenizer=get_tokenizer("whitespace", separator="  "))
    assert " " not in set(stream)
    expected = novelty("展昭  笑  道  ：  白玉堂", stream, max_n=3)
    assert place.run("novelty", "text.txt", *reading, "--max-n", "3") == f"{expected}\n"
    vocabulary = Vocabulary.from_stream(stream, min_freq=3)
    assert f"vocabulary {len(vocabulary):,}: {vocabulary.report(stream)}" in place.run("inspect", *reading, *SIZES)


@pytest.mark.options("evaluate", "--dynamic", "--cache", "--temperature", "--batch-size", "--error-bars")
def test_evaluate(place: Any) -> None:
    model, stream = place.model(), place.stream(normalize="none")
    results = {
        (): evaluate(model, stream),
        ("--dynamic",): evaluate(model, stream, dynamic=DynamicEvaluation()),
        ("--cache",): evaluate(ContinuousCache(model), stream),
        ("--temperature", "1.5"): evaluate(model, stream, temperature=1.5),
    }
    lines = {place.run("evaluate", "model", "novels", *words) for words in results}
    assert len(lines) == len(results)
    for words, result in results.items():
        assert f"{result.bits_per_character:.4f} bits/character" in place.run("evaluate", "model", "novels", *words)
    assert place.run("evaluate", "model", "novels", "--batch-size", "1") in lines
    assert "clean=none" in place.run("evaluate", "model", "novels", "--clean", "none")
    # What learns of a mixture is its LSTM.
    Mixture([model, NGramLanguageModel.from_stream(stream, model.vocabulary, 2)]).save_pretrained("mixed")
    learned = results["--dynamic",].bits_per_character
    assert f"{learned:.4f} bits/character" in place.run("evaluate", "mixed", "novels", "--dynamic")
    for mistake in (["--batch-size", "0"], ["--temperature", "0"]):
        place.run("evaluate", "no-model", "novels", *mistake, status=2)
        assert mistake[0] in place.err
    bars = results[()].error_bars()
    low, high = bars.perplexity
    line = f"perplexity {low:,.2f} to {high:,.2f}  (95%, {bars.num_paragraphs:,} paragraphs)"
    assert line in place.run("evaluate", "model", "novels", "--error-bars")
    ContinuousCache(model).save_pretrained("with-cache")
    assert place.run("evaluate", "with-cache", "novels", "--cache") == place.run("evaluate", "with-cache", "novels")


def test_the_batch_size_reaches_the_library(place: Any, options_of: Callable[..., Any]) -> None:
    calls = options_of(evaluation, "evaluate_ids")
    place.run("evaluate", "model", "novels", "--batch-size", "7")
    place.run("evaluate", "model", "model", "novels", "--batch-size", "5")
    assert [options["batch_size"] for options in calls] == [7, 5, 5]


@pytest.mark.parametrize(
    ("module", "lines"),
    [(score_command, ["展昭。", "", "白玉堂。"]), (rescore_command, ["展昭", "酒", "", "雪", "昭"])],
)
def test_blocks_of_texts_are_one_output(
    module: Any, lines: list[str], place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("blocks.txt").write_text("\n".join(lines), encoding="utf-8")
    page = Path("blocks.html")
    words = ["score", "model", "--html", page, "--file"] if module is score_command else ["rescore", "model"]
    whole, drawn = place.run(*words, "blocks.txt"), page.exists() and page.read_text(encoding="utf-8")
    for name in ("_TEXTS_AT_ONCE", "_LISTS_AT_ONCE"):
        monkeypatch.setattr(module, name, 1, raising=False)
    assert place.run(*words, "blocks.txt") == whole
    assert not drawn or page.read_text(encoding="utf-8") == drawn


@pytest.mark.options("score", "--file", "--encoding", "--whole", "--per", "--format", "--end", "--html", "--quiet")
def test_score(place: Any) -> None:
    Path("lines.txt").write_text("展昭。\n\n白玉堂。\n", encoding="gb18030")
    command = ["score", "model", "--file", "lines.txt"]
    rows = [json.loads(line) for line in place.run(*command, "--format", "jsonl", "--per", "text").splitlines()]
    assert [(row["line"], row["text"]) for row in rows] == [(1, "展昭。"), (3, "白玉堂。")]
    for per in ("word", "token", "character", "text"):
        assert place.run(*command, "--per", per).split("\t")[1].strip() == per
    (whole,) = place.run(*command, "--whole", "--end", "--format", "jsonl", "--per", "text").splitlines()
    expected = score(place.model(), "展昭。\n\n白玉堂。\n", end=True)
    assert json.loads(whole)["bits"] == pytest.approx(sum(expected.surprisals), rel=1e-5)
    assert "\ufffd" in place.run(*command, "--encoding", "ascii")
    line = place.run("score", "model", "\\t", "--per", "text").splitlines()[1]
    assert line.split("\t")[1] == "\\\\t", "a tab in a text would be one backslash and t"
    shown = place.run("score", "model", "展昭", "--html", "page.html")
    assert place.run("score", "model", "展昭", "--quiet") == shown
    assert "昭</span>" in Path("page.html").read_text(encoding="utf-8")


STIMULI = [
    ["1", "展昭道：“好大的雪！”", "白玉堂", "好大|的雪！”"],
    ["2", "酒才\n好“喝”,;。", "", "“喝”"],
    ["3", '他说："雪"', "展昭。\n", '他说：|"雪"'],
]
HEADER = ["item", "sentence", "before", "parts"]
TABLE = ["score", "model", "--column", "sentence", "--table"]


def write_table(name: str, delimiter: str, encoding: str, line_end: str = "\r\n") -> str:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows([HEADER, *STIMULI])
    Path(name).write_bytes(file.getvalue().encode(encoding))
    return name


def read_rows(shown: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(shown, newline=""), delimiter="\t"))


@pytest.mark.options("score", "--table", "--column")
def test_the_tables_of_spreadsheets(place: Any) -> None:
    expected = [(row, score(place.model(), row[1])) for row in STIMULI]
    shown = place.run(*TABLE, write_table("plain.tsv", "\t", "utf-8", "\n"))
    rows = read_rows(shown)
    assert list(rows[0]) == [*HEADER, "word", "index", "surprisal", "frequency", "kind"]
    assert [[row[name] for name in HEADER] for row in rows] == [row for row, found in expected for _ in found.words]
    words = [word for _, found in expected for word in found.words]
    assert [row["word"] for row in rows] == [word.text for word in words]
    assert [float(row["surprisal"]) for row in rows] == pytest.approx([word.surprisal for word in words], abs=1e-5)
    for name, delimiter, encoding in (
        ("csv utf-8.csv", ",", "utf-8-sig"),
        ("semicolons.csv", ";", "utf-8"),
        ("unicode text.txt", "\t", "utf-16"),
        ("csv.csv", ",", "gbk"),
        ("gb18030.csv", ";", "gb18030"),
    ):
        assert place.run(*TABLE, write_table(name, delimiter, encoding)) == shown
    place.run(*TABLE, "plain.tsv", "--encoding", "ascii", status=2)
    assert "plain.tsv, byte 29, line 2: not valid ascii" in place.err
    # The result is a table too.
    Path("again.tsv").write_text(shown, encoding="utf-8")
    assert [*read_rows(place.run(*TABLE, "again.tsv"))[0]][-2:] == ["lm_frequency", "lm_kind"]


@pytest.mark.options("score", "--context-column", "--region-column", "--previous", "--pre-tokenized")
def test_columns_of_a_table(place: Any) -> None:
    model, table = place.model(), write_table("t.csv", ",", "utf-8-sig")
    command = [*TABLE, table, "--format", "jsonl"]

    def objects(*words: str) -> list[Any]:
        return [json.loads(line) for line in place.run(*command, *words).splitlines()]

    texts = objects("--per", "text", "--context-column", "before")
    assert [[row[name] for name in HEADER] for row in texts] == STIMULI
    for row in texts:
        state = score(model, row["before"]).state if row["before"] else None
        assert row["surprisal"] == pytest.approx(sum(score(model, row["sentence"], state=state).surprisals), rel=1e-5)
    regions = objects("--region-column", "parts", "--previous", "1")
    assert [(row["item"], row["region"]) for row in regions] == [
        (row[0], region) for row in STIMULI for region in row[3].split("|")
    ]
    assert regions[-1]["surprisal_previous_1"] == regions[-2]["surprisal"]
    last = objects("--per", "text", "--end")[-1]
    assert last["surprisal"] == pytest.approx(sum(score(model, STIMULI[2][1], end=True).surprisals), rel=1e-5)
    Path("given.tsv").write_text("sentence\n展昭 大喜\n", encoding="utf-8")
    words = read_rows(place.run(*TABLE, "given.tsv", "--pre-tokenized"))
    assert [(row["word"], row["kind"]) for row in words] == [("展昭", "characters"), ("大喜", "bytes")]
    line = place.run("score", "model", "展昭 大喜", "--pre-tokenized").splitlines()
    assert [row.split("\t")[1] for row in line[1:3]] == ["展昭", "大喜"]


def test_the_layout_of_lm_zoo(place: Any) -> None:
    found = {n: score(place.model(), row[1]).words for n, row in enumerate(STIMULI, 1)}
    rows = read_rows(place.run(*TABLE, write_table("t.csv", ";", "utf-8-sig"), "--format", "lm-zoo"))
    expected = [(str(n), str(i), word.text) for n, words in found.items() for i, word in enumerate(words, 1)]
    assert [tuple(row.values())[:3] for row in rows] == expected
    assert list(rows[0]) == ["sentence_id", "token_id", "token", "surprisal"]
    bits = [word.surprisal for words in found.values() for word in words]
    assert [float(row["surprisal"]) for row in rows] == pytest.approx(bits, abs=1e-5)
    Path("lines.txt").write_text("".join(f"{row[1]}\n" for row in STIMULI[::2]), encoding="utf-8")
    lines = read_rows(place.run("score", "model", "--file", "lines.txt", "--format", "lm-zoo"))
    assert [row["token"] for row in lines] == [word.text for n in (1, 3) for word in found[n]]
    assert {row["sentence_id"] for row in lines} == {"1", "2"}
    tokens = read_rows(place.run("score", "model", "龘", "--format", "lm-zoo", "--per", "token"))
    assert [row["token"] for row in tokens] == ["<0xE9>", "<0xBE>", "<0x98>"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--table", "t.csv"], "--table needs --column"),
        (["--column", "sentence"], "--column goes with --table"),
        (["--previous", "1"], "--previous goes with --table"),
        ([*TABLE[2:], "t.csv", "--html", "no.html"], "--html does not go together with --table"),
        ([*TABLE[2:], "t.csv", "--whole"], "--whole does not go together with --table"),
        ([*TABLE[2:], "t.csv", "--per", "token"], "got --per token; choose word or text"),
        ([*TABLE[2:], "t.csv", "--previous", "-1"], "--previous"),
        ([*TABLE[2:], "t.csv", "--file", "t.csv"], "not allowed with"),
        ([*TABLE[2:], "t.csv", "--format", "lm-zoo", "--per", "text"], "lm-zoo has words alone"),
        (["展昭", "--format", "lm-zoo", "--per", "text"], "lm-zoo has words or tokens, got --per text"),
        ([*TABLE[2:], "no.csv"], "no.csv: cannot be read"),
        (["--table", "t.csv", "--column", "text"], "t.csv: has no column 'text'; its columns are 'item', 'sentence'"),
        ([*TABLE[2:], "t.csv", "--region-column", "before"], "t.csv, row 3 (line 3): the column 'before' is empty"),
        ([*TABLE[2:], "t.csv", "--region-column", "item"], "t.csv, row 2 (line 2): the region '1' is not in the text"),
        ([*TABLE[2:], "broken.csv"], "broken.csv, row 3 (line 3): expected 2 cells as in the header, got 1"),
        ([*TABLE[2:], "empty.csv"], "empty.csv, row 2 (line 2): the column 'sentence' is empty"),
    ],
)
def test_tables_that_cannot_be_scored(words: list[str], told: str, place: Any) -> None:
    write_table("t.csv", ",", "utf-8-sig")
    Path("broken.csv").write_text("sentence,b\n展昭,1\n白玉堂\n", encoding="utf-8")
    Path("empty.csv").write_text("sentence,b\n ,1\n", encoding="utf-8")
    assert place.run("score", "model", *words, status=2) == ""
    assert told in place.err
    assert not Path("no.html").exists()


CANDIDATES = [("展昭道", -3.0), ("好大的雪", -2.0), ("酒", -2.5)]


@pytest.mark.options("rescore", "--weight", "--word-bonus", "--length-normalization", "--no-end")
@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--weight", "0.25"], {"weight": 0.25}),
        (["--word-bonus", "3"], {"word_bonus": 3.0}),
        (["--length-normalization", "words"], {"length_normalization": "words"}),
        (["--no-end"], {"end": False}),
    ],
)
def test_rescore(words: list[str], options: dict[str, Any], place: Any) -> None:
    Path("n.tsv").write_text("".join(f"{given}\t{text}\n" for text, given in CANDIDATES), encoding="utf-8")
    rows = [line.split("\t") for line in place.run("rescore", "model", "n.tsv", *words).splitlines()[1:]]
    found, plain = rescore(place.model(), CANDIDATES, **options), rescore(place.model(), CANDIDATES)
    assert [row[-1] for row in rows] == [candidate.text for candidate in found]
    assert [row[1] for row in rows] == ["1", "2", "3"]
    for column, name in enumerate(("score", "given_score", "log_prob"), 2):
        expected = [getattr(candidate, name) for candidate in found]
        assert [float(row[column]) for row in rows] == pytest.approx(expected, abs=1e-3)
    assert [candidate.score for candidate in found] != pytest.approx([candidate.score for candidate in plain], abs=1e-2)


@pytest.mark.options("rescore", "--best", "--format", "--encoding", "--quiet")
def test_rescore_other_formats(place: Any) -> None:
    lines = (json.dumps({"text": text, "score": given}, ensure_ascii=False) for text, given in CANDIDATES)
    Path("n.jsonl").write_text("\n".join(lines), encoding="gb18030")
    command = ["rescore", "model", "n.jsonl", "--format", "jsonl"]
    ranked = [json.loads(line)["text"] for line in place.run(*command, "--encoding", "gb18030").splitlines()]
    assert ranked == [candidate.text for candidate in rescore(place.model(), CANDIDATES)]
    best = place.run(*command, "--best", "--quiet")
    assert [json.loads(line)["text"] for line in best.splitlines()] == ranked[:1]
    assert "\ufffd" in place.run(*command, "--encoding", "ascii")


@pytest.mark.options("rescore", "--format")
def test_the_layout_of_kaldi(place: Any) -> None:
    lists = {"utt-1": ["展昭 道", "展 昭 到", "展昭\tall right 道"], "utt-2": ["", "酒 才 好喝"]}
    lines = [f"{name}-{n} {text}\n" for name, texts in lists.items() for n, text in enumerate(texts, 1)]
    Path("n.txt").write_text("".join(lines), encoding="utf-8")
    rows = [line.split("\t", 5) for line in place.run("rescore", "model", "n.txt", "--format", "kaldi").splitlines()]
    best = []
    for name, texts in lists.items():
        joined = [text.replace(" ", "").replace("\t", "").replace("allright", "all right") for text in texts]
        ranked = rescore(place.model(), joined)
        found = [row for row in rows[1:] if row[0] == name]
        assert [row[-1].replace("\t", " ") for row in found] == [texts[c.index].replace("\t", " ") for c in ranked]
        assert [float(row[2]) for row in found] == pytest.approx([c.score for c in ranked], abs=1e-3)
        best.append(f"{name} {texts[ranked[0].index]}")
    assert place.run("rescore", "model", "n.txt", "--format", "kaldi", "--best").splitlines() == best
    for broken in ("展昭道", "utt1 展昭", "-1 展昭", "utt-1-1 展昭\nutt-1-1 道"):
        Path("broken.txt").write_text(f"{lines[3]}{broken}\n", encoding="utf-8")
        place.run("rescore", "model", "broken.txt", "--format", "kaldi", status=2)
        assert f"broken.txt, line {2 + broken.count(chr(10))}: expected an utterance" in place.err


def test_kaldi_words_stay_words_for_a_vocabulary_of_given_words(place: Any) -> None:
    stream = TokenStream.from_texts(["展昭 道 。\n" * 3], tokenizer="whitespace")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4))
    model.save_pretrained("spaced")
    Path("n.txt").write_text("a-1 展昭 道 。\n", encoding="utf-8")
    row = place.run("rescore", "spaced", "n.txt", "--format", "kaldi").splitlines()[1].split("\t")
    assert float(row[2]) == pytest.approx(score(model, "展昭 道 。", end=True).log_prob, abs=1e-3)


@pytest.mark.parametrize(
    "line",
    [
        "utt1 -3.2 展昭道",
        "-3.2 展昭道",
        "utt1,-3,展昭道",
        "a | 2e-3 | 展昭",
        "utt1\u3000-3.2\u3000展昭道",
        "a\t展昭\t-3.2",
    ],
)
def test_n_best_lists_without_tabs_are_refused_with_an_example(line: str, place: Any) -> None:
    Path("spaces.txt").write_text(f"{line}\n", encoding="utf-8")
    place.run("rescore", "model", "spaces.txt", status=2)
    assert "spaces.txt, line 1: expected" in place.err
    assert "with tabs between, as in 'utt1<TAB>-3.2<TAB>展爷大喜'" in place.err


@pytest.mark.options("suggest", "-k", "--quiet")
def test_suggest(place: Any) -> None:
    rows = place.run("suggest", "model", "展昭", "好大", "-k", "3").splitlines()[1:]
    found = suggest(place.model(), "展昭", "好大", 3)
    assert rows == [f"{each.word}\t{each.probability:.4f}\t{each.log_prob:.3f}" for each in found]
    assert place.run("suggest", "model", "展昭", "好大", "-k", "3", "--quiet").splitlines()[1:] == rows


@pytest.mark.options(
    *(
        "novelty",
        "--max-n",
        "--passages",
        "--format",
        "--text-encoding",
        "--tokenizer",
        "--user-dictionary",
        "--normalize",
    )
)
def test_novelty(place: Any) -> None:
    text = "他说：“雪大，酒才好喝。”白玉堂拔剑在手，ＡＢＣ好大的雪。第三回　比剑"
    Path("text.txt").write_text(text, encoding="utf-16")
    place.run("novelty", "text.txt", "novels", "--text-encoding", "utf-8", status=2)
    for other in ({}, {"max_n": 8}, {"num_passages": 10}, {"normalize": "auto"}, {"user_dictionary": None}):
        given: dict[str, Any] = {
            "max_n": 3,
            "num_passages": 1,
            "normalize": "none",
            "user_dictionary": "words.txt",
            **other,
        }
        dictionary = {name: given[name] for name in ("user_dictionary",) if given[name]}
        stream = place.stream(tokenizer=get_tokenizer("jieba", **dictionary), normalize=given["normalize"])
        expected = novelty(text, stream, max_n=given["max_n"], num_passages=given["num_passages"])
        words = [word for name, value in dictionary.items() for word in ("--user-dictionary", value)]
        words += ["--max-n", given["max_n"], "--passages", given["num_passages"], "--normalize", given["normalize"]]
        words += ["--tokenizer", "jieba", "--text-encoding", "utf-16"]
        assert place.run("novelty", "text.txt", "novels", *words) == f"{expected}\n"
        found = json.loads(place.run("novelty", "text.txt", "novels", *words, "--format", "json"))
        assert found["passages"] == [dataclasses.asdict(passage) for passage in expected.passages]


@pytest.mark.options(
    *(
        "inspect",
        "--files-only",
        "--changes",
        "--tokenizer",
        "--user-dictionary",
        "--min-freq",
        "--max-size",
        "--normalize",
    )
)
@pytest.mark.options("inspect", "--embedding-dim", "--hidden-size", "--num-layers")
def test_inspect(place: Any) -> None:
    Path("inspected.txt").write_text("　　展昭道：“好大的雪！ＡＢ”\n" * 9 + "酒\n" * 3, encoding="utf-8")
    files = place.run("inspect", "inspected.txt", "--files-only", "--changes", "2")
    assert "vocabulary" not in files
    assert files.count("    - ") == 2
    tokenizer = get_tokenizer("jieba", user_dictionary="words.txt")
    for other in ({}, {"min_freq": 5}, {"max_size": 270}, {"normalize": "width"}):
        given: dict[str, Any] = {"min_freq": 2, "max_size": 275, "normalize": "none", **other}
        stream = place.stream("inspected.txt", tokenizer=tokenizer, normalize=given["normalize"])
        expected = Vocabulary.from_stream(stream, min_freq=given["min_freq"], max_size=given["max_size"])
        words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
        words += ["--user-dictionary", "words.txt", "--tokenizer", "jieba", *SIZES, "--num-layers", "2"]
        shown = place.run("inspect", "inspected.txt", *words)
        assert f"vocabulary {len(expected):,}: {expected.report(stream)}" in shown
        model = LSTMLanguageModel(expected, ModelConfig(embedding_dim=4, hidden_size=4, num_layers=2))
        assert f"at these sizes: {model.num_parameters:,} weights" in shown
    place.run("inspect", "inspected.txt", "--hidden-size", "0", status=2)
    assert "inspected.txt: utf-8" not in place.err


@pytest.mark.options("report", "--output", "--language", "--overwrite", "--quiet")
@pytest.mark.options("info", "--quiet")
def test_report_and_info(place: Any) -> None:
    command = ["train", "novels", "--output", "trained", "--tokenizer", "characters", "--steps", "2", *SIZES]
    place.run(*command, "--quiet")
    pages = {}
    for language in ("zh", "en"):
        place.run("report", "trained.run", "--output", f"{language}.html", "--language", language, "--quiet")
        pages[language] = Path(f"{language}.html").read_text(encoding="utf-8")
    assert pages["zh"] != pages["en"]
    place.run("report", "trained.run", "--output", "en.html", status=2)
    shown = place.run("report", "trained.run", "--output", "en.html", "--overwrite")
    assert shown == f"en.html: {Path('en.html').stat().st_size / 1000:,.0f} KB\n"
    assert Path("en.html").read_text(encoding="utf-8") == pages["zh"]
    assert place.run("info", "trained", "--quiet") == place.run("info", "trained")


@pytest.mark.options("cache", "--cache-dir", "--clear", "--quiet")
def test_cache(place: Any) -> None:
    place.stream(cache_dir="own-cache")
    shown = place.run("cache", "--cache-dir", "own-cache")
    assert re.match(r"own-cache: 0\.0 MB in [1-9]\d* files", shown)
    assert place.run("cache", "--cache-dir", "own-cache", "--quiet") == shown
    assert "cleared" in place.run("cache", "--cache-dir", "own-cache", "--clear")
    assert "in 0 files" in place.run("cache", "--cache-dir", "own-cache")


def test_info_has_the_figures_of_the_model(place: Any) -> None:
    place.run("train", "novels", "--output", "mixed", "--tokenizer", "characters", "--steps", "2", *SIZES)
    lstm, ngram = place.model("mixed"), NGramLanguageModel.from_pretrained("mixed")
    counts = ", ".join(f"{number:,}" for number in ngram.num_ngrams)
    assert place.run("info", "mixed").splitlines()[:5] == [
        f"model       mixed, LSTM + 4-gram + cache, {lstm.num_parameters:,} weights",
        f"n-grams     {counts} of the orders from 1 on",
        f"vocabulary  {len(lstm.vocabulary):,} tokens, unknown=characters",
        "tokenizer   characters 1",
        "normalize   nfc+width",
    ]
    shown = place.run("info", "mixed")
    assert shown.index("\nvalid\n") < shown.index("\ntest\n")
    for line in ("config      hidden_size=4", "training    epochs=", "training    novelty="):
        assert f"\n{line}" in shown


def test_files_are_inspected_as_they_would_be_read(place: Any) -> None:
    shown = [place.run("inspect", "novels", "--files-only", "--clean", clean) for clean in ("novel", "none")]
    for clean, text in zip(("novel", "none"), shown, strict=True):
        lines = [line for each in inspect_files(["novels"], clean=clean) for line in each.lines(max_changes=3)]
        assert "\n".join(lines) + "\n" == text
    assert shown[0] != shown[1]
    place.run("inspect", "novels", "--files-only", "--encoding", "utf-8", status=2)


def test_files_that_cannot_be_read_are_counted(place: Any) -> None:
    Path("some").mkdir()
    for number, data in enumerate(["大雪。\n".encode() * 50, b"\x00\x01\xff" * 50, b"\xff\xfe\xfd" * 99]):
        Path(f"some/{number}.txt").write_bytes(data)
    shown = place.run("inspect", "some", "--encoding", "utf-8", status=2)
    assert "zh-lstm-lm: error: 2 of 3 files cannot be read\n" in place.err
    assert "vocabulary" not in shown


def test_the_size_of_the_cache_is_that_of_its_files(place: Any) -> None:
    place.stream(cache_dir="large-cache")
    tokens = next(Path("large-cache").rglob("tokens.bin"))
    tokens.write_bytes(bytes(2_500_000))
    number = sum(path.is_file() for path in Path("large-cache").rglob("*"))
    assert place.run("cache", "--cache-dir", "large-cache") == f"large-cache: 2.5 MB in {number} files\n"
    assert place.run("cache", "--cache-dir", "large-cache", "--clear") == "large-cache: cleared, 2.5 MB\n"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "1 s"),
        (99, "99 s"),
        (100, "2 minutes"),
        (5999, "100 minutes"),
        (6000, "1.7 hours"),
        (9e6, "2,500.0 hours"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


MESSAGES = {
    "--separator goes with --tokenizer whitespace, got jieba": [
        "train",
        "novels",
        "--output",
        "x",
        "--separator",
        "  ",
    ],
    "--user-dictionary goes with --tokenizer jieba or rjieba, got characters": [
        *("train", "novels", "--output", "x", "--tokenizer", "characters", "--user-dictionary", "words.txt")
    ],
    "use get_tokenizer('hf', path=…)": ["train", "novels", "--output", "x", "--tokenizer", "hf"],
    "argument --budget: invalid number value": ["study", "epochs", "--output", "x", "--budget", "many"],
    "no/page.html: cannot be written (there is no folder": ["score", "no-model", "展昭", "--html", "no/page.html"],
    "no/text.txt: cannot be written (there is no folder": [
        *("generate", "model", "--num-samples", "2", "--output", "no/text.txt")
    ],
    "--hidden-size must be from 1": ["train", "novels", "--output", "x", "--hidden-size", "-1"],
    "--dropout must be from 0 to 0.99": ["train", "novels", "--output", "x", "--dropout", "1"],
    "--top-p must be from 0 to 1": ["generate", "no-model", "--top-p", "3"],
    "--min-new-tokens must be at most --max-new-tokens 2": [
        *("generate", "no-model", "--min-new-tokens", "3", "--max-new-tokens", "2")
    ],
    "--max-characters counts the prompt": ["generate", "model", "--prompt", "展昭", "--max-characters", "1"],
    "argument --encoding: must be 'auto'": ["evaluate", "model", "novels", "--encoding", "utf-9"],
    "--seeds must be a list of at least 2": ["study", "epochs", "novels", "--output", "x", "--seeds", "1"],
    "novels/max_size=3/bptt_len.txt: no such file": [*("train", "novels/max_size=3/bptt_len.txt", "--output", "x")],
    "as in --encoding 'cp1252'": ["score", "model", "--file", "latin.txt"],
    "leave nothing for training": ["train", "novels", "--output", "x", "--valid", "0.6", "--test", "0.5"],
    "--valid 0.5 and --test 0.5 leave": ["train", "novels", "--output", "x", "--valid", "0.5", "--test", "0.5"],
    "argument --valid: must be a proportion": ["train", "novels", "--output", "x", "--valid", "5"],
    "argument text: must be text in the encoding of the terminal, got '\\udce9'": ["score", "model", "\udce9"],
    "argument --test: must be a proportion": ["train", "novels", "--output", "x", "--test", "1"],
    "must be a proportion, such as 0.05 for five percent, got 'nan'": [
        *("train", "novels", "--output", "x", "--test", "nan")
    ],
    "argument --min-freq: must be an integer of at least 1": ["train", "novels", "--output", "x", "--min-freq", "0"],
    "novels: is not empty and holds no study; give another --output": [
        "study",
        "epochs",
        "novels",
        "--output",
        "novels",
    ],
    "the kind of study must be": ["study", "epoch", "novels", "--output", "x"],
    "x.txt: exists already": ["study", "epochs", "novels", "--output", "x", "--report", "x.txt"],
    "x.txt: is a file, expected a folder": ["train", "novels", "--output", "x.txt"],
    "latin.txt: is a file, expected a folder": ["train", "novels", "--output", "x", "--run-dir", "latin.txt"],
    "'abacus' cannot be used here": ["train", "novels", "--output", "x", "--device", "abacus"],
    "nothing: no such file or folder": ["train", "nothing", "--output", "x"],
}


@pytest.mark.parametrize("message", MESSAGES)
def test_mistakes_are_told_in_options_before_the_work(message: str, place: Any) -> None:
    Path("latin.txt").write_text("Où est la bibliothèque? C'est là, près de la forêt. " * 40, encoding="latin-1")
    Path("x.txt").write_text("a file", encoding="utf-8")
    words = [*MESSAGES[message], *(["--cache-dir", "unused"] if MESSAGES[message][0] in ("train", "study") else [])]
    assert place.run(*words, status=2) == ""
    assert message in place.err
    assert "segmenting" not in place.err
    assert not Path("unused").exists()
