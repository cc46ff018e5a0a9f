"""The records of a training run: a history with one for every evaluation, and a learning curve."""

import json
import sys
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast

from zh_lstm_lm._config import check_path
from zh_lstm_lm.errors import CheckpointError, DataError
from zh_lstm_lm.storage.safe_reading import read_bytes
from zh_lstm_lm.storage.strict_json import JSONLimits, check_work, parse_json
from zh_lstm_lm.storage.user_files import write_file

__all__ = ["History", "LearningCurve", "comparable", "is_curve_record", "is_number", "is_record"]

_Record = TypeVar("_Record", bound=Mapping[str, Any])

# An even number, so that each record has another one to join.
_MAX_RECORDS = 512
_SUMS = ("updates", "clipped_updates", "num_targets", "num_characters", "loss_sum", "gradient_norm_sum", "seconds")

# Fields of a record that are numbers, by their names and by the ends of their names.
_NUMBERS = {"epoch", "step", "learning_rate", "gradient_norm", "largest_gradient_norm", "clipped_share"}
_NUMBERS |= {"tokens_per_second", "seconds", "valid_tokens"}
_METRICS = ("loss", "perplexity", "bits_per_character")

_MAX_HISTORY_BYTES = 1 << 26
_MAX_HISTORY_LINES = 1 << 16
_HISTORY_LIMITS = JSONLimits(strings=1 << 20, values=1 << 20, keys=1 << 20, containers=_MAX_HISTORY_LINES + 1000)


class History(list[dict[str, Any]]):
    """A list with a record of plain values for every evaluation, in order; JSON lines on disk.

    Losses are in nats per token, ``train_perplexity`` and ``valid_perplexity`` are per token. Training metrics are those
    of the epoch so far. ``seconds`` counts from the start of the run, and ``tokens_per_second`` is of training alone.
    Gradient norms are those before clipping; ``clipped_share`` is the proportion of updates whose gradients were scaled
    down. ``valid_tokens`` is the number of tokens that the validation metrics are of: fewer than the whole validation
    set inside an epoch, unless `TrainerConfig.eval_steps` is given.
    """

    def to_json_lines(self) -> bytes:
        """Returns one JSON object for each line."""
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in self).encode("utf-8")

    def save(self, path: str | PathLike[str]) -> None:
        """Writes one JSON object for each line, into a file that is written completely or not at all.

        Raises:
            DataError: It cannot be written; an existing file is left unchanged.
        """
        check_path("path", path)
        write_file(path, self.to_json_lines())

    def to_rows(self) -> list[dict[str, Any]]:
        """Returns a flat row for every record, all with the same columns, as ``pandas.DataFrame`` takes them.

        What a record lacks is None; lists inside of records are left out.
        """
        flat = [
            {name: value for name, value in record.items() if not isinstance(value, (list, dict))} for record in self
        ]
        names = dict.fromkeys(name for record in flat for name in record)
        return [{name: record.get(name) for name in names} for record in flat]

    def _repr_html_(self) -> str | None:
        """Returns the plot, which a notebook shows; None, and so the list, where there is nothing to plot."""
        from zh_lstm_lm.report.run_plots import plot_history  # noqa: PLC0415

        try:
            return plot_history(self)
        except DataError:
            return None

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "History":
        """Reads a file that `save` wrote.

        Raises:
            DataError: There is no such file, or it is not a history.
        """
        check_path("path", path)
        try:
            data = read_bytes(Path(path), max_bytes=_MAX_HISTORY_BYTES)
            if (number := data.count(b"\n")) > _MAX_HISTORY_LINES:
                raise CheckpointError(f"{number:,} lines, more than the {_MAX_HISTORY_LINES:,} expected at most")
            check_work(data, _HISTORY_LIMITS)
            lines = data.split(b"\n")
            records = [parse_json(line, name=f"line {number}") for number, line in enumerate(lines, 1) if line]
            if not all(isinstance(record, dict) for record in records):
                raise CheckpointError("a line is not an object")
        except (CheckpointError, ValueError) as error:
            raise DataError(f"{path}: not a history of training ({error}); give a run's history.jsonl") from error
        return cls(records)


def comparable(history: Iterable[_Record]) -> list[_Record]:
    """Returns the records whose validation losses can be compared: those measured on the most tokens."""
    measured = [record for record in history if record.get("valid_loss") is not None]
    # Older histories do not tell the number of tokens.
    tokens = [float(number) if is_number(number := record.get("valid_tokens", 0)) else 0.0 for record in measured]
    most = max(tokens, default=0.0)
    return [record for record, number in zip(measured, tokens, strict=True) if number == most]


class LearningCurve(History):
    """Records of a few updates each, over the whole run; when there are more than 512, each two are joined.

    A record holds sums, so joining two loses nothing but resolution: ``step`` after its last update, its number of
    ``updates`` and ``clipped_updates``, ``num_targets`` and ``num_characters``, ``loss_sum`` in nats,
    ``gradient_norm_sum`` and ``gradient_norm_max`` before clipping, ``learning_rate`` of the last update, and
    ``seconds``.
    """

    def add(self, update: dict[str, Any]) -> None:
        """Adds the record of one update."""
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


def is_number(value: object, *, least: float = -sys.float_info.max) -> bool:
    """Checks that a loaded value is a number with which a float can be computed."""
    return type(value) in (int, float) and least <= cast(float, value) <= sys.float_info.max


def is_record(value: object) -> bool:
    """Checks that a loaded value is a record of a history."""
    if not isinstance(value, dict) or type(value.get("step")) is not int:
        return False
    measured = [number for name, number in value.items() if name in _NUMBERS or name.endswith(_METRICS)]
    return value.get("valid_loss", 0.0) is not None and all(number is None or is_number(number) for number in measured)


def is_curve_record(value: object) -> bool:
    """Checks that a loaded value is a record of a learning curve."""
    needed = ("step", "learning_rate", "gradient_norm_max", *_SUMS)
    return isinstance(value, dict) and all(is_number(value.get(name)) for name in needed)
