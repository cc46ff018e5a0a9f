"""Evaluation and scores against plain loops that follow the definition: segments of 4,096 after up to 256 of context."""

import math
from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import (
    ConfigError,
    ContinuousCache,
    DataError,
    DynamicEvaluation,
    EvaluationResult,
    LSTMLanguageModel,
    ModelConfig,
    NonFiniteError,
    TokenStream,
    Vocabulary,
    ZhLstmLmError,
    evaluate,
    score,
)
from zh_lstm_lm.evaluation.bootstrap import bootstrap


@pytest.fixture(scope="module")
def long_texts(texts: list[str]) -> list[str]:
    """Documents around and above the length of a segment, and short ones between them."""
    novel = "".join(texts)
    return [(novel * 100)[:9000], texts[0], (novel * 50)[:4095], (novel * 50)[:4096], texts[1]]


@pytest.fixture(scope="module")
def long_stream(long_texts: list[str]) -> TokenStream:
    return TokenStream.from_texts(long_texts, tokenizer="characters")


@pytest.fixture(scope="module")
def tiny(vocabulary: Vocabulary) -> LSTMLanguageModel:
    """Random weights, and a memory of thousands of tokens, so that it matters where a segment begins."""
    config = ModelConfig(
        embedding_dim=4, hidden_size=6, output="adaptive", cutoffs=(20, 60), dropout=0.4, tie_weights=False
    )
    model = LSTMLanguageModel(vocabulary, config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias_ih" in name:
                parameter[:6] -= 3.0  # the input gate takes a little in
                parameter[6:12] += 8.0  # and the forget gate keeps it
            elif "weight" in name:
                parameter.mul_(1.5)
    return model


def sum_of_log_probs(model: LSTMLanguageModel, ids: Tensor, first: int) -> float:
    """Reads ids from a zero state and adds up the log-probabilities of those from place `first` on."""
    with torch.no_grad():
        log_probs = torch.log_softmax(model(ids[None, :-1].long())[0][0].double(), dim=-1)
    chosen = log_probs.gather(1, ids[1:, None].long())[:, 0]  # chosen[i] is that of ids[i + 1]
    return float(chosen[first - 1 :].sum())


def brute_force(
    model: LSTMLanguageModel, stream: TokenStream, *, segment_len: int = 4096, context_len: int = 256
) -> tuple[float, int]:
    """The definition, document by document and segment by segment."""
    total, counted = 0.0, 0
    for text in stream.texts():
        ids = torch.tensor([model.vocabulary.bos_id, *model.vocabulary.encode(text)])
        for first in range(1, len(ids), segment_len):
            stop = min(first + segment_len, len(ids))
            start = max(0, first - context_len)
            total += sum_of_log_probs(model, ids[start:stop], first - start)
            counted += stop - first
    return total, counted


def test_evaluate_equals_the_plain_loop(tiny: LSTMLanguageModel, long_stream: TokenStream) -> None:
    expected, counted = brute_force(tiny, long_stream)
    result = evaluate(tiny, long_stream)
    assert result.num_tokens == counted == len(long_stream)
    assert result.log_prob == pytest.approx(expected, rel=1e-6)
    for other in ({"segment_len": 4095}, {"segment_len": 1 << 20}, {"context_len": 255}):
        assert result.log_prob != pytest.approx(brute_force(tiny, long_stream, **other)[0], rel=1e-6)


def test_evaluate_does_not_depend_on_the_batch_size(tiny: LSTMLanguageModel, long_stream: TokenStream) -> None:
    results = [evaluate(tiny, long_stream, batch_size=size) for size in (1, 2, 3, 7, 1000)]
    for result in results[1:]:
        assert result.loss == pytest.approx(results[0].loss, rel=1e-6)
        assert result.num_tokens == results[0].num_tokens
        assert result.num_characters == results[0].num_characters


def test_evaluate_of_a_large_vocabulary_does_not_depend_on_the_window(
    tiny: LSTMLanguageModel, stream: TokenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluate(tiny, stream)
    for most_scores in (1, len(tiny.vocabulary) * 3 * 5):
        monkeypatch.setattr("zh_lstm_lm.models.base._MAX_SCORES", most_scores)
        assert evaluate(tiny, stream).loss == pytest.approx(expected.loss, rel=1e-6)


class Wrapped:
    """A language model that notes for how many rows at once it is asked."""

    def __init__(self, model: LSTMLanguageModel, **members: Any) -> None:
        self.model, self.most = model, 0
        for name in ("vocabulary", "device", "initial_state", "read"):
            setattr(self, name, getattr(model, name))
        vars(self).update(members)

    def log_probs(self, context: Any) -> Tensor:
        self.most = max(self.most, len(context))
        return self.model.log_probs(context)

    def target_log_probs(self, context: Any, targets: Tensor) -> Tensor:
        self.most = max(self.most, len(context))
        return self.model.target_log_probs(context, targets)


@pytest.mark.parametrize(
    ("members", "temperature", "most"),
    [({}, 1.0, 3), ({"scores_per_target": 1}, 1.0, 1024), ({"scores_per_target": 1}, 2.0, 3)],
)
def test_as_many_targets_are_scored_at_once_as_their_scores_allow(
    tiny: LSTMLanguageModel,
    long_stream: TokenStream,
    monkeypatch: pytest.MonkeyPatch,
    members: dict[str, Any],
    temperature: float,
    most: int,
) -> None:
    monkeypatch.setattr("zh_lstm_lm.models.base._MAX_SCORES", 3 * len(tiny.vocabulary))
    model = Wrapped(tiny, **members)
    result = evaluate(model, long_stream, temperature=temperature)  # type: ignore[arg-type]
    assert model.most == min(most, 3 * len(tiny.vocabulary))
    assert result.loss == pytest.approx(evaluate(tiny, long_stream, temperature=temperature).loss, rel=1e-6)


@pytest.mark.parametrize("unseen", ["", "😀龘展，\nabc龘\n"])
def test_the_figures_follow_from_the_log_probability(tiny: LSTMLanguageModel, texts: list[str], unseen: str) -> None:
    stream = TokenStream.from_texts([*texts, *filter(None, [unseen])], tokenizer="characters")
    result = evaluate(tiny, stream)
    assert result.num_characters == stream.num_characters
    assert result.num_tokens == sum(len(tiny.vocabulary.encode(text)) for text in stream.texts())
    assert (result.num_tokens > len(stream)) == bool(unseen), "a character outside the vocabulary is several tokens"
    assert result.log_prob < 0
    assert result.loss == pytest.approx(-result.log_prob / result.num_tokens)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert result.bits_per_character == pytest.approx(-result.log_prob / math.log(2) / stream.num_characters)
    assert result.unknown_rate == 0.0
    assert result.clean == "none"
    metrics = [getattr(result, field.name) for field in fields(result) if field.name not in ("parts", "paragraph_sums")]
    assert all(isinstance(value, (int, float, str, type(None))) for value in metrics)


def test_a_model_that_knows_nothing_has_the_vocabulary_size_as_perplexity(
    vocabulary: Vocabulary, stream: TokenStream
) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=2, hidden_size=2, output="full"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    result = evaluate(model, stream)
    assert result.perplexity == pytest.approx(len(vocabulary), rel=1e-5)
    assert result.bits_per_character == pytest.approx(math.log2(len(vocabulary)), rel=1e-5)


def test_a_loss_beyond_all_numbers_is_an_infinite_perplexity() -> None:
    assert EvaluationResult(-1e6, 10, 10).perplexity == math.inf
    assert EvaluationResult(-1e6, 10, 10).loss == 1e5


def test_a_closed_vocabulary_gives_the_unknown_rate_in_place_of_bits_per_character(
    texts: list[str], stream: TokenStream
) -> None:
    vocabulary = Vocabulary.from_stream(stream, min_freq=2, unknown="unk")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    result = evaluate(model, stream)
    ids = [token_id for text in stream.texts() for token_id in vocabulary.encode(text)]
    assert result.bits_per_character is None
    assert result.num_characters is None
    assert result.num_tokens == len(ids) == len(stream)
    assert result.unknown_rate == pytest.approx(ids.count(vocabulary.token_to_id("<unk>")) / len(ids))
    assert 0 < result.unknown_rate < 1
    scored = score(model, texts[0])
    assert scored.bits_per_character is None
    assert scored.unknown_rate == pytest.approx(scored.tokens.count("<unk>") / len(scored.tokens))
    assert evaluate(model, TokenStream.from_texts(["展昭\n"], tokenizer="characters")).unknown_rate == 0.0


def test_perplexity_is_told_with_and_without_unknown_words(
    tiny: LSTMLanguageModel, texts: list[str], stream: TokenStream
) -> None:
    vocabulary = Vocabulary.from_stream(stream, min_freq=2, unknown="unk")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    scored = [score(model, text) for text in texts]
    known = [
        log_prob
        for one in scored
        for token, log_prob in zip(one.tokens, one.log_probs, strict=True)
        if token != "<unk>"
    ]
    result = evaluate(model, stream)
    assert len(known) < result.num_tokens
    assert result.perplexity_excluding_unknown == pytest.approx(math.exp(-math.fsum(known) / len(known)), rel=1e-5)
    assert result.perplexity_excluding_unknown != pytest.approx(result.perplexity, rel=1e-3)
    for one in scored:
        mine = [value for token, value in zip(one.tokens, one.log_probs, strict=True) if token != "<unk>"]
        assert one.perplexity_excluding_unknown == pytest.approx(math.exp(-math.fsum(mine) / len(mine)), rel=1e-5)
    spelled = evaluate(tiny, stream)
    assert spelled.perplexity_excluding_unknown == spelled.perplexity
    assert score(model, "龘").perplexity_excluding_unknown == math.inf  # nothing is left to measure


@pytest.mark.parametrize("output", ["full", "adaptive"])
def test_temperature_divides_the_logits_of_all_tokens(vocabulary: Vocabulary, texts: list[str], output: str) -> None:
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=6, hidden_size=8, dropout=0.5, output=output))  # type: ignore[arg-type]
    ids = torch.tensor([[0, *vocabulary.encode(texts[0])]])
    with torch.inference_mode():
        log_probs = (model(ids[:, :-1])[0][0].double() / 1.7).log_softmax(-1)
    expected = float(log_probs.gather(1, ids[0, 1:, None]).sum())
    stream = TokenStream.from_texts(texts[:1], tokenizer="characters")
    assert evaluate(model, stream, temperature=1.7).log_prob == pytest.approx(expected, rel=1e-5)
    assert evaluate(model, stream, temperature=1).log_prob == evaluate(model, stream).log_prob
    for bad in (0.0, -1.0, math.nan, "1"):
        with pytest.raises(ConfigError, match="temperature"):
            evaluate(model, stream, temperature=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
def test_mode_device_and_gradients_are_given_back(tiny: LSTMLanguageModel, stream: TokenStream, training: bool) -> None:
    expected = evaluate(tiny.eval(), stream), score(tiny, "展昭道")
    tiny.train(training)
    try:
        assert (evaluate(tiny, stream), score(tiny, "展昭道")) == expected, "dropout takes no part"
        with pytest.raises(DataError):
            score(tiny, "")
        assert all(module.training == training for module in tiny.modules())
        assert tiny.device.type == "cpu"
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert all(parameter.requires_grad and parameter.grad is None for parameter in tiny.parameters())
        loss, _ = tiny.loss(torch.tensor([[0]]), torch.tensor([[5]]), generator=torch.Generator().manual_seed(0))
        loss.backward()  # type: ignore[no-untyped-call]
    finally:
        tiny.zero_grad()
        tiny.eval()


def test_the_mode_is_given_back_after_an_error(
    tiny: LSTMLanguageModel, stream: TokenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise KeyboardInterrupt

    tiny.train()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(LSTMLanguageModel, "read", broken)
            with pytest.raises(KeyboardInterrupt):
                evaluate(tiny, stream)
        assert tiny.training
        assert not torch.is_inference_mode_enabled()
    finally:
        tiny.eval()


@pytest.mark.parametrize("batch_size", [0, -1, True, "3", 1.5, None])
def test_a_batch_size_that_is_none_is_refused(tiny: LSTMLanguageModel, stream: TokenStream, batch_size: object) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        evaluate(tiny, stream, batch_size=batch_size)  # type: ignore[arg-type]


def test_an_empty_text_is_refused(tiny: LSTMLanguageModel, stream: TokenStream) -> None:
    _, nothing, _ = stream.split(valid=0.0, test=0.3)
    assert len(nothing) == 0
    with pytest.raises(DataError, match="no token"):
        evaluate(tiny, nothing)
    with pytest.raises(DataError, match="empty"):
        score(tiny, "")


@pytest.mark.parametrize("text", [None, 5, ["展昭"], b"\xe5\xb1\x95", "展\ud800昭"])
def test_what_is_no_text_is_refused(tiny: LSTMLanguageModel, text: object) -> None:
    with pytest.raises(DataError):
        score(tiny, text)  # type: ignore[arg-type]


def test_arguments_of_another_type_are_refused_by_name(tiny: LSTMLanguageModel, stream: TokenStream) -> None:
    with pytest.raises(ZhLstmLmError, match="stream"):
        evaluate(tiny, "展昭道。")  # type: ignore[arg-type]
    with pytest.raises(ZhLstmLmError, match="model"):
        evaluate("wuxia-lstm", stream)  # type: ignore[arg-type]
    with pytest.raises(ZhLstmLmError, match="model"):
        score("wuxia-lstm", "展昭道。")  # type: ignore[arg-type]


def test_score_is_evaluate_of_the_same_single_document(tiny: LSTMLanguageModel, texts: list[str]) -> None:
    for text in (texts[0].rstrip("\n"), "展昭", "龘\n\n😀", "".join(texts * 3).rstrip("\n")):
        scored = score(tiny, text + "\n")
        result = evaluate(tiny, TokenStream.from_texts([text], tokenizer="characters"))
        assert scored.log_prob == pytest.approx(result.log_prob, rel=1e-6)
        assert scored.num_tokens == result.num_tokens
        assert scored.num_characters == result.num_characters
        assert scored.perplexity == pytest.approx(result.perplexity, rel=1e-5)
        assert scored.bits_per_character == pytest.approx(result.bits_per_character, rel=1e-5)


def test_error_bars_are_those_of_the_paragraphs(tiny: LSTMLanguageModel, stream: TokenStream) -> None:
    result = evaluate(tiny, stream)
    bars = result.error_bars(200, seed=3)
    paragraphs = []
    for text in stream.texts():  # documents are short: each is read from its start
        scored = score(tiny, text)
        ends = [place + 1 for place, token in enumerate(scored.tokens) if token == "\n"]
        for start, stop in pairwise([0, *ends]):
            characters = sum(end - begin for begin, end in scored.offsets[start:stop])
            paragraphs.append([sum(scored.log_probs[start:stop]), stop - start, characters])
    expected = bootstrap(torch.tensor(paragraphs, dtype=torch.float64), num_resamples=200, seed=3)
    assert bars.num_paragraphs == len(paragraphs) == 12
    assert bars.perplexity == pytest.approx(expected.perplexity, rel=1e-5)
    assert bars.bits_per_character == pytest.approx(expected.bits_per_character, rel=1e-5)
    assert bars.perplexity[0] < result.perplexity < bars.perplexity[1]
    assert result.error_bars(200, seed=3) == bars != result.error_bars(200, seed=4)
    low, high = result.error_bars(200, seed=3, confidence=0.5).perplexity
    assert bars.perplexity[0] < low < high < bars.perplexity[1]


def test_error_bars_need_paragraphs_to_draw_from(tiny: LSTMLanguageModel) -> None:
    with pytest.raises(DataError, match="two paragraphs"):
        evaluate(tiny, TokenStream.from_texts(["展昭道"], tokenizer="characters")).error_bars(10)


@pytest.mark.parametrize("kind", ["plain", "dynamic", "cache"])
def test_damaged_weights_give_no_result(stream: TokenStream, vocabulary: Vocabulary, kind: str) -> None:
    lm = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=6))
    model = ContinuousCache(lm) if kind == "cache" else lm
    with torch.no_grad():
        lm.layers[0].get_parameter("bias_hh_l0").fill_(math.nan)
    with pytest.raises(NonFiniteError, match=r"damaged: layers\.0\.bias_hh_l0"):
        evaluate(model, stream, dynamic=DynamicEvaluation() if kind == "dynamic" else None)


def test_log_probabilities_that_are_nan_are_no_result(tiny: LSTMLanguageModel, stream: TokenStream) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(tiny, name)

        def target_log_probs(self, context: Any, targets: Tensor) -> Tensor:
            return tiny.target_log_probs(context, targets) * math.nan

    with pytest.raises(NonFiniteError, match="log-probabilities are NaN"):
        evaluate(Broken(), stream)


def test_a_model_that_diverges_while_it_learns_gives_no_result(tiny: LSTMLanguageModel, stream: TokenStream) -> None:
    with pytest.raises(NonFiniteError, match="lower learning_rate"):
        evaluate(tiny, stream, dynamic=DynamicEvaluation(learning_rate=1e38))


def test_a_compiled_model_is_evaluated_and_a_parallel_one_is_refused(
    tiny: LSTMLanguageModel, stream: TokenStream
) -> None:
    compiled: Any = torch.compile(tiny, backend="eager")
    assert evaluate(compiled, stream) == evaluate(tiny, stream)
    assert score(compiled, "展昭") == score(tiny, "展昭")
    dynamic = DynamicEvaluation(window_len=8)
    assert evaluate(compiled, stream, dynamic=dynamic) == evaluate(tiny, stream, dynamic=dynamic)
    parallel: Any = torch.nn.DataParallel(tiny)
    with pytest.raises(ConfigError, match="give the model inside, its attribute module"):
        evaluate(parallel, stream)
    with pytest.raises(ConfigError, match="its attribute module"):
        score(parallel, "展昭")
