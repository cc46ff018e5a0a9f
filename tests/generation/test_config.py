"""The sampling options: what is refused, and how they are saved."""

from typing import Any

import pytest

from zh_lstm_lm import ConfigError, SamplerConfig


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperatur": 1.0}, "did you mean 'temperature'"),
        ({"do_sample": True}, "SamplerConfig has no option 'do_sample'; it has temperature, top_k"),
        ({"balanced_pairs": 1}, "balanced_pairs must be a bool, got 1"),
        ({"banned_words": ["雪" * 60_000, "风" * 40_001]}, "at most 100,000 characters in all, got 100,001"),
        ({"word_bias": {str(number): 1.0 for number in range(100_001)}}, "at most 100,000 words, got 100,001"),
        ({"top_k": 10**5000}, "top_k must be from 0 to 9223372036854775807, got an integer of 16610 bits"),
        ({"penalty_window": 2**63}, "penalty_window must be from 1 to 9223372036854775807, got 9223372036854775808"),
        ({"no_repeat_ngram_size": 2**63}, "no_repeat_ngram_size must be from 0 to"),
        ({"word_bias": {"雪": -1e7}}, "word_bias of '雪' must be at least -1e"),
    ],
)
def test_what_is_no_option_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        SamplerConfig.from_dict(options)


def test_options_round_trip() -> None:
    config = SamplerConfig(top_k=5, banned_words=["死"], word_bias={"雪": 2.0}, balanced_pairs=False, penalty_window=9)
    assert SamplerConfig.from_dict(config.to_dict()) == config
