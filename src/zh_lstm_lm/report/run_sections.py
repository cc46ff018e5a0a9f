"""The sections of runs: results, comparability, curves, words, samples, configuration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zh_lstm_lm.report.axes import format_number
from zh_lstm_lm.report.comparison import differences, unfair_comparisons
from zh_lstm_lm.report.markup import (
    Element,
    Label,
    Section,
    Words,
    element,
    in_two_languages,
    paragraph,
    sample_cards,
    table,
)
from zh_lstm_lm.report.plots import draw_plots
from zh_lstm_lm.report.run_plots import training_plots, word_plots
from zh_lstm_lm.report.runs import Run, number, section

__all__ = ["run_sections"]


def run_sections(runs: Sequence[Run], *, max_points: int) -> list[Section]:
    """Returns the sections of runs; none without runs.

    Args:
        runs: The runs.
        max_points: Maximum number of points of all lines of a plot together.
    """
    if not runs:
        return []
    sections: list[Section] = [("results", Label("结果", "Results"), _results(runs))]
    if len(runs) > 1:
        sections.append(("comparison", Label("能否相比", "Comparability"), _comparability(runs)))
    sections.append(
        ("training", Label("训练过程", "Training"), [draw_plots(training_plots(runs, max_points=max_points))])
    )
    words = word_plots(runs, max_points=max_points)
    if words:
        sections.append(("words", Label("词的分布", "Words"), [draw_plots(words)]))
    samples = _samples(runs)
    if samples:
        sections.append(("samples", Label("训练中写的文字", "Samples during training"), samples))
    sections.append(("configuration", Label("配置与环境", "Configuration and environment"), _configuration(runs)))
    return sections


def _results(runs: Sequence[Run]) -> list[Element]:
    """Shows the metrics of the best evaluation: as tiles for a single run, as a table for several."""
    metrics: list[tuple[Label, Callable[[Run], float | None], int | None]] = [
        (Label("测试比特/字", "test bits per character"), lambda run: run.test("bits_per_character"), 3),
        (Label("测试困惑度（每词）", "test perplexity per token"), lambda run: run.test("perplexity"), 2),
        (Label("验证比特/字", "validation bits per character"), lambda run: number(run.best, "valid_bits_per_character"), 3),
        (Label("验证困惑度（每词）", "validation perplexity per token"), lambda run: number(run.best, "valid_perplexity"), 2),
        (Label("训练比特/字", "training bits per character"), lambda run: number(run.best, "train_bits_per_character"), 3),
        (Label("训练困惑度（每词）", "training perplexity per token"), lambda run: number(run.best, "train_perplexity"), 2),
        (Label("最好的一轮", "best epoch"), lambda run: number(run.best, "epoch"), None),
        (Label("训练轮数", "epochs trained"), lambda run: number(run.history[-1], "epoch"), None),
        (Label("用时（分钟）", "minutes"), _minutes, 1),
        (Label("词/秒", "tokens per second"), lambda run: number(run.best, "tokens_per_second"), 0),
        (Label("词表大小", "vocabulary size"), lambda run: number(section(run.description, "text"), "vocab_size"), 0),
        (Label("训练文本（字）", "characters of training text"), lambda run: _characters(run, "train"), 0),
        (Label("验证文本（字）", "characters of validation text"), lambda run: _characters(run, "valid"), 0),
    ]  # fmt: skip
    rows = [(words, [_format(metric(run), decimals) for run in runs]) for words, metric, decimals in metrics]
    rows.append((Label("日期", "date"), [str(run.description.get("date") or "–")[:10] for run in runs]))
    rows = [(words, cells) for words, cells in rows if any(cell != "–" for cell in cells)]
    explained = paragraph(
        Label(
            "数字取自验证损失最低的一次评估。比特/字越低越好，任何两个模型都能比；每词困惑度随分词和词表而变，只在二者相同时能比。",
            "Metrics are those of the evaluation with the lowest validation loss. Bits per character, lower is better, "
            "compare any two models; perplexity per token depends on segmentation and vocabulary and compares only where "
            "both are the same.",
        ),
        class_="note",
    )
    if len(runs) == 1:
        tiles = [
            element("div", element("dt", *in_two_languages(words)), element("dd", *cells)) for words, cells in rows
        ]
        return [element("dl", *tiles, class_="tiles"), explained]
    heads: list[Words] = [Label("训练", "run"), *(run.name for run in runs)]
    return [table(heads, [(words, cells, False) for words, cells in rows], numbers=True), explained]


def _minutes(run: Run) -> float | None:
    seconds = number(run.history[-1], "seconds")
    return None if seconds is None else seconds / 60


def _characters(run: Run, part: str) -> float | None:
    return number(section(run.description, "text", part), "characters")


def _format(value: float | None, decimals: int | None) -> str:
    if value is None:
        return "–"
    return format_number(value) if decimals is None or value >= 1e9 else f"{value:,.{decimals}f}"


def _comparability(runs: Sequence[Run]) -> list[Element]:
    """Warns of each difference that makes a comparison unfair."""
    found = unfair_comparisons(runs)
    if not found:
        told = Label(
            "验证文本、分词器、词表和训练文本都相同：所有数字都可以相比。",
            "Validation set, tokenizer, vocabulary and training set are the same: all metrics compare.",
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
        "每次都用同一个开头、同一个随机种子，所以不同之处来自训练。",
        "All have the same prompt and the same seed, so that they differ by training alone.",
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
    """Lists all options of all runs; options that differ come first and are marked."""
    found: list[Element] = []
    for words, values in (
        (Label("模型", "Model"), [{**_kept(run, "text", "tokenizer"), **section(run.description, "model")} for run in runs]),
        (Label("训练", "Training"), [run.options for run in runs]),
        (Label("环境", "Environment"), [{**_kept(run, "date"), **section(run.description, "environment")} for run in runs]),
    ):  # fmt: skip
        rows = [row for row in sorted(differences(values), key=lambda row: not row[2]) if row[0] != "run_dir"]
        if rows:
            heads: list[Words] = [Label("选项", "option"), *(run.name for run in runs)]
            found.append(element("div", element("h3", *in_two_languages(words)), table(heads, rows)))
    return [element("div", *found, class_="tables")]


def _kept(run: Run, *path: str) -> Mapping[str, Any]:
    """Returns one value of a run's description by its name; an empty mapping if there is none."""
    *names, last = path
    value = section(run.description, *names).get(last)
    return {} if value is None else {last: value}
