"""The section of a study: conditions, claims, table, plots, passages, options."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zh_lstm_lm.report.comparison import differences
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
from zh_lstm_lm.report.plots import draw_plots
from zh_lstm_lm.report.runs import finite, section
from zh_lstm_lm.report.studies import Study, means, read_study, study_plots

__all__ = ["study_sections"]

_EQUALITIES = {
    "tokens": Label("各设置读过的词数相同。", "Every setting reads the same number of tokens."),
    "updates": Label("各设置的更新次数相同。", "Every setting makes the same number of updates."),
    "minutes": Label("各设置的训练时间相同。", "Every setting trains for the same time."),
}
_VERDICTS = {
    "holds": Label("成立", "holds"),
    "does not hold": Label("不成立", "does not hold"),
    "depends": Label("视情况而定", "depends"),
}


def study_sections(folders: Sequence[tuple[Path, str]], *, max_points: int) -> list[Section]:
    """Returns the sections of studies, given as folders and names, with plots of at most `max_points` points."""
    sections = []
    for index, (folder, name) in enumerate(folders, 1):
        study = read_study(folder, name)
        title = study.kind.title
        parts: list[Element | None] = [
            element("p", name, class_="note"),
            _conditions(study),
            _claims(study),
            element("h3", Label("各设置的结果", "Results of each setting")),
            _table(study),
            draw_plots(study_plots(study, max_points=max_points)),
            *_passages(study),
            *_configuration(study),
        ]
        heading = Label(f"研究：{title.zh}", f"Study: {title.en[:1].lower()}{title.en[1:]}")
        sections.append((f"study-{index}", heading, [part for part in parts if part is not None]))
    return sections


def _conditions(study: Study) -> Element:
    """Describes what the settings have in common, and warns of an unfinished study."""
    seeds = max(len(setting.rows) for setting in study.settings)
    equality = _EQUALITIES.get(str(study.result.equality), Label("", ""))
    spread = Label(
        f"每个设置 {seeds} 个随机种子，误差线是种子之间的标准差。",
        f"{seeds} seeds each; error bars are one standard deviation over the seeds.",
    )
    if seeds == 1:
        spread = Label("每个设置只有一个随机种子，所以没有误差线。", "One seed each, so there are no error bars.")
    conditions = element("p", Label(equality.zh + spread.zh, f"{equality.en} {spread.en}".strip()))
    if study.result.complete is True:
        return conditions
    warning = Label(
        "这项研究还没有做完；下面是到目前为止的结果。", "This study is not finished; these are its results so far."
    )
    return element("div", element("p", warning), conditions, class_="warning")


def _claims(study: Study) -> Element | None:
    """Draws each claim with its verdict and the numbers behind it."""
    claims = study.result.claims
    items = []
    for claim in claims if isinstance(claims, list) else []:
        if not isinstance(claim, dict):
            continue
        verdict = str(claim.get("verdict"))
        badge = element(
            "strong", _VERDICTS.get(verdict, verdict), class_=f"verdict v{list(_VERDICTS).index(verdict)}"
            if verdict in _VERDICTS else "verdict",
        )  # fmt: skip
        items.append(
            element(
                "article",
                element("h4", badge, _text(claim, "claim")),
                element("p", _text(claim, "figure")),
                element("p", _text(claim, "rule"), class_="note"),
            )
        )
    return element("div", *items, class_="claims") if items else None


def _text(claim: Mapping[str, Any], name: str) -> Label:
    """Returns a sentence of a claim in both languages."""
    sentence = section(claim, name)
    return Label(str(sentence.get("zh", "")), str(sentence.get("en", "")))


def _table(study: Study) -> Element:
    """Lists mean ± standard deviation of each setting."""
    shown = [column for column in study.kind.columns if any(means(s, column.field) for s in study.settings)]
    rows: list[tuple[Words, Sequence[str], bool]] = []
    for setting in study.settings:
        found = [(means(setting, column.field), column.form) for column in shown]
        cells = ["–" if spread is None else format(spread, form) for spread, form in found]
        rows.append((setting.name, cells, False))
    return table([Label("设置", "setting"), *(column.heading for column in shown)], rows, numbers=True)


def _passages(study: Study) -> list[Element]:
    """Shows a passage of each setting's first seed, or one after each epoch."""
    found: list[Element] = []
    by_setting: list[tuple[Words, Words, str]] = []
    for setting in study.settings:
        row = setting.rows[0]
        by_epoch = row.get("passage_by_epoch")
        if isinstance(by_epoch, list) and by_epoch and all(isinstance(text, str) for text in by_epoch):
            epochs = row.get("epoch")
            known = epochs if isinstance(epochs, list) else []
            titles = [finite(epoch) or 0.0 for epoch in known] or range(1, len(by_epoch) + 1)
            cards = [(epoch_label(epoch), "", text) for epoch, text in zip(titles, by_epoch, strict=False)]
            found += [element("h4", setting.name), sample_cards(cards)]
        elif isinstance(row.get("passage"), str):
            bits = means(setting, "test_bits_per_character")
            by_setting.append((setting.name, bits_label(None if bits is None else bits.mean), row["passage"]))
    if by_setting:
        found.append(sample_cards(by_setting))
    heading = Label("写出的文字（同一个随机种子）", "Passages, all with the same seed")
    return [element("h3", heading), *found] if found else []


def _configuration(study: Study) -> list[Element]:
    """Lists corpus, options and environment, folded away."""
    result = study.result
    options = section(vars(result), "options")
    parts: Sequence[Mapping[str, Any]] = (
        section(vars(result), "corpus"),
        {name: value for name, value in options.items() if not isinstance(value, dict)},
        section(options, "model"),
        section(options, "training"),
        section(vars(result), "environment"),
    )
    rows = [(name, cells, False) for part in parts for name, cells, _ in differences([part])]
    summary = element("summary", Label("文本、选项与环境", "Text, options and environment"))
    whole = table([Label("选项", "option"), Label("值", "value")], rows)
    return [element("details", summary, whole)] if rows else []
