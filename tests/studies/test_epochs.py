"""Verdicts on made-up rows: clear differences hold or do not, the others depend."""

from zh_lstm_lm.studies.claims import Claim
from zh_lstm_lm.studies.epochs import EpochsStudy

# The differences between seeds.
NOISE = {0: -0.01, 1: 0.0, 2: 0.01}


def epochs(curves: dict[float, list[float]], novelty: float = 0.4) -> dict[str, Claim]:
    rows = [
        {
            "train_share": share,
            "seed": seed,
            "valid_bits_per_character_by_epoch": [bits + NOISE[seed] for bits in curve],
            "test_bits_per_character": min(curve) + NOISE[seed],
            "novelty_by_epoch": [new + NOISE[seed] for new in (0.8, novelty)],
        }
        for share, curve in curves.items()
        for seed in NOISE
    ]
    return {claim["name"]: claim for claim in EpochsStudy.claims(rows)}


def test_epochs_are_judged_by_their_curves() -> None:
    plain = epochs({0.5: [7.0, 6.5, 6.8], 1.0: [6.8, 6.2, 6.3]})
    assert [claim["verdict"] for claim in plain.values()] == ["holds"] * 4
    rising = epochs({0.5: [6.0, 6.5], 1.0: [6.4, 6.8]})
    assert rising["perplexity"]["verdict"] == "does not hold"
    assert rising["more_text"]["verdict"] == "does not hold"
    mixed = epochs({0.5: [7.0, 6.5, 6.8], 1.0: [6.8, 6.5, 6.5]}, novelty=0.8)
    assert mixed["overfitting"]["verdict"] == "depends"
    assert mixed["more_text"]["verdict"] == "depends"
    assert mixed["novelty"]["verdict"] == "depends"
    assert epochs({0.5: [7.0, 6.5], 1.0: [6.8, 6.5]}, novelty=0.9)["novelty"]["verdict"] == "does not hold"
