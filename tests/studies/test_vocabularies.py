"""Verdicts on made-up rows: clear differences hold or do not, the others depend."""

from typing import Any

from zh_lstm_lm.studies.claims import Claim
from zh_lstm_lm.studies.vocabularies import VocabularyStudy

# The differences between seeds.
NOISE = {0: -0.01, 1: 0.0, 2: 0.01}


def vocabulary_row(
    tokenizer: str, unknown: str, size: int, seed: int, bits: float | None, **more: Any
) -> dict[str, Any]:
    return {
        "tokenizer": tokenizer,
        "unknown": unknown,
        "vocabulary_size": size,
        "seed": seed,
        "test_bits_per_character": None if bits is None else bits + NOISE[seed],
        "microseconds_per_character": size / 10 + seed,
        "test_perplexity": 100.0 + seed,
        "unknown_rate": 0.0,
        **more,
    }


def vocabularies(*settings: Any) -> dict[str, Claim]:
    rows = [
        vocabulary_row(tokenizer, unknown, size, seed, bits)
        for tokenizer, unknown, size, bits in settings
        for seed in NOISE
    ]
    for row in rows:
        if row["unknown"] == "unk":
            row |= {"test_perplexity": 60.0 + row["seed"], "unknown_rate": 0.08}
    return {claim["name"]: claim for claim in VocabularyStudy.claims(rows)}


def test_vocabularies_are_judged_by_what_there_is() -> None:
    claims = vocabularies(
        ("jieba", "characters", 1000, 6.5),
        ("jieba", "characters", 4000, 6.0),
        ("jieba", "unk", 4000, None),
        ("rjieba", "characters", 4000, 6.0),
        ("characters", "characters", 2000, 6.2),
    )
    assert {name: claim["verdict"] for name, claim in claims.items()} == dict.fromkeys(
        ("size", "speed", "words", "segmenters", "unknown_words"), "holds"
    )
    assert "8.0% of the tokens" in claims["unknown_words"]["figure"]["en"]
    other = vocabularies(
        ("jieba", "characters", 1000, 6.0),
        ("jieba", "characters", 4000, 6.0),
        ("rjieba", "characters", 4000, 6.2),
        ("characters", "characters", 2000, 5.8),
    )
    assert {name: claim["verdict"] for name, claim in other.items()} == {
        "size": "depends",
        "speed": "holds",
        "words": "does not hold",
        "segmenters": "does not hold",
    }


def test_segmenters_are_compared_seed_by_seed() -> None:
    alike = vocabularies(("jieba", "characters", 4000, 6.0), ("rjieba", "characters", 4000, 6.04))
    assert alike["segmenters"]["verdict"] == "holds"
    rows = [vocabulary_row("jieba", "characters", 4000, seed, 6.0) for seed in NOISE]
    rows += [vocabulary_row("rjieba", "characters", 4000, seed, 6.04 - 2 * NOISE[seed]) for seed in NOISE]
    near = {claim["name"]: claim for claim in VocabularyStudy.claims(rows)}
    assert near["segmenters"]["verdict"] == "depends"
