"""The sections of runs: results, parts of mixtures, comparability, curves, words, samples, configuration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zh_lstm_lm.report.axes import format_number
from zh_lstm_lm.report.comparison import differences, unfair_comparisons
from zh_lstm_lm.report.markup import (
    Element,
    Label,
    Section,
    Words,
    bits_label,
    element,
    epoch_label,
    sample_cards,
    table,
)
from zh_lstm_lm.report.plots import draw_bars, draw_plots
from zh_lstm_lm.report.run_plots import training_plots, word_plots
from zh_lstm_lm.report.runs import Run, number, section

__all__ = ["run_sections"]

_BITS = Label("比特/字", "bits per character")
_PERPLEXITY = Label("困惑度（每词）", "perplexity per token")


def run_sections(runs: Sequence[Run], *, max_points: int) -> list[Section]:
    """Returns the sections of runs, with plots of at most `max_points` points; none without runs."""
    if not runs:
        return []
    sections: list[Section] = [("results", Label("结果", "Results"), _results(runs))]
    parts = _parts(runs)
    if parts:
        sections.append(("parts", Label("混合模型的各部分", "Parts of the mixture"), parts))
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
        (Label("用时（分钟）", "minutes"), lambda run: (seconds := number(run.history[-1], "seconds")) and seconds / 60, 1),
        (Label("词/秒", "tokens per second"), lambda run: number(run.best, "tokens_per_second"), 0),
        (Label("词表大小", "vocabulary size"), lambda run: number(section(run.description, "text"), "vocab_size"), 0),
        (Label("训练文本（字）", "characters of training text"), lambda run: _characters(run, "train"), 0),
        (Label("验证文本（字）", "characters of validation text"), lambda run: _characters(run, "valid"), 0),
    ]  # fmt: skip
    rows = [(words, [_format(metric(run), decimals) for run in runs]) for words, metric, decimals in metrics]
    rows.append((Label("日期", "date"), [str(run.description.get("date") or "–")[:10] for run in runs]))
    rows = [(words, cells) for words, cells in rows if any(cell != "–" for cell in cells)]
    explained = element(
        "p",
        Label(
            "数字取自验证损失最低的一次评估。比特/字越低越好，任何两个模型都能比；每词困惑度随分词和词表而变，只在二者相同时能比。",
            "Metrics are those of the evaluation with the lowest validation loss. Bits per character, lower is better, "
            "compare any two models; perplexity per token depends on segmentation and vocabulary and compares only where "
            "both are the same.",
        ),
        class_="note",
    )
    if len(runs) == 1:
        tiles = [element("div", element("dt", words), element("dd", *cells)) for words, cells in rows]
        return [element("dl", *tiles, class_="tiles"), explained]
    heads: list[Words] = [Label("训练", "run"), *(run.name for run in runs)]
    return [table(heads, [(words, cells, False) for words, cells in rows], numbers=True), explained]


def _characters(run: Run, part: str) -> float | None:
    return number(section(run.description, "text", part), "characters")


def _format(value: float | None, decimals: int | None) -> str:
    if value is None:
        return "–"
    return format_number(value) if decimals is None or value >= 1e9 else f"{value:,.{decimals}f}"


def _parts(runs: Sequence[Run]) -> list[Element]:
    """Shows how well each part of a mixture predicts alone and together, as a table and as bars."""
    found: list[Element] = []
    for run in runs:
        text, parts = run.parts
        if not parts:
            continue
        alone = next((part for part in parts if part["name"] == "LSTM"), parts[0])
        rows: list[tuple[Words, Sequence[str], bool]] = []
        for part in parts:
            bits, before = number(part, "bits_per_character"), number(alone, "bits_per_character")
            gain = "–" if bits is None or before is None or part is alone else f"{bits - before:+.3f}"
            shown = [_format(number(part, name), 3) for name in ("weight", "bits_per_character")]
            rows.append((part["name"], [*shown, _format(number(part, "perplexity"), 2), gain], False))
        heads = (
            Label("部分", "part"), Label("权重", "weight"), _BITS, _PERPLEXITY,
            Label(f"与 {alone['name']} 相比（比特/字）", f"difference to {alone['name']} (bits per character)"),
        )  # fmt: skip
        bars = [(part["name"], value) for part in parts if (value := number(part, "bits_per_character")) is not None]
        where = {
            "test": Label("测试文本上各部分的成绩；越低越好。", "Each part on the test set; lower is better."),
            "valid": Label("验证文本上各部分的成绩；越低越好。", "Each part on the validation set; lower is better."),
        }[text]
        found += [element("h3", run.name)] if len(runs) > 1 else []
        found += [element("p", where, class_="note"), table(heads, rows, numbers=True)]
        found += [draw_bars(Label("各部分的比特/字", "Bits per character of each part"), bars)] if bars else []
    return found


def _comparability(runs: Sequence[Run]) -> list[Element]:
    """Warns of each difference that makes a comparison unfair."""
    found = unfair_comparisons(runs)
    if not found:
        fair = Label(
            "验证文本、分词器、词表和训练文本都相同：所有数字都可以相比。",
            "Validation set, tokenizer, vocabulary and training set are the same: all metrics compare.",
        )
        return [element("p", fair, class_="fair")]
    warnings = []
    for what, consequence, groups in found:
        named = element("p", " | ".join(groups), class_="note")
        title = element("strong", Label(f"{what.zh}：", f"{what.en}: "))
        warnings.append(element("div", element("p", title, consequence), named, class_="warning"))
    return warnings


def _samples(runs: Sequence[Run]) -> list[Element]:
    found: list[Element] = []
    for run in runs:
        cards = [
            (
                epoch_label(number(record, "epoch") or 0.0),
                bits_label(number(record, "valid_bits_per_character") or number(record, "train_bits_per_character")),
                record["sample"],
            )
            for record in run.history
            if isinstance(record.get("sample"), str) and record["sample"].strip()
        ]
        if cards:
            found += [element("h3", run.name)] if len(runs) > 1 else []
            found.append(sample_cards(cards))
    if not found:
        return []
    explained = Label(
        "每次都用同一个开头、同一个随机种子，所以不同之处来自训练。",
        "All have the same prompt and the same seed, so that they differ by training alone.",
    )
    return [element("p", explained, class_="note"), *found]


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
            found.append(element("div", element("h3", words), table(heads, rows)))
    return [element("div", *found, class_="tables")]


def _kept(run: Run, *path: str) -> Mapping[str, Any]:
    """Returns one value of a run's description by its name; an empty mapping if there is none."""
    *names, last = path
    value = section(run.description, *names).get(last)
    return {} if value is None else {last: value}
