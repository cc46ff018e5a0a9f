"""Comparability of the metrics of several runs, and the differences between their options."""

from collections.abc import Mapping, Sequence
from typing import Any

from zh_lstm_lm.report.markup import Label
from zh_lstm_lm.report.runs import Run, section

__all__ = ["differences", "unfair_comparisons"]

_ASPECTS: Sequence[tuple[tuple[str, ...], Label, Label]] = (
    (
        ("text", "valid", "sha256"), Label("验证文本不同", "The validation sets differ"),
        Label(
            "困惑度和比特/字都不能相比：预测的不是同一段文字。",
            "neither perplexity nor bits per character can be compared, since different text was predicted.",
        ),
    ),
    (
        ("text", "tokenizer"), Label("分词器不同", "The tokenizers differ"),
        Label(
            "每词困惑度不能相比：词的长短不一；比特/字可以。",
            "perplexity per token cannot be compared, since tokens differ in length; bits per character can.",
        ),
    ),
    (
        ("vocabulary",), Label("词表不同", "The vocabularies differ"),
        Label(
            "每词困惑度不能相比：拆开的词不一样；比特/字可以。",
            "perplexity per token cannot be compared, since different words are split into pieces; bits per character can.",
        ),
    ),
    (
        ("text", "train", "characters"), Label("训练文本不同", "The training texts differ"),
        Label(
            "验证的数字可以相比，但差别也来自训练文本。",
            "validation metrics can be compared, but a difference may come from the training text.",
        ),
    ),
)  # fmt: skip


def unfair_comparisons(runs: Sequence[Run]) -> list[tuple[Label, Label, list[str]]]:
    """Finds what makes a comparison of metrics unfair: the difference, its consequence, and the groups of equal runs."""
    found = []
    for path, what, consequence in _ASPECTS:
        groups: dict[str, list[str]] = {}
        for run in runs:
            value = section(run.description, *path[:-1]).get(path[-1])
            if value is not None:
                groups.setdefault(repr(value), []).append(run.name)
        if len(groups) > 1:
            found.append((what, consequence, [", ".join(names) for names in groups.values()]))
    unknown = [run.name for run in runs if not section(run.description, "text")]
    if unknown and len(runs) > 1:
        what = Label("文本不明", "The texts are not known")
        consequence = Label(
            "这些训练没有记下读了什么，不知能否相比。",
            "these runs do not record their texts, so their metrics may not compare.",
        )
        found.insert(0, (what, consequence, unknown))
    return found


def differences(values: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], bool]]:
    """Lists options side by side: the name, the value in each mapping as text, and whether the values differ."""
    names = list(dict.fromkeys(name for mapping in values for name in mapping))
    rows = [(str(name), [_format(mapping.get(name)) for mapping in values]) for name in names]
    return [(name, shown, len(set(shown)) > 1) for name, shown in rows]


def _format(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, list):
        return ", ".join(map(_format, value))
    # A custom optimizer or schedule.
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_format(each)}" for name, each in value.items() if each and name != "weights")
    return str(value)
