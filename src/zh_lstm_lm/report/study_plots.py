"""The plots of studies: each figure over what was set, with the spread over the seeds, and curves by setting."""

import itertools
import statistics
from collections.abc import Sequence

from zh_lstm_lm.report.axes import format_number
from zh_lstm_lm.report.labels import Label, Words
from zh_lstm_lm.report.plots import Plot, Series
from zh_lstm_lm.report.runs import number
from zh_lstm_lm.report.studies import Setting, Study, list_means, means
from zh_lstm_lm.studies.spread import Spread

__all__ = ["setting_name", "study_plots"]

_BITS = Label("比特/字", "bits per character")
_PERPLEXITY = Label("困惑度（每词）", "perplexity per token")
_LOSS = Label("奈特/词", "nats per token")
_LENGTH = Label("窗口长度（词，对数）", "window length in tokens (log)")
_TEST, _TRAIN = Label("测试", "test"), Label("训练", "training")

_QUALITY = (
    (Label("比特/字", "Bits per character"), _BITS, ("test_bits_per_character", "train_bits_per_character")),
    (Label("困惑度", "Perplexity"), _PERPLEXITY, ("test_perplexity", "train_perplexity")),
    (Label("测试与训练之差", "Gap between test and training"), _BITS, ("gap_bits_per_character",)),
)
_SEQ_LEN = (
    *_QUALITY,
    (Label("训练一个词的时间", "Time to train on a token"), Label("微秒/词", "µs per token"), ("microseconds_per_token",)),
    (Label("一次更新占用的内存", "Memory of an update"), "MB", ("memory_mb",)),
    (Label("梯度的范数（裁剪之前）", "Gradient norm before clipping"), Label("范数", "norm"), ("gradient_norm", "largest_gradient_norm")),
    (Label("被裁剪的更新", "Updates whose gradients were clipped"), Label("比例", "share"), ("clipped_share",)),
    (Label("真正用到的上文", "Context that the model really uses"), Label("词", "tokens"), ("context_used_tokens",)),
)  # fmt: skip
_VOCABULARY = (
    *_QUALITY,
    (Label("训练一个字的时间", "Time to train on a character"), Label("微秒/字", "µs per character"), ("microseconds_per_character",)),
    (Label("每词几个字", "Characters per token"), Label("字/词", "characters per token"), ("characters_per_token",)),
)  # fmt: skip
_NAMES = {
    "gradient_norm": Label("平均", "mean"),
    "largest_gradient_norm": Label("最大", "largest"),
}


def setting_name(study: Study, setting: Setting) -> Words:
    """What a setting is called, in a legend or above a passage."""
    if study.result.kind == "seq-len":
        length = str(setting.values["bptt_len"])
        return Label(f"{length} 词", f"{length} tokens")
    if study.result.kind == "epochs":
        share = number(setting.values, "train_share")
        told = "?" if share is None else f"{100 * share:g} %"
        return Label(f"{told} 文本", f"{told} of the text")
    tokenizer, unknown, size = setting.values.values()
    most = format_number(size) if isinstance(size, int) else Label("全部", "all")
    kept = "" if unknown == "characters" else f", {unknown}"
    zh, en = (most, most) if isinstance(most, str) else most
    return Label(f"{tokenizer}{kept}，{zh}", f"{tokenizer}{kept}, {en}")


def study_plots(study: Study, *, max_points: int) -> list[Plot]:
    """The plots of a study; those of which it has nothing are left out.

    Args:
        study: The study.
        max_points: Most points of all lines of a plot together.
    """
    made = {"seq-len": _seq_len, "epochs": _epochs, "vocabulary": _vocabulary}[study.result.kind](study, max_points)
    return [plot for plot in made if not plot.is_empty]


def _seq_len(study: Study, max_points: int) -> list[Plot]:
    lengths = [
        (number(setting.values, "bptt_len") or 0.0, str(setting.values["bptt_len"])) for setting in study.settings
    ]
    ticks = sorted(pair for pair in lengths if pair[0] > 0)
    plots = [
        Plot(title, _LENGTH, y, _over(study.settings, "bptt_len", fields), log_x=True, x_ticks=ticks)
        for title, y, fields in _SEQ_LEN
    ]
    kept = min(40, max(20, max_points // max(1, len(study.settings))))
    back = Label("往回的距离（词，对数）", "tokens back (log)")
    counted = range(1, 1_000_000)
    for title, x, y, field, places, log_y in (
        (Label("梯度能传回多远", "How much gradient arrives k tokens back"), back, Label("对隐状态的梯度", "gradient of the hidden state"), "gradient_by_distance", None, True),
        (Label("经由记忆单元的梯度", "Gradient through the cell state"), back, Label("对记忆单元的梯度", "gradient of the cell state"), "cell_gradient_by_distance", None, True),
        (Label("状态清零之后的损失", "Loss since the state was zero"), Label("清零之后的词数（对数）", "tokens since then (log)"), _LOSS, "loss_by_position", None, False),
        (Label("只看最近 k 个词时的损失", "Loss when only the last k tokens are seen"), Label("看到的词数（对数）", "tokens seen (log)"), _LOSS, "loss_by_context", "context_tokens", False),
    ):  # fmt: skip
        series = []
        for color, setting in enumerate(study.settings):
            places_of = [place.mean if place else 0.0 for place in list_means(setting, places)] if places else counted
            series.append(_curve(setting_name(study, setting), places_of, list_means(setting, field), color, kept))
        plots.append(Plot(title, x, y, series, log_x=True, log_y=log_y))
    return [*plots, _by_epoch(study)]


def _epochs(study: Study, max_points: int) -> list[Plot]:
    tokens = Label("训练文本（词，对数）", "tokens of training text (log)")
    plots = [_by_epoch(study), _by_epoch(study, "train"), _by_epoch(study, "novelty")]
    if len(study.settings) > 1:
        plots += [
            Plot(title, tokens, y, _over(study.settings, "train_tokens", fields), log_x=True) for title, y, fields in _QUALITY
        ]  # fmt: skip
    return plots


def _vocabulary(study: Study, max_points: int) -> list[Plot]:
    ways: dict[str, list[Setting]] = {}
    for setting in study.settings:
        unknown = setting.values["unknown"]
        way = str(setting.values["tokenizer"]) + ("" if unknown == "characters" else f" ({unknown})")
        ways.setdefault(way, []).append(setting)
    size = Label("词表大小（对数）", "vocabulary size (log)")
    plots = []
    for title, y, fields in _VOCABULARY:
        series = [
            next(iter(_over(settings, "vocabulary_size", fields[:1], name=way, color=color)))
            for color, (way, settings) in enumerate(ways.items())
        ]
        plots.append(Plot(title, size, y, series, log_x=True))
    return plots


def _over(
    settings: Sequence[Setting], x: str, fields: Sequence[str], *, name: Words = "", color: int = 0
) -> list[Series]:
    """Figures over what was set, with error bars of a standard deviation."""
    series = []
    for number_of, field in enumerate(fields):
        found = sorted(
            (place.mean, figure.mean, figure.deviation)
            for setting in settings
            if (place := means(setting, x)) is not None and (figure := means(setting, field)) is not None
        )
        words = name or _NAMES.get(field) or (_TEST if field.startswith("test") else _TRAIN if number_of else "")
        points, errors = [(a, b) for a, b, _ in found], [error for *_, error in found]
        series.append(Series(words, points, color + number_of, style="dashed" if number_of else "line", errors=errors))
    return series


def _curve(name: Words, places: Sequence[float], figures: Sequence[Spread | None], color: int, kept: int) -> Series:
    points = [(place, figure.mean) for place, figure in zip(places, figures, strict=False) if figure is not None]
    return Series(name, _thinned(points, kept), color)


def _thinned(points: list[tuple[float, float]], kept: int) -> list[tuple[float, float]]:
    """Means of points that follow each other, at about equal distances on a logarithmic axis."""
    ends = sorted({round(len(points) ** (part / kept)) for part in range(1, kept + 1)}) if points else []
    stretches = [points[begin:end] for begin, end in itertools.pairwise([0, *ends])]
    return [(stretch[len(stretch) // 2][0], statistics.fmean(y for _, y in stretch)) for stretch in stretches]


def _by_epoch(study: Study, part: str = "valid") -> Plot:
    """A figure after each epoch, a line for each setting."""
    field = "novelty_by_epoch" if part == "novelty" else f"{part}_bits_per_character_by_epoch"
    titles = {
        "valid": Label("验证比特/字，逐轮", "Held-out bits per character, epoch by epoch"),
        "train": Label("训练比特/字，逐轮", "Training bits per character, epoch by epoch"),
        "novelty": Label("新颖度，逐轮", "Novelty, epoch by epoch"),
    }
    series = []
    for color, setting in enumerate(study.settings):
        pairs = [
            (epoch.mean, figure.mean, figure.deviation)
            for epoch, figure in zip(list_means(setting, "epoch"), list_means(setting, field), strict=False)
            if epoch is not None and figure is not None
        ]
        points, errors = [(a, b) for a, b, _ in pairs], [error for *_, error in pairs]
        series.append(Series(setting_name(study, setting), points, color, errors=errors))
    return Plot(
        titles[part], Label("轮数", "epochs"), Label("新颖度", "novelty") if part == "novelty" else _BITS, series
    )
