"""The report as its reader sees it: contents, hostile folders, refused options, layout in a browser."""

import datetime
import html
import json
import math
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import (
    CheckpointError,
    ConfigError,
    DataError,
    EpochSamples,
    History,
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    ZhLstmLmError,
    write_report,
)
from zh_lstm_lm.cli.main import main

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;</style></title>\x00\x1b"


def make_run(folder: Path, **changes: Any) -> Path:
    """Writes a run's folder; `changes` go into its description, ``sample`` into its records."""
    folder.mkdir(parents=True)
    sample = changes.pop("sample", "展昭道：“好大的雪！”")
    text = {"tokenizer": "jieba 0.42.1", "vocab_size": 40, "train": {"characters": 900}, "valid": {"sha256": "ab"}}
    description: dict[str, Any] = {
        "format": 1,
        "options": {"max_grad_norm": 0.5, "bptt_len": 35, "learning_rate": 0.003},
        "model": {"hidden_size": 16, "dropout": 0.1},
        "vocabulary": "cafe",
        "text": text,
        "environment": {"torch": "2.13.0", "python": "3.11.7"},
    }
    for name, value in changes.items():
        description[name] = {**description[name], **value} if isinstance(value, dict) else value
    history, curve = [], []
    for epoch in (1, 2, 3):
        loss = 6.0 / epoch**0.2
        record: dict[str, Any] = {"epoch": float(epoch), "step": 40 * epoch, "seconds": 60.0 * epoch}
        for part, extra in (("train", 0.0), ("valid", 0.25)):
            record[f"{part}_loss"] = loss + extra
            record[f"{part}_perplexity"] = math.exp(loss + extra)
            record[f"{part}_bits_per_character"] = (loss + extra) / math.log(2) / 1.5
        history.append({**record, "tokens_per_second": 1234.0, "sample": f"{sample}{epoch}"})
    for step in range(1, 121):
        record = {"step": step, "updates": 1, "clipped_updates": step % 2, "num_targets": 20, "num_characters": 30}
        record |= {"loss_sum": 20 * 6.0 / step**0.1, "gradient_norm_sum": 0.3 + step % 7 / 10, "seconds": 0.01}
        curve.append({**record, "gradient_norm_max": 1.0, "learning_rate": 0.003 / step})
    (folder / "run.json").write_text(json.dumps(description), encoding="utf-8")
    for name, records in (("history", history), ("curve", curve)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    (folder / "best").mkdir()
    counts = [round(400 / rank) for rank in range(1, 40)]
    (folder / "best" / "vocabulary.json").write_text(json.dumps({"counts": [0, *counts]}), encoding="utf-8")
    return folder


def make_study(folder: Path, kind: str = "seq-len", **changes: Any) -> Path:
    """Writes a study's folder with three settings and two seeds."""
    folder.mkdir(parents=True)
    settings: dict[str, list[dict[str, Any]]] = {
        "seq-len": [{"bptt_len": length} for length in (5, 20, 80)],
        "epochs": [{"train_share": share, "train_tokens": round(4000 * share)} for share in (0.25, 0.5, 1.0)],
        "vocabulary": [
            {"tokenizer": name, "unknown": unknown, "max_size": size, "vocabulary_size": size or 3000}
            for name, unknown, size in (("jieba", "characters", 1000), ("jieba", "unk", None), ("characters", "characters", None))
        ],
    }  # fmt: skip
    rows = []
    for number, setting in enumerate(settings[kind]):
        for seed in (0, 1):
            bits = 7.0 - 0.25 * number + 0.02 * seed
            row = {**setting, "seed": seed, "updates": 100, "microseconds_per_token": 90.0 - number, "memory_mb": 12.0}
            row |= {"test_bits_per_character": bits, "train_bits_per_character": bits - 1, "test_perplexity": 2**bits}
            row |= {"train_perplexity": 2 ** (bits - 1), "gap_bits_per_character": 1.0, "clipped_share": 0.25}
            row |= {
                "ngram_bits_per_character": 6.375,
                "gradient_norm": 0.4,
                "largest_gradient_norm": 0.9,
                "passage": f"一段文字{number}{seed}。",
            }
            row |= {"epoch": [1.0, 2.0], "valid_bits_per_character_by_epoch": [bits + 1, bits]}
            if kind == "seq-len":
                row |= {"context_tokens": [1, 2, 4], "loss_by_context": [6.0, 5.5, 5.25]}
                row |= {"loss_by_position": [6.0] * 20 + [5.0] * 60}
            if kind == "epochs":
                row["passage_by_epoch"] = ["第一段。", "第二段。"]
            rows.append(row)
    claim = {"name": "time", "verdict": "depends", "rule": {"zh": "规则", "en": "the rule"}}
    claim |= {
        "claim": {"zh": "窗口越长越慢", "en": "Longer windows are slower"},
        "figure": {"zh": "数字", "en": "figures"},
    }
    study = {
        "format": 1,
        "kind": kind,
        "title": "…",
        "equality": "tokens",
        "corpus": {"characters": 900},
        "claims": [claim],
    }
    study |= {
        "environment": {"python": "3.11.7"},
        "options": {"budget": 1, "model": {"hidden_size": 16}},
        "seeds": [0, 1],
    }
    (folder / "study.json").write_text(
        json.dumps({**study, "complete": True, "rows": rows, **changes}), encoding="utf-8"
    )
    return folder


class Page(HTMLParser):
    """A page, read by a parser that is not the one that made it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not set(self._open) - {"meta", "input"}, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {*self._open}:
            self.texts.setdefault(tag, []).append(data)

    def text(self, tag: str = "body") -> str:
        return "".join(self.texts.get(tag, []))


def report(tmp_path: Path, *folders: Path, **options: Any) -> Page:
    return Page(write_report(list(folders), tmp_path / "report.html", **options))


def test_a_run_is_told_in_both_languages(tmp_path: Path) -> None:
    page = report(tmp_path, make_run(tmp_path / "wuxia"))
    headings = page.text("h2")
    for heading in ("结果", "Results", "训练过程", "Training", "词的分布", "Words", "配置与环境", "训练中写的文字"):
        assert heading in headings
    captions = page.text("figcaption")
    for caption in ("各次评估的困惑度", "比特/字", "学习率", "Gradient norm", "Speed", "Zipf", "Clipped updates"):
        assert caption in captions
    assert "4.873" in page.text("dd"), "the best epoch's held-out loss is 6 / 3^0.2 + 0.25, over ln 2 and 1.5"
    assert all(f"好大的雪！”{epoch}" in page.text("blockquote") for epoch in (1, 2, 3))
    assert "hidden_size" in page.text("table")
    assert "2.13.0" in page.text("table")


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    page = report(tmp_path, make_run(tmp_path / "run"), make_study(tmp_path / "study"))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        assert str(attributes.get("href", "#")).startswith("#")
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert "@font-face" not in page.source
    policies = [a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    assert len(links) > 4
    assert all(link.removeprefix("#") in anchors for link in links)


def test_what_a_folder_holds_is_text_and_never_markup(tmp_path: Path) -> None:
    harmless = report(tmp_path, make_run(tmp_path / "a" / "run"), make_study(tmp_path / "a" / "study"))
    place = tmp_path / "b"
    name = "<img src=x onerror=alert(1)>\"&'"
    claim = {key: {"zh": HOSTILE, "en": HOSTILE} for key in ("claim", "figure", "rule")}
    run = make_run(
        place / name, sample=HOSTILE, options={HOSTILE: HOSTILE}, environment={HOSTILE: HOSTILE},
        text={"tokenizer": HOSTILE},
    )  # fmt: skip
    study = make_study(place / "study", claims=[{**claim, "verdict": HOSTILE}], environment={HOSTILE: [HOSTILE]})
    values = json.loads((study / "study.json").read_text(encoding="utf-8"))
    values["rows"] = [{**row, "passage": HOSTILE, "bptt_len": HOSTILE} for row in values["rows"][:2]] + values["rows"][
        2:
    ]
    (study / "study.json").write_text(json.dumps(values), encoding="utf-8")
    page = Page(write_report([run, study], tmp_path / "hostile.html"))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in harmless.tags}
    attributes = {name for _, found in page.tags for name in found}
    assert attributes <= {name for _, found in harmless.tags for name in found}
    assert "<script>alert(1)</script>" in page.text("blockquote"), "it is there to be read"
    assert name in page.text("h1") + page.text("p")
    assert "\x00" not in page.source
    assert "\x1b" not in page.source


def test_lone_surrogates_do_no_harm(tmp_path: Path) -> None:
    page = report(tmp_path, make_run(tmp_path / "run", sample="\ud800断", environment={"a\udfff": "b"}))
    assert "断" in page.text("blockquote")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"text": {"valid": {"sha256": "other"}}}, "The validation sets differ"),
        ({"text": {"tokenizer": "characters 1"}}, "The tokenizers differ"),
        ({"vocabulary": "beef"}, "The vocabularies differ"),
        ({"text": {"train": {"characters": 8}}}, "The training texts differ"),
        ({"text": None}, "The texts are not known"),
    ],
)
def test_unfair_comparisons_are_told_of(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    page = report(tmp_path, make_run(tmp_path / "a"), make_run(tmp_path / "b", **change))
    assert page.text("strong").count(" differ: ") + page.text("strong").count("not known: ") == 1
    assert told in page.text("strong")


def test_fair_comparisons_are_called_fair(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", options={"bptt_len": 70})]
    page = report(tmp_path, *runs, language="en")
    assert "all metrics compare" in page.text()
    assert page.text("strong") == ""
    marked = [attributes for tag, attributes in page.tags if tag == "tr" and attributes.get("class") == "differs"]
    assert len(marked) == 1, "bptt_len is what differs"


PARTS: list[dict[str, Any]] = [
    {"name": "LSTM", "bits_per_character": 5.992, "perplexity": 310.25, "weight": 0.625},
    {"name": "4-gram", "bits_per_character": 6.001, "perplexity": 315.0, "weight": 0.375},
    {"name": "LSTM + 4-gram", "bits_per_character": 5.641, "perplexity": 250.125, "weight": None},
]


def with_parts(run: Path, **parts: Any) -> Path:
    """Adds parts to the second of the three records of a run's history."""
    records = [json.loads(line) for line in (run / "history.jsonl").read_text("utf-8").splitlines()]
    records[1] |= parts
    (run / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return run


def test_parts_of_a_mixture_stand_in_a_table_and_as_bars(tmp_path: Path) -> None:
    page = report(tmp_path, with_parts(make_run(tmp_path / "run"), test_parts=PARTS))
    assert "Parts of the mixture" in page.text("h2")
    assert "Each part on the test set" in page.text("p")
    cells = page.texts["td"]
    for shown in (["0.625", "5.992", "310.25", "–"], ["–", "5.641", "250.12", "-0.351"]):
        assert any(cells[index : index + 4] == shown for index in range(len(cells))), shown
    (svg,) = re.findall(r"<svg [^>]*各部分的比特/字.*?</svg>", page.source, flags=re.DOTALL)
    widths = [float(bar.attrib["width"]) for bar in ET.fromstring(svg).iter("rect")]
    assert widths == pytest.approx([max(widths) * part["bits_per_character"] / 6.001 for part in PARTS], abs=0.1)


def test_parts_on_the_validation_set_stand_in_where_there_is_no_test(tmp_path: Path) -> None:
    closed = [{**part, "bits_per_character": None} for part in PARTS]
    runs = [with_parts(make_run(tmp_path / "a"), valid_parts=closed), make_run(tmp_path / "b")]
    page = report(tmp_path, *runs)
    assert "Each part on the validation set" in page.text("p")
    assert "Bits per character of each part" not in page.text("figcaption")


@pytest.mark.parametrize("parts", [None, [], "LSTM", [3], [{"name": 3}], {"LSTM": 5.9}])
def test_what_is_no_list_of_parts_is_not_shown(tmp_path: Path, parts: Any) -> None:
    page = report(tmp_path, with_parts(make_run(tmp_path / "run"), test_parts=parts))
    assert "Parts of the mixture" not in page.text("h2")


@pytest.mark.parametrize("kind", ["seq-len", "epochs", "vocabulary"])
def test_studies_are_told_with_claims_spread_and_passages(tmp_path: Path, kind: str) -> None:
    page = report(tmp_path, make_study(tmp_path / "study", kind))
    assert "窗口越长越慢" in page.text("h4")
    assert "视情况而定" in page.text("strong")
    assert "7.010 ± 0.014" in page.text("td"), "the mean of 7.00 and 7.02, and the deviation of the sample"
    assert "Bits per character" in page.text("figcaption")
    assert "6.375" in page.text("td")
    assert ("test, n-gram model" in page.text("li")) == (kind != "vocabulary")
    assert ("第二段" if kind == "epochs" else "一段文字20") in page.text("blockquote")
    bars = [attributes for tag, attributes in page.tags if tag == "path" and "bar" in str(attributes.get("class"))]
    assert len(bars) >= 3
    assert "error bars are one standard deviation" in page.text("p")
    assert "not finished" not in page.text()


def test_an_unfinished_study_and_a_single_seed_are_told_of(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", complete=False)
    values = json.loads((study / "study.json").read_text(encoding="utf-8"))
    values["rows"] = values["rows"][::2]
    (study / "study.json").write_text(json.dumps(values), encoding="utf-8")
    page = report(tmp_path, study)
    assert "not finished" in page.text()
    assert "One seed each" in page.text("p")
    assert " ± " not in page.text("td")


def test_many_long_runs_stay_under_the_limit(tmp_path: Path) -> None:
    runs = []
    for number in range(16):
        run = make_run(tmp_path / f"run-{number}", sample="雪" * 2000, options={"seed": number})
        curve = (run / "curve.jsonl").read_text(encoding="utf-8")
        (run / "curve.jsonl").write_text(curve * 4, encoding="utf-8")
        runs.append(run)
    assert write_report(runs, tmp_path / "report.html").stat().st_size < 500_000


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    page = report(tmp_path, make_run(tmp_path / "a" / "run"), make_run(tmp_path / "b" / "run"))
    assert "a/run" in page.text("th")
    assert "b/run" in page.text("th")


def test_equal_folders_give_equal_pages(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    first = write_report(run, tmp_path / "1.html").read_bytes()
    assert write_report(str(run), tmp_path / "2.html").read_bytes() == first


def test_a_run_without_curve_best_model_or_held_out_text_has_what_it_has(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "curve.jsonl").unlink()
    (run / "best" / "vocabulary.json").unlink()
    record = {"epoch": 1.0, "step": 9, "train_loss": 2.0, "train_perplexity": 7.389, "seconds": "soon", "sample": 3}
    (run / "history.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    page = report(tmp_path, run)
    assert "7.39" in page.text("dd")
    assert "Words" not in page.text("h2")
    assert "各次评估的困惑度" in page.text("figcaption")


def test_numbers_of_any_kind_do_no_harm(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    odd: list[Any] = [1e308, -1e308, 1e-308, True, None, "3", [], {}, 10**400, 0]
    names = [*json.loads((run / "curve.jsonl").read_text("utf-8").splitlines()[0])]
    lines = [json.dumps(dict.fromkeys(names, value)) for value in odd] + ["{}"]
    (run / "curve.jsonl").write_text("\n".join(lines), encoding="utf-8")
    names = [*json.loads((run / "history.jsonl").read_text("utf-8").splitlines()[0])]
    lines = [json.dumps(dict.fromkeys(names, value)) for value in odd] + ["{}"]
    (run / "history.jsonl").write_text("\n".join(lines), encoding="utf-8")
    page = report(tmp_path, run)
    assert not re.search(r"\b(nan|inf)\b", "".join(str(a.get("d", "")) + str(a.get("cx", "")) for _, a in page.tags))


def test_a_real_run_on_the_command_line(
    stream: TokenStream, vocabulary: Vocabulary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8))
    config = TrainerConfig(max_epochs=2, run_dir=tmp_path / "run", bptt_len=5)
    Trainer(model, stream, stream, config, callbacks=[EpochSamples(max_characters=20)], progress=False).fit()
    assert main(["report", str(tmp_path / "run"), "--output", str(tmp_path / "page.html"), "--language", "en"]) == 0
    assert re.search(r"page\.html: \d+ KB\n", capsys.readouterr().out)
    page = Page(tmp_path / "page.html")
    for caption in ("Perplexity during training", "Learning rate", "Speed", "Zipf’s law", "Gradient norm"):
        assert caption in page.text("figcaption")
    checked = {a["id"] for tag, a in page.tags if tag == "input" and "checked" in a}
    assert checked == {"en"}


def test_test_metric_chosen_options_and_date_stand_in_the_report(
    texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "novel.txt").write_text("".join(texts) * 40, encoding="utf-8")
    model, page = tmp_path / "model", tmp_path / "page.html"
    options = ["--tokenizer", "characters", "--embedding-dim", "8", "--hidden-size", "8", "--epochs", "2", "--quiet"]
    assert main(["train", str(tmp_path / "novel.txt"), "--output", str(model), *options]) == 0
    found = re.search(r"test .* ([\d.]+) bits/character  perplexity ([\d.]+) per token", capsys.readouterr().out)
    assert found
    bits, perplexity = map(float, found.groups())
    shown = Page(write_report(f"{model}.run", page))
    assert float(shown.texts["dd"][0]) == pytest.approx(bits, abs=6e-4)
    assert f"{perplexity:.2f}" in shown.texts["dd"]
    run = json.loads((tmp_path / "model.run" / "run.json").read_text(encoding="utf-8"))
    curve = History.load(tmp_path / "model.run" / "curve.jsonl")
    began = datetime.datetime.fromisoformat(run["date"])
    assert abs(datetime.datetime.now().astimezone() - began) < datetime.timedelta(days=1)
    assert run["date"][:10] in shown.texts["dd"]
    assert run["options"]["batch_size"] is run["options"]["learning_rate"] is None
    lengths = {record["num_targets"] / run["options"]["bptt_len"] for record in curve[:1]}
    assert f"{round(max(lengths))} (auto)" in shown.texts["td"], "as many rows as an update has targets for"
    assert f"{max(record['learning_rate'] for record in curve):g} (auto)" in shown.texts["td"]
    assert main(["info", str(model)]) == 0
    assert f"test_bits_per_character={bits}" in capsys.readouterr().out
    assert f"test_bits_per_character: {bits}" in (model / "README.md").read_text(encoding="utf-8")
    assert main(["train", str(tmp_path / "novel.txt"), "--output", str(model), *options, "--resume"]) == 0


def test_bad_input_is_told_of_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere"), "--output", str(tmp_path / "page.html")]) == 2
    told = capsys.readouterr().err
    assert "nowhere: not the folder of a run or of a study" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "page.html").exists()


def without_history(folder: Path) -> None:
    (folder / "history.jsonl").write_text("", encoding="utf-8")


def without_a_history_file(folder: Path) -> None:
    (folder / "history.jsonl").unlink()


def with_a_broken_description(folder: Path) -> None:
    (folder / "run.json").write_text("{", encoding="utf-8")


def with_another_description(folder: Path) -> None:
    (folder / "run.json").write_text("[1]", encoding="utf-8")


def with_a_broken_history(folder: Path) -> None:
    (folder / "history.jsonl").write_text('{"epoch": 1.0', encoding="utf-8")


def with_a_foreign_vocabulary(folder: Path) -> None:
    (folder / "best" / "vocabulary.json").write_text('{"counts": "many"}', encoding="utf-8")


def with_a_foreign_study(folder: Path) -> None:
    make_study(folder / "study")
    values = json.loads((folder / "study" / "study.json").read_text(encoding="utf-8"))
    (folder / "study.json").write_text(json.dumps({**values, "kind": "colours"}), encoding="utf-8")


def with_an_empty_study(folder: Path) -> None:
    make_study(folder / "study", rows=[])
    (folder / "study" / "study.json").rename(folder / "study.json")


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (without_history, DataError, "has no history.*resume training"),
        (without_a_history_file, DataError, "has no history"),
        (with_a_broken_description, CheckpointError, "run.json: not valid JSON"),
        (with_another_description, CheckpointError, "run.json: not a description of a run"),
        (with_a_broken_history, DataError, "not a history of training"),
        (with_a_foreign_vocabulary, CheckpointError, "not a vocabulary with its counts"),
        (with_a_foreign_study, CheckpointError, r"study\.json"),
        (with_an_empty_study, DataError, "no result yet"),
    ],
)
def test_a_folder_that_cannot_be_reported(tmp_path: Path, spoil: Any, error: type[ZhLstmLmError], told: str) -> None:
    run = make_run(tmp_path / "run")
    spoil(run)
    with pytest.raises(error, match=told):
        write_report(run, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_models_folder_names_the_run_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    make_run(tmp_path / "model.run")
    with pytest.raises(DataError, match=r"its run is in .*model\.run"):
        write_report(tmp_path / "model", tmp_path / "report.html")


def test_a_file_that_is_there_is_kept_unless_it_may_go(tmp_path: Path) -> None:
    run, output = make_run(tmp_path / "run"), tmp_path / "report.html"
    output.write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="exists already; give another file, or overwrite=True"):
        write_report(run, output)
    assert output.read_text(encoding="utf-8") == "mine"
    write_report(run, output, overwrite=True)
    assert output.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(DataError, match="give a file in it"):
        write_report(run, tmp_path, overwrite=True)
    with pytest.raises(DataError, match="there is no folder"):
        write_report(run, tmp_path / "no" / "report.html")


def test_wrong_kinds_of_options_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="language must be one of 'zh', 'en'"):
        write_report(run, tmp_path / "r.html", language="de")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="output must be"):
        write_report(run, 3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="each of the folders must be"):
        write_report([run, 3], tmp_path / "r.html")  # type: ignore[list-item]
    with pytest.raises(DataError, match="folders is empty"):
        write_report([], tmp_path / "r.html")


def test_the_svg_is_well_formed_and_its_marks_say_what_they_are(tmp_path: Path) -> None:
    page = report(tmp_path, make_run(tmp_path / "run"))
    svgs = re.findall(r"<svg .*?</svg>", page.source, flags=re.DOTALL)
    assert len(svgs) > 9
    for svg in svgs:
        for circle in ET.fromstring(svg).iter("circle"):
            titles = [child.text for child in circle if child.tag == "title"]
            assert titles or "aria-hidden" in svg
    plot = ET.fromstring(svgs[0])
    told = [str(title.text) for title in plot.iter("title")]
    assert any("轮数 epochs 2, 困惑度（每词） perplexity per token 185.5" in title for title in told), told


# --- in a browser --------------------------------------------------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)

MEASURE = """
const page = document.querySelector('iframe').contentDocument, root = page.documentElement;
const shown = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible';
const box = e => e.getBoundingClientRect();
const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
const overlapping = list => list.flatMap((a, i) => list.slice(i + 1).filter(b => meet(box(a), box(b)))
  .map(b => a.textContent.slice(0, 30) + ' | ' + b.textContent.slice(0, 30)));
const all = (where, what) => [...where.querySelectorAll(what)].filter(shown);
const overlaps = [];
for (const parent of ['main', '.plots', '.samples', '.claims', '.tiles', 'section', 'figure', 'header', 'article', '.legend'])
  for (const e of all(page, parent)) overlaps.push(...overlapping([...e.children].filter(shown)));
for (const svg of all(page, 'figure > svg')) overlaps.push(...overlapping(all(svg, 'text')));
const hanging = all(page, 'svg text').filter(e => box(e).left < 0 || box(e).right > root.clientWidth + 0.5);
const small = all(page, 'figure > svg text').map(e => parseFloat(getComputedStyle(e).fontSize)
  * box(e.ownerSVGElement).width / e.ownerSVGElement.viewBox.baseVal.width);
const style = e => getComputedStyle(e);
const answer = {
  width: root.scrollWidth, room: root.clientWidth, overlaps, hanging: hanging.map(e => e.textContent),
  headings: all(page, 'h1, h2').map(e => e.innerText), captions: all(page, 'figcaption').map(e => e.innerText),
  smallest: Math.min(...small), columns: new Set(all(page, '.plots figure').map(e => box(e).left)).size,
  paper: style(page.body).backgroundColor, ink: style(page.body).color,
  colors: all(page, 'path.line').map(e => style(e).stroke), faint: all(page, 'svg .tick').map(e => style(e).fill),
};
document.body.replaceChildren(Object.assign(document.createElement('pre'), {textContent: JSON.stringify(answer)}));
"""


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three runs that cannot be compared, and of a study."""
    folder = tmp_path_factory.mktemp("report")
    names = ("a-run-with-a-rather-long-name-that-has-no-blanks-in-it", "字", "third run")
    changes: tuple[dict[str, Any], ...] = ({}, {"vocabulary": "beef"}, {"text": {"tokenizer": "characters 1"}})
    runs = [make_run(folder / name, **change) for name, change in zip(names, changes, strict=True)]
    return write_report([*runs, make_study(folder / "study")], folder / "report.html", language="en")


def measured(page: Path, folder: Path, *, width: int, dark: bool) -> dict[str, Any]:
    """Measures the page in a browser, inside a frame of that width."""
    source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    frame = f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(source)}"></iframe>'
    script = f"<script>document.querySelector('iframe').onload = () => {{{MEASURE}}}</script>"
    (folder / "frame.html").write_text(f"<!DOCTYPE html><meta charset=utf-8>{frame}{script}", encoding="utf-8")
    command = [
        str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1500,1000",
        "--virtual-time-budget=5000", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=120, env={**os.environ, "HOME": str(folder)}
    )
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-500:]
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))
    return answer


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine, which the layout is held with")
@pytest.mark.parametrize(
    ("width", "dark", "columns"), [(360, False, 1), (360, True, 1), (1400, False, 3), (1400, True, 3)]
)
def test_the_page_can_be_read_in_a_browser(
    large_page: Path, tmp_path: Path, width: int, dark: bool, columns: int
) -> None:
    answer = measured(large_page, tmp_path, width=width, dark=dark)
    assert answer["room"] == width
    assert answer["width"] == width, "nothing hangs over at the side"
    assert answer["overlaps"] == []
    assert answer["hanging"] == []
    assert answer["headings"] == [
        *("Training report", "Results", "Comparability", "Training", "Words", "Samples during training"),
        *("Configuration and environment", "Study: the length of BPTT segments"),
    ]
    assert len(answer["captions"]) > 20
    assert answer["columns"] == columns
    assert answer["smallest"] >= 10, "the letters of plots can be read"
    assert (contrast(answer["paper"], "rgb(0, 0, 0)") < 3) == dark
    assert contrast(answer["paper"], answer["ink"]) > 10
    assert min(contrast(answer["paper"], color) for color in answer["faint"]) > 4.5
    assert min(contrast(answer["paper"], color) for color in answer["colors"]) > 3
