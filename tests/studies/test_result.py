"""The result of a study: on disk and back, and as a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import CheckpointError, StudyResult

FIGURES = {
    "characters_per_token": 1.5,
    "unknown_rate": 0.0,
    "microseconds_per_character": 1234.4,
    "test_perplexity": 100.0,
    "gap_bits_per_character": 0.25,
    "ngram_bits_per_character": 6.5,
}


def made_up() -> StudyResult:
    rows: list[dict[str, Any]] = [
        {
            **FIGURES,
            "tokenizer": "jieba",
            "unknown": unknown,
            "max_size": None,
            "vocabulary_size": 1000,
            "seed": seed,
            "test_bits_per_character": None if unknown == "unk" else 6.0 + seed / 10,
        }
        for seed in (0, 1)
        for unknown in ("characters", "unk")
    ]
    words = {"en": "Words.", "zh": "词。"}
    claim = {"name": "words", "claim": words, "verdict": "holds", "figure": words, "rule": words}
    return StudyResult("vocabulary", "Vocabularies", "tokens", {}, {}, {"budget": 8}, [0, 1], True, rows, [claim])


def test_result_comes_back_from_its_folder(tmp_path: Path) -> None:
    made_up().save(tmp_path)
    assert StudyResult.load(tmp_path) == made_up()
    assert json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))["format"] == 1


def test_table_shows_mean_and_deviation_or_that_there_is_none() -> None:
    lines = made_up().table().splitlines()
    heading, rule, spelled, closed = ([cell.strip() for cell in line.strip("| ").split("|")] for line in lines)
    assert len(set(map(len, lines))) == 1, "the columns stand below each other"
    assert {cell.strip("-") for cell in rule} == {":"}
    assert spelled == [
        *("jieba", "characters", "None", "1,000", "1.50", "0.0%", "1,234", "100.0", "6.050 ± 0.071", "0.250", "6.500")
    ]
    assert closed[-3] == "-"
    assert heading[-3] == "test bits/character"
    assert str(made_up()).splitlines()[-1].startswith("holds")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a file of this library"),
        ('{"format": 1, "rows": []}', "no 'claims'"),
        (json.dumps({"format": 2, **made_up().__dict__}), "its format is 2"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        StudyResult.load(tmp_path)
