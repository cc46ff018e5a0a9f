"""What Hugging Face's GenerationConfig has, and what becomes of it here."""

from typing import Any

import pytest

from zh_lstm_lm import ConfigError, SamplerConfig

DEFAULTS = {  # what GenerationConfig().to_dict() holds where nothing was set, and a saved model's ids
    "max_length": 20,
    "max_new_tokens": None,
    "min_length": 0,
    "min_new_tokens": None,
    "early_stopping": False,
    "max_time": None,
    "stop_strings": None,
    "do_sample": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "penalty_alpha": None,
    "use_cache": True,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "min_p": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "diversity_penalty": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "renormalize_logits": False,
    "num_return_sequences": 1,
    "output_scores": False,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "_from_model_config": True,
    "transformers_version": "4.57.1",
}


def test_all_of_a_generation_config_is_understood() -> None:
    assert SamplerConfig.from_dict(DEFAULTS) == SamplerConfig(temperature=0.0, top_k=50, top_p=1.0)
    drawn = {**DEFAULTS, "do_sample": True, "temperature": 0.7, "top_h": 0.4, "repetition_penalty": 1.1}
    expected = SamplerConfig(temperature=0.7, top_k=50, top_p=1.0, top_h=0.4, repetition_penalty=1.1)
    assert SamplerConfig.from_dict(drawn) == expected


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("max_new_tokens", 100, r"generate\(max_new_tokens=…\)"),
        ("max_length", 512, r"max_length=512: a limit"),
        ("max_time", 3.0, r"generate\(max_time=…\)"),
        ("stop_strings", ["。"], r"generate\(stop=…\)"),
        ("num_beams", 4, r"sampler\.beam_search\(num_beams=…\)"),
        ("bad_words_ids", [[3]], "banned_words"),
        ("num_return_sequences", 3, "generate_batch"),
        ("penalty_alpha", 0.6, "nothing here answers to it"),
        ("guidance_scale", 2.0, "nothing here answers to it"),
        ("temperatur", 1.0, "did you mean 'temperature'"),
        ("do_sample", "no", "do_sample must be"),
    ],
)
def test_what_means_nothing_here_is_told_of(field: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        SamplerConfig.from_dict({field: value})


def test_own_options_round_trip() -> None:
    config = SamplerConfig(top_k=5, banned_words=["死"], word_bias={"雪": 2.0}, balanced_pairs=False, penalty_window=9)
    assert SamplerConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="balanced_pairs"):
        SamplerConfig(balanced_pairs=1)  # type: ignore[arg-type]
