import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm import DataError, History, TrainerState, ZhLstmLmError
from zh_lstm_lm.training.history import LearningCurve
from zh_lstm_lm.training.state import UpdateMetrics

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT)


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(records=st.lists(st.dictionaries(TEXT, PLAIN, max_size=4), max_size=4))
@example(records=[{"note": "第一轮\u2028第二轮"}])
@example(records=[{"note": "a\x85b\nc"}])
@example(records=[{"loss": 0.1 + 0.2, "step": 2**60}])
def test_history_round_trips(records: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        History(records).save(path)
        loaded = History.load(path)
    assert isinstance(loaded, History)
    assert loaded == records


def test_history_is_one_json_object_a_line(tmp_path: Path) -> None:
    records = [{"epoch": 1.0, "train_loss": 2.5, "name": "展昭"}, {"epoch": 2.0, "train_loss": 2.25, "name": "玉堂"}]
    History(records).save(tmp_path / "history.jsonl")
    lines = (tmp_path / "history.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == records
    assert lines[-1] == ""
    assert "展昭" in lines[0]


def test_history_is_a_list() -> None:
    history = History([{"epoch": 1.0}])
    history.append({"epoch": 2.0})
    assert history == [{"epoch": 1.0}, {"epoch": 2.0}]
    assert json.loads(json.dumps(history)) == history


def test_empty_history_round_trips(tmp_path: Path) -> None:
    History().save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl") == []


@pytest.mark.parametrize(
    "content",
    [
        b"epoch 1, perplexity 120\n",
        b'{"epoch": 1.0}\n{"epoch": 2.',
        b"\xff\xfe\x00\n",
        b"3\n",
        b'["epoch", 1.0]\n',
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=["text", "truncated", "not UTF-8", "number", "list", "too deep"],
)
def test_history_refuses_what_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"history\.jsonl"):
        History.load(tmp_path / "history.jsonl")


def test_history_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        History.load(tmp_path / "nowhere.jsonl")


def test_history_that_cannot_be_written_is_an_error_of_the_library(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ZhLstmLmError, match="cannot be written"):
        History([{"epoch": 1.0}]).save(tmp_path / "file" / "history.jsonl")


def test_epoch_counts_the_begun_part() -> None:
    assert TrainerState(step=5, steps_per_epoch=4).epoch == 1.25
    assert TrainerState().epoch == 0.0


def test_the_first_reason_to_stop_stays() -> None:
    state = TrainerState()
    assert state.stop_reason is None
    state.request_stop("interrupted")
    state.request_stop("finished")
    assert state.stop_reason == "interrupted"


def test_updates_are_summed_until_the_next_epoch() -> None:
    state = TrainerState(steps_per_epoch=2)
    for metrics in (
        UpdateMetrics(1, 0.1, 2.5, 2.0, num_targets=4, num_characters=6, clipped=True, seconds=2.0),
        UpdateMetrics(2, 0.1, 5.0, 1.0, num_targets=1, num_characters=2, clipped=False, seconds=1.0),
    ):
        state.advance()
        state.count_update(metrics)
    assert (state.step, state.window, state.updates) == (2, 2, 2)
    assert (state.loss_sum, state.num_targets, state.num_characters) == (15.0, 5, 8)
    assert (state.gradient_norm_sum, state.training_seconds) == (3.0, 3.0)
    assert (state.largest_gradient_norm, state.clipped_updates) == (2.0, 1)

    state.begin_epoch()
    assert (state.step, state.window, state.updates) == (2, 0, 0)
    assert (state.loss_sum, state.num_targets, state.num_characters) == (0.0, 0, 0)
    assert (state.gradient_norm_sum, state.training_seconds) == (0.0, 0.0)
    assert (state.largest_gradient_norm, state.clipped_updates) == (0.0, 0)


def test_a_new_state_stands_at_the_beginning() -> None:
    state = TrainerState()
    assert state.step == 0
    assert state.best_loss == math.inf
    assert state.history == []
    state.history.append({"epoch": 1.0})
    assert TrainerState().history == []  # states share nothing


@pytest.mark.parametrize("updates", [1, 7, 512, 513, 1_030, 5_000])
def test_the_curve_keeps_every_sum_in_few_records(updates: int) -> None:
    state = TrainerState()
    for number in range(updates):
        state.count_update(
            UpdateMetrics(
                step=number + 1,
                learning_rate=1 / (number + 1),
                loss=number / 2,
                num_targets=2,
                num_characters=3,
                gradient_norm=number % 11,
                clipped=number % 11 > 8,
                seconds=0.5,
            )
        )
    curve = state.curve
    assert len(curve) <= 512
    assert len(curve) == updates or len(curve) > 255
    assert sum(record["updates"] for record in curve) == updates
    assert sum(record["loss_sum"] for record in curve) == sum(range(updates))
    assert sum(record["num_targets"] for record in curve) == 2 * updates
    assert sum(record["num_characters"] for record in curve) == 3 * updates
    assert sum(record["seconds"] for record in curve) == updates / 2
    assert sum(record["gradient_norm_sum"] for record in curve) == sum(number % 11 for number in range(updates))
    assert sum(record["clipped_updates"] for record in curve) == sum(number % 11 > 8 for number in range(updates))
    begin = 0
    for record in curve:
        span = range(begin, record["step"])
        assert len(span) == record["updates"]
        assert record["loss_sum"] == sum(span)
        assert record["gradient_norm_max"] == max(number % 11 for number in span)
        assert record["learning_rate"] == 1 / record["step"]
        begin = record["step"]
    assert len({record["updates"] for record in curve[:-1]}) <= 1, "all but the last stand for equally many updates"


def test_a_curve_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    def update(step: int) -> dict[str, float]:
        sums = {"num_targets": 2, "num_characters": 3, "loss_sum": 0.25 * step, "gradient_norm_sum": 1.5}
        return {
            "step": step,
            "updates": 1,
            "clipped_updates": 0,
            **sums,
            "gradient_norm_max": 1.5,
            "learning_rate": 0.1,
            "seconds": 0.5,
        }

    whole = LearningCurve()
    for step in range(1, 1_101):
        whole.add(update(step))
    parts = LearningCurve()
    for step in range(1, 1_101):
        if step % 367 == 0:
            parts.save(tmp_path / "curve.jsonl")
            parts = LearningCurve(LearningCurve.load(tmp_path / "curve.jsonl"))
        parts.add(update(step))
    assert parts == whole


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", 1.5),
        ("step", True),
        ("step", "1"),
        ("step", -1),
        ("loss_sum", True),
        ("loss_sum", None),
        ("loss_sum", "1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: object) -> None:
    with pytest.raises(DataError, match=name):
        TrainerState.from_dict({name: value})


def test_a_whole_number_is_a_number() -> None:
    assert TrainerState.from_dict({"loss_sum": 3, "step": 2}) == TrainerState(loss_sum=3.0, step=2)


def test_a_run_without_an_epoch_has_a_whole_number_of_them() -> None:
    assert TrainerState(step=3, steps_per_epoch=0).epoch == 3.0
