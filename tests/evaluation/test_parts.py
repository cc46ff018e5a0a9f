"""The mixture of an LSTM, n-grams and a cache: fitted and measured in one pass over the validation set."""

import pytest

from zh_lstm_lm import LSTMLanguageModel, NGramLanguageModel, TokenStream, evaluate
from zh_lstm_lm.evaluation.parts import describe_parts, mix_models, parts_table

NAMES = ["LSTM", "3-gram", "LSTM + 3-gram", "LSTM + 3-gram + cache"]


@pytest.fixture
def ngram(stream: TokenStream, model: LSTMLanguageModel) -> NGramLanguageModel:
    return NGramLanguageModel.from_stream(stream, model.vocabulary, order=3)


@pytest.fixture
def valid() -> TokenStream:
    return TokenStream.from_texts(["展昭喝道：“雪大！”\n白玉堂笑道：“走。”\n" * 3], tokenizer="characters")


def test_one_pass_fits_and_measures_as_two_do(
    model: LSTMLanguageModel, ngram: NGramLanguageModel, valid: TokenStream
) -> None:
    mixture = mix_models(model, ngram, valid)
    before = mixture.component_weights()
    assert sum(before) == pytest.approx(1.0)
    rows = mixture.training_summary["valid_parts"]
    assert [row["name"] for row in rows] == NAMES
    result = evaluate(mixture, valid)
    assert rows == describe_parts(mixture, result)
    assert mixture.fit_weights(valid).component_weights() == pytest.approx(before, abs=1e-4)
    # The whole is at least as good as each part, on the text that the weights were fitted on.
    assert result.loss <= min(part.loss for part in result.parts.values()) + 1e-6
    weights = [row["weight"] for row in rows]
    assert weights[0] + weights[1] == pytest.approx(weights[2], abs=2e-4)
    assert weights[3] == 1.0


def test_without_a_text_the_weights_are_stated(model: LSTMLanguageModel, ngram: NGramLanguageModel) -> None:
    mixture = mix_models(model, ngram)
    assert mixture.component_weights() == pytest.approx([0.4, 0.4, 0.2])
    assert mixture.training_summary == {"weights": "not fitted on a validation set"}


def test_the_table_names_units_and_leaves_out_what_is_not_known() -> None:
    rows = [
        {"name": "LSTM", "weight": 0.25, "bits_per_character": 5.5, "perplexity": 1234.5},
        {"name": "LSTM + cache", "weight": 1.0, "bits_per_character": None, "perplexity": None},
    ]
    assert parts_table(rows).splitlines() == [
        "LSTM          weight 0.250   5.5000 bits/character  perplexity 1,234.50 per token",
        "LSTM + cache  weight 1.000  perplexity infinite per token",
    ]
