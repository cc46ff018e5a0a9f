"""The records of a training run: one for every evaluation, and its learning curve."""

import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.storage.safe_reading import read_bytes
from zh_lstm_lm.storage.strict_json import parse_json
from zh_lstm_lm.storage.user_files import write_file

__all__ = ["History", "LearningCurve", "chinese_font", "is_curve_record", "is_record", "plot_history"]

_MAX_RECORDS = 512  # even, so that each has another to join
_SUMS = ("updates", "clipped_updates", "num_targets", "num_characters", "loss_sum", "gradient_norm_sum", "seconds")

_MAX_HISTORY_BYTES = 1 << 26
_MAX_HISTORY_LINES = 1 << 17

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


class History(list[dict[str, Any]]):
    """A record of plain values for every evaluation, in order; JSON lines on disk.

    Losses are in nats a token, ``train_perplexity`` and ``valid_perplexity`` are per token, ``…bits_per_character``
    say their unit, ``seconds`` counts from the start of the run and ``tokens_per_second`` is of training alone. Gradient norms are those
    before clipping, ``clipped_share`` is that of the updates whose gradients were scaled down.
    """

    def to_json_lines(self) -> bytes:
        """Returns one JSON object for each line."""
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self).encode("utf-8")

    def save(self, path: str | PathLike[str]) -> None:
        """Writes one JSON object for each line, into a file that is written completely or not at all.

        Raises:
            DataError: It cannot be written; an existing file is left unchanged.
        """
        write_file(path, self.to_json_lines())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "History":
        """Reads what `save` wrote.

        Raises:
            DataError: There is no such file, or it holds something else.
        """
        try:
            data = read_bytes(Path(path), max_bytes=_MAX_HISTORY_BYTES)
            if (number := data.count(b"\n")) > _MAX_HISTORY_LINES:
                raise CheckpointError(f"{number:,} lines, more than the {_MAX_HISTORY_LINES:,} expected at most")
            lines = data.split(b"\n")
            records = [parse_json(line, name=f"line {number}") for number, line in enumerate(lines, 1) if line]
            if not all(isinstance(record, dict) for record in records):
                raise CheckpointError("a line is not an object")
        except CheckpointError as error:
            raise DataError(f"{path}: not a history of training ({error}); give a run's history.jsonl") from error
        return cls(records)

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draws perplexity and bits per character over the epochs, with matplotlib.

        Labels are in Chinese where this machine has a font for them, else in English. Matplotlib's settings and backend
        stay as they are.

        Args:
            path: A file to save the figure in as well, such as ``"history.png"``; None saves nothing.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            MissingDependencyError: matplotlib is not installed; it comes with the extra ``plot``.
            DataError: The file cannot be written.
        """
        figure = plot_history(self)
        if path is not None:
            try:
                figure.savefig(path, dpi=150)
            except (OSError, ValueError) as error:  # the latter for a kind of file that there is not
                raise DataError(f"{path}: the figure cannot be saved there ({error})") from error
        return figure


class LearningCurve(History):
    """Records of a few updates each, over the whole run; where there are more than 512, each two become one.

    A record holds sums, so that joining two loses nothing but resolution: ``step`` after its last update, its number of
    ``updates`` and ``clipped_updates``, ``num_targets`` and ``num_characters``, ``loss_sum`` in nats,
    ``gradient_norm_sum`` and ``gradient_norm_max`` before clipping, ``learning_rate`` of the last update, and
    ``seconds``.
    """

    def add(self, update: dict[str, Any]) -> None:
        """Takes in the record of one update."""
        span = self[0]["updates"] if self else 1
        if not self or self[-1]["updates"] >= span:
            if len(self) >= _MAX_RECORDS:
                self[:] = map(_joined, self[::2], self[1::2])
            self.append(update)
        else:
            self[-1] = _joined(self[-1], update)


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    sums = {name: first[name] + second[name] for name in _SUMS}
    highest = max(first["gradient_norm_max"], second["gradient_norm_max"])
    return {**second, **sums, "gradient_norm_max": highest}


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


def is_record(value: object) -> bool:
    """Returns whether a loaded value is a record of a history."""
    if not isinstance(value, dict) or not isinstance(value.get("step"), int):
        return False
    return isinstance(value.get("valid_loss", 0.0), (int, float))


def is_curve_record(value: object) -> bool:
    """Returns whether a loaded value is a record of a learning curve."""
    needed = ("step", "learning_rate", "gradient_norm_max", *_SUMS)
    return isinstance(value, dict) and all(isinstance(value.get(name), (int, float)) for name in needed)
