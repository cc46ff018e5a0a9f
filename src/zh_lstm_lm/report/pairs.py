"""The section of minimal pairs: accuracies with their intervals, ties and unknown characters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import DataError
from zh_lstm_lm.report.markup import Element, Label, Section, element, table
from zh_lstm_lm.report.runs import number, section
from zh_lstm_lm.storage.safe_reading import read_json

__all__ = ["pairs_sections", "read_pairs"]

_HEADS = (
    Label("组", "Group"),
    Label("对数", "pairs"),
    Label("整句概率", "whole sentence"),
    Label("每字", "per character"),
    Label("SLLN（长度的 0.5 次方）", "SLLN (length to the power of 0.5)"),
    Label("相等", "ties"),
    Label("含词表外的字", "with unknown characters"),
)
_MEASURES = ("log_prob", "per_character", "slln")
_MOST_CHARACTERS = 100


def read_pairs(path: Path) -> Mapping[str, Any]:
    """Reads a file that ``zh-lstm-lm pairs --output`` wrote; raises DataError for another file."""
    values = read_json(path) if path.suffix == ".json" else None
    if not isinstance(values, dict) or not _groups(values) or not section(values, "macro"):
        raise DataError(
            f"{path}: neither the folder of a run or of a study nor the result of 'zh-lstm-lm pairs --output FILE.json'"
        )
    return values


def pairs_sections(results: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Section]:
    """Returns the section of results, each with a name and the values of `PairsResult.to_dict`; none without results."""
    if not results:
        return []
    found: list[Element] = [
        element(
            "p",
            Label(
                "准确率：模型更偏爱合语法的一句的比例，越高越好，0.5 等于猜；相等算一半。分别按整句的对数概率、每字的对数概率和除以"
                "字数平方根的对数概率（SLLN-LP，Liu 等，ZhoBLiMP）比较。方括号里是置信区间：各组用 Wilson 区间，宏平均由各组的区间合成。",
                "Accuracy is the proportion of pairs in which the model prefers the grammatical sentence; higher is better, "
                "0.5 is chance, and a tie counts as half. Sentences are compared by log-probability, by log-probability per "
                "character, and by log-probability divided by the square root of the number of characters (SLLN-LP; Liu et "
                "al., ZhoBLiMP). Confidence intervals are in brackets: Wilson's for a group, and for the macro average one "
                "that combines those of the groups.",
            ),
            class_="note",
        )
    ]
    for name, values in results:
        rows = [(str(group.get("name")), _cells(group), False) for group in _groups(values)]
        rows.append(("宏平均 macro average", _cells(section(values, "macro")), True))
        found += [element("h3", name), table(_HEADS, rows, numbers=True)]
        if unknown := section(values, "unknown_characters"):
            shown = "  ".join(f"{character} {count}" for character, count in list(unknown.items())[:_MOST_CHARACTERS])
            more = "  …" * (len(unknown) > _MOST_CHARACTERS)
            label = Label(
                f"词表外的字（{len(unknown)} 个）和含有它的句对数：",
                f"Characters outside the vocabulary ({len(unknown)}), with the number of pairs: ",
            )
            found.append(element("p", label, shown + more))
    return [("pairs", Label("最小对立对", "Minimal pairs"), found)]


def _groups(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = values.get("groups")
    return [group for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []


def _cells(group: Mapping[str, Any]) -> list[str]:
    measures = [section(group, measure) for measure in _MEASURES]
    ties = "/".join(_shown(measure, "ties", 0) for measure in measures)
    accuracies = [
        f"{_shown(measure, 'accuracy', 3)} [{_shown(measure, 'low', 3)}, {_shown(measure, 'high', 3)}]"
        for measure in measures
    ]
    return [_shown(group, "num_pairs", 0), *accuracies, ties, _shown(group, "num_unknown", 0)]


def _shown(values: Mapping[str, Any], name: str, decimals: int) -> str:
    value = number(values, name)
    return "–" if value is None else f"{value:,.{decimals}f}"
