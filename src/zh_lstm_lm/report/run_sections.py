"""The parts of the page that tell of runs: figures, fairness, curves, words, samples, configuration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zh_lstm_lm.report.axes import format_number
from zh_lstm_lm.report.comparison import differences, unfair_comparisons
from zh_lstm_lm.report.labels import Label, Words
from zh_lstm_lm.report.markup import Element, element, in_two_languages
from zh_lstm_lm.report.parts import Section, paragraph, plots_of, sample_cards, table
from zh_lstm_lm.report.run_plots import training_plots, word_plots
from zh_lstm_lm.report.runs import Run, number, section

__all__ = ["run_sections"]


def run_sections(runs: Sequence[Run], *, max_points: int) -> list[Section]:
    """The sections that tell of runs; none without runs.

    Args:
        runs: The runs.
        max_points: Most points of all lines of a plot together.
    """
    if not runs:
        return []
    sections: list[Section] = [("figures", Label("结果", "Results"), _results(runs))]
    if len(runs) > 1:
        sections.append(("comparison", Label("能否相比", "What can be compared"), _fairness(runs)))
    sections.append(
        ("training", Label("训练过程", "Training"), [plots_of(training_plots(runs, max_points=max_points))])
    )
    words = word_plots(runs, max_points=max_points)
    if words:
        sections.append(("words", Label("词的分布", "Words"), [plots_of(words)]))
    samples = _samples(runs)
    if samples:
        sections.append(("samples", Label("每轮之后写的文字", "Samples after each epoch"), samples))
    sections.append(("configuration", Label("配置与环境", "Configuration and environment"), _configuration(runs)))
    return sections


def _results(runs: Sequence[Run]) -> list[Element]:
    """The figures of the best epoch: in tiles for a single run, in a table for several."""
    rows: list[tuple[Label, Callable[[Run], float | None], int | None]] = [
        (Label("验证比特/字", "held-out bits per character"), lambda run: number(run.best, "valid_bits_per_character"), 3),
        (Label("验证困惑度（每词）", "held-out perplexity per token"), lambda run: number(run.best, "valid_perplexity"), 2),
        (Label("训练比特/字", "training bits per character"), lambda run: number(run.best, "train_bits_per_character"), 3),
        (Label("训练困惑度（每词）", "training perplexity per token"), lambda run: number(run.best, "train_perplexity"), 2),
        (Label("最好的一轮", "best epoch"), lambda run: number(run.best, "epoch"), None),
        (Label("训练轮数", "epochs trained"), lambda run: number(run.history[-1], "epoch"), None),
        (Label("用时（分钟）", "minutes"), _minutes, 1),
        (Label("词/秒", "tokens per second"), lambda run: number(run.best, "tokens_per_second"), 0),
        (Label("词表大小", "vocabulary size"), lambda run: number(section(run.description, "text"), "vocab_size"), 0),
        (Label("训练文本（字）", "characters of training text"), lambda run: _characters(run, "train"), 0),
        (Label("验证文本（字）", "characters of held-out text"), lambda run: _characters(run, "valid"), 0),
    ]  # fmt: skip
    told = [(words, [_figure(figure(run), decimals) for run in runs]) for words, figure, decimals in rows]
    told = [(words, cells) for words, cells in told if any(cell != "–" for cell in cells)]
    explained = paragraph(
        Label(
            "数字取自验证损失最低的一轮。比特/字越低越好，任何两个模型都能比；每词困惑度随分词和词表而变，只在二者相同时能比。",
            "Figures of the epoch with the lowest held-out loss. Bits per character, lower is better, compare any two "
            "models; perplexity per token depends on segmentation and vocabulary and compares only where both are the same.",
        ),
        class_="note",
    )
    if len(runs) == 1:
        tiles = [
            element("div", element("dt", *in_two_languages(words)), element("dd", *cells)) for words, cells in told
        ]
        return [element("dl", *tiles, class_="tiles"), explained]
    heads: list[Words] = [Label("训练", "run"), *(run.name for run in runs)]
    return [table(heads, [(words, cells, False) for words, cells in told], numbers=True), explained]


def _minutes(run: Run) -> float | None:
    seconds = number(run.history[-1], "seconds")
    return None if seconds is None else seconds / 60


def _characters(run: Run, part: str) -> float | None:
    return number(section(run.description, "text", part), "characters")


def _figure(value: float | None, decimals: int | None) -> str:
    if value is None:
        return "–"
    return format_number(value) if decimals is None or value >= 1e9 else f"{value:,.{decimals}f}"


def _fairness(runs: Sequence[Run]) -> list[Element]:
    """A warning for each thing in which the runs differ and that makes a comparison unfair."""
    found = unfair_comparisons(runs)
    if not found:
        told = Label(
            "验证文本、分词器、词表和训练文本都相同：所有数字都可以相比。",
            "Held-out text, tokenizer, vocabulary and training text are the same: all figures compare.",
        )
        return [paragraph(told, class_="fair")]
    warnings = []
    for what, consequence, groups in found:
        named = element("p", " | ".join(groups), class_="note")
        title = element("strong", *in_two_languages(Label(f"{what.zh}：", f"{what.en}: ")))
        warnings.append(element("div", element("p", title, *in_two_languages(consequence)), named, class_="warning"))
    return warnings


def _samples(runs: Sequence[Run]) -> list[Element]:
    found: list[Element] = []
    for run in runs:
        cards = [(_title(record), _note(record), record["sample"]) for record in run.history if _has_text(record)]
        if cards:
            found += [element("h3", run.name)] if len(runs) > 1 else []
            found.append(sample_cards(cards))
    if not found:
        return []
    explained = Label(
        "每轮都用同一个开头、同一个随机种子，所以不同之处来自训练。",
        "All from the same beginning and the same seed, so it is training that makes them differ.",
    )
    return [paragraph(explained, class_="note"), *found]


def _has_text(record: Mapping[str, Any]) -> bool:
    return isinstance(record.get("sample"), str) and bool(record["sample"].strip())


def _title(record: Mapping[str, Any]) -> Words:
    epoch = format_number(number(record, "epoch") or 0)
    return Label(f"第 {epoch} 轮", f"Epoch {epoch}")


def _note(record: Mapping[str, Any]) -> Words:
    bits = number(record, "valid_bits_per_character") or number(record, "train_bits_per_character")
    return "" if bits is None else Label(f"{bits:.3f} 比特/字", f"{bits:.3f} bits per character")


def _configuration(runs: Sequence[Run]) -> list[Element]:
    """All options of all runs; rows in which they differ are marked, and shown first."""
    parts = (
        (Label("模型", "Model"), ("model",)),
        (Label("训练", "Training"), ("options",)),
        (Label("环境", "Environment"), ("environment",)),
    )
    found: list[Element] = []
    tokenizers = [{"tokenizer": section(run.description, "text").get("tokenizer")} for run in runs]
    for words, path in parts:
        values: list[Mapping[str, Any]] = [section(run.description, *path) for run in runs]
        if path == ("model",):
            values = [{**names, **mapping} for names, mapping in zip(tokenizers, values, strict=True)]
        rows = [row for row in sorted(differences(values), key=lambda row: not row[2]) if row[0] != "run_dir"]
        if rows:
            heads: list[Words] = [Label("选项", "option"), *(run.name for run in runs)]
            found.append(element("div", element("h3", *in_two_languages(words)), table(heads, rows)))
    return [element("div", *found, class_="tables")]
