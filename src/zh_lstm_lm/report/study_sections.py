"""The part of the page that tells of a study: what was asked, the claims, a table, plots, passages."""

from collections.abc import Mapping, Sequence
from typing import Any

from zh_lstm_lm.report.comparison import differences
from zh_lstm_lm.report.labels import Label, Words
from zh_lstm_lm.report.markup import Element, element, in_two_languages
from zh_lstm_lm.report.parts import Section, paragraph, plots_of, sample_cards, table
from zh_lstm_lm.report.runs import section
from zh_lstm_lm.report.studies import Setting, Study, means
from zh_lstm_lm.report.study_plots import setting_name, study_plots

__all__ = ["study_section"]

_TITLES = {
    "seq-len": Label("研究：训练窗口的长度", "Study: the length of the training windows"),
    "epochs": Label("研究：轮数与文本的多少", "Study: epochs and the amount of text"),
    "vocabulary": Label("研究：词表与分词", "Study: vocabulary and segmentation"),
}
_EQUALITIES = {
    "tokens": Label("各设置读过的词数相同", "every setting reads the same number of tokens"),
    "updates": Label("各设置的更新次数相同", "every setting makes the same number of updates"),
    "minutes": Label("各设置的训练时间相同", "every setting trains for the same time"),
}
_VERDICTS = {
    "holds": Label("成立", "holds"),
    "does not hold": Label("不成立", "does not hold"),
    "depends": Label("视情况而定", "depends"),
}
_COLUMNS: tuple[tuple[Label, str, int], ...] = (
    (Label("更新次数", "updates"), "updates", 0),
    (Label("训练词数", "training tokens"), "train_tokens", 0),
    (Label("词表大小", "vocabulary"), "vocabulary_size", 0),
    (Label("字/词", "characters per token"), "characters_per_token", 2),
    (Label("未知词", "share unknown"), "unknown_rate", 3),
    (Label("最好的一轮", "best epoch"), "best_epoch", 1),
    (Label("微秒/词", "µs per token"), "microseconds_per_token", 0),
    (Label("微秒/字", "µs per character"), "microseconds_per_character", 0),
    (Label("内存 MB", "memory, MB"), "memory_mb", 1),
    (Label("训练困惑度", "training perplexity"), "train_perplexity", 1),
    (Label("测试困惑度", "test perplexity"), "test_perplexity", 1),
    (Label("测试比特/字", "test bits per character"), "test_bits_per_character", 3),
    (Label("差距（比特/字）", "gap, bits per character"), "gap_bits_per_character", 3),
    (Label("梯度范数", "gradient norm"), "gradient_norm", 3),
    (Label("裁剪比例", "share clipped"), "clipped_share", 3),
    (Label("用到的上文（词）", "context used, tokens"), "context_used_tokens", 0),
)


def study_section(study: Study, number: int, *, max_points: int) -> Section:
    """The section that tells of a study.

    Args:
        study: The study.
        number: Which of the studies on the page it is.
        max_points: Most points of all lines of a plot together.
    """
    parts: list[Element | None] = [
        element("p", study.name, class_="note"),
        _conditions(study),
        _claims(study),
        element("h3", *in_two_languages(Label("各设置的结果", "Results of each setting"))),
        _table(study),
        plots_of(study_plots(study, max_points=max_points)),
        *_passages(study),
        *_configuration(study),
    ]
    return f"study-{number}", _TITLES[study.result.kind], [part for part in parts if part is not None]


def _conditions(study: Study) -> Element:
    """What the settings have in common, how many seeds there are, and whether all is there."""
    seeds = max(len(setting.rows) for setting in study.settings)
    equality = _EQUALITIES.get(str(study.result.equality), Label("", ""))
    spread = Label(
        f"每个设置 {seeds} 个随机种子，误差线是种子之间的标准差。",
        f"{seeds} seeds each; error bars are one standard deviation over the seeds.",
    )
    if seeds == 1:
        spread = Label("每个设置只有一个随机种子，所以没有误差线。", "One seed each, hence no error bars.")
    told = Label(
        f"{equality.zh}。{spread.zh}" if equality.zh else spread.zh, f"{equality.en}. {spread.en}".lstrip(". ")
    )
    told = Label(told.zh, told.en[:1].upper() + told.en[1:])
    if study.result.complete is True:
        return paragraph(told)
    warning = Label(
        "这项研究还没有做完；下面是到目前为止的结果。", "This study is not finished; here is what there is so far."
    )
    return element("div", paragraph(warning), paragraph(told), class_="warning")


def _claims(study: Study) -> Element | None:
    """Each claim with its verdict and the figures behind it."""
    claims = study.result.claims
    items = []
    for claim in claims if isinstance(claims, list) else []:
        if not isinstance(claim, dict):
            continue
        verdict = str(claim.get("verdict"))
        badge = element(
            "strong", *in_two_languages(_VERDICTS.get(verdict, verdict)), class_=f"verdict v{list(_VERDICTS).index(verdict)}"
            if verdict in _VERDICTS else "verdict",
        )  # fmt: skip
        items.append(
            element(
                "article",
                element("h4", badge, *in_two_languages(_text(claim, "claim"))),
                paragraph(_text(claim, "figure")),
                paragraph(_text(claim, "rule"), class_="note"),
            )
        )
    return element("div", *items, class_="claims") if items else None


def _text(claim: Mapping[str, Any], name: str) -> Label:
    """A sentence of a claim in both languages."""
    sentence = section(claim, name)
    return Label(str(sentence.get("zh", "")), str(sentence.get("en", "")))


def _table(study: Study) -> Element:
    """A row for each setting: mean ± standard deviation."""
    shown = [column for column in _COLUMNS if any(means(setting, column[1]) for setting in study.settings)]
    rows = [
        (setting_name(study, setting), [_cell(setting, field, decimals) for _, field, decimals in shown], False)
        for setting in study.settings
    ]
    return table([Label("设置", "setting"), *(words for words, *_ in shown)], rows, numbers=True)


def _cell(setting: Setting, field: str, decimals: int) -> str:
    figure = means(setting, field)
    if figure is None:
        return "–"
    return format(figure, f",.{decimals}f")


def _passages(study: Study) -> list[Element]:
    """A passage of each setting's first seed; after every epoch where the study has them."""
    found: list[Element] = []
    by_setting: list[tuple[Words, Words, str]] = []
    for setting in study.settings:
        row = setting.rows[0]
        by_epoch = row.get("passage_by_epoch")
        if isinstance(by_epoch, list) and by_epoch and all(isinstance(text, str) for text in by_epoch):
            found.append(element("h4", *in_two_languages(setting_name(study, setting))))
            found.append(sample_cards([(_epoch(row, place), "", text) for place, text in enumerate(by_epoch)]))
        elif isinstance(row.get("passage"), str):
            bits = means(setting, "test_bits_per_character")
            note = "" if bits is None else Label(f"{bits.mean:.3f} 比特/字", f"{bits.mean:.3f} bits per character")
            by_setting.append((setting_name(study, setting), note, row["passage"]))
    if by_setting:
        found.append(sample_cards(by_setting))
    heading = Label("写出的文字（同一个随机种子）", "Passages, all from one seed")
    return [element("h3", *in_two_languages(heading)), *found] if found else []


def _epoch(row: Mapping[str, Any], place: int) -> Label:
    epochs = row.get("epoch")
    epoch = epochs[place] if isinstance(epochs, list) and len(epochs) > place else place + 1
    told = f"{epoch:g}" if isinstance(epoch, (int, float)) else str(place + 1)
    return Label(f"第 {told} 轮", f"Epoch {told}")


def _configuration(study: Study) -> list[Element]:
    """What was read, chosen and run on, folded away."""
    result = study.result
    options = section(vars(result), "options")
    parts: Sequence[Mapping[str, Any]] = (
        section(vars(result), "corpus"),
        {name: value for name, value in options.items() if not isinstance(value, dict)},
        section(options, "model"),
        section(options, "training"),
        section(vars(result), "environment"),
    )
    rows = [(name, told, False) for part in parts for name, told, _ in differences([part])]
    summary = element("summary", *in_two_languages(Label("文本、选项与环境", "Text, options and environment")))
    whole = table([Label("选项", "option"), Label("值", "value")], rows)
    return [element("details", summary, whole)] if rows else []
