"""A history as a figure of matplotlib's (the extra ``plot``), without a change to its settings or backend."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zh_lstm_lm.runtime.optional import require

__all__ = ["chinese_font", "plot_history"]

_FAMILIES = (
    *("Noto Sans CJK", "Noto Sans SC", "Source Han Sans", "PingFang", "Hiragino Sans GB", "Heiti", "STHeiti"),
    *("Microsoft YaHei", "SimHei", "WenQuanYi", "Droid Sans Fallback", "Arial Unicode MS", "Noto Serif CJK"),
    *("Source Han Serif", "Songti", "STSong", "SimSun", "KaiTi", "AR PL"),
)
"""How the names of fonts with Chinese letters begin, the best for a figure first."""

_LABELS = {
    "epochs": "训练轮数",
    "perplexity per token": "困惑度（每词）",
    "bits per character": "比特/字",
    "training": "训练",
    "held-out": "验证",
}


def plot_history(history: Iterable[Mapping[str, Any]]) -> Any:
    """Draws perplexity and bits per character over the epochs; see `History.plot`."""
    figure_module = require("matplotlib.figure", extra="plot")  # not pyplot, which would choose a backend
    ticker = require("matplotlib.ticker", extra="plot")
    font = chinese_font("".join(_LABELS.values()))
    words = {"fontproperties": font} if font is not None else {}
    records = list(history)
    figures = [
        name for name in ("perplexity", "bits_per_character") if any(_has(record, name) for record in records)
    ] or ["perplexity"]
    figure = figure_module.Figure(figsize=(5.2 * len(figures), 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures, strict=True):
        for part, label in (("train", "training"), ("valid", "held-out")):
            kept = [record for record in records if record.get(f"{part}_{name}") is not None]
            if kept:
                x, y = [record["epoch"] for record in kept], [record[f"{part}_{name}"] for record in kept]
                axes.plot(x, y, marker="o", label=_label(label, font))
        axes.set_xlabel(_label("epochs", font), **words)
        axes.set_ylabel(_label("perplexity per token" if name == "perplexity" else "bits per character", font), **words)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(prop=font)
    return figure


def _has(record: Mapping[str, Any], name: str) -> bool:
    return any(record.get(f"{part}_{name}") is not None for part in ("train", "valid"))


def _label(english: str, font: Any) -> str:
    return english if font is None else _LABELS[english]


def chinese_font(text: str, files: Sequence[str] | None = None) -> Any:
    """A font of this machine that has every letter of a text, as matplotlib's `FontProperties`; None if there is none.

    Args:
        text: What has to be written.
        files: Font files to choose from; None looks at those that matplotlib knows.
    """
    manager = require("matplotlib.font_manager", extra="plot")
    if files is None:
        known = [(entry.name, entry.fname) for entry in manager.fontManager.ttflist]
        files = [path for start in _FAMILIES for name, path in known if name.startswith(start)]
    for path in dict.fromkeys(files):
        try:
            letters = manager.get_font(path).get_charmap()
        except (OSError, RuntimeError):  # a font that was removed since matplotlib looked, or a damaged one
            continue
        if all(ord(letter) in letters for letter in text):
            return manager.FontProperties(fname=path)
    return None
