"""The `LanguageModel` protocol: one set of checks for everything that predicts."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import (
    ContinuousCache,
    GenerationState,
    LanguageModel,
    LSTMLanguageModel,
    Mixture,
    ModelConfig,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    rescore,
    score,
    score_batch,
    suggest,
)
from zh_lstm_lm.evaluation.kenlm import Model as KenLM
from zh_lstm_lm.models.base import context_length, decoding_model

TEXT = "展昭道：“好大的雪！”\n白玉堂笑道：“雪大，酒才好喝。”\n"


def lstm(vocabulary: Vocabulary, **sizes: Any) -> LSTMLanguageModel:
    """A model in training mode, where dropout must not act, whose weights are as large as those of a trained one."""
    config = ModelConfig(**{"embedding_dim": 7, "hidden_size": 10, "dropout": 0.4, **sizes})
    model = LSTMLanguageModel(vocabulary, config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0)
    return model


def adaptive(vocabulary: Vocabulary) -> LSTMLanguageModel:
    return lstm(vocabulary, output="adaptive", cutoffs=(20, 60), seed=5)


def mixture(vocabulary: Vocabulary) -> Mixture:
    return Mixture([lstm(vocabulary, hidden_size=6, num_layers=2), adaptive(vocabulary)], [0.3, 0.7])


def ngram(vocabulary: Vocabulary) -> NGramLanguageModel:
    stream = TokenStream.from_texts([TEXT, TEXT * 2], tokenizer="characters")
    return NGramLanguageModel.from_stream(stream, vocabulary, order=3, prune=(0, 0, 2))


def with_ngram(vocabulary: Vocabulary) -> Mixture:
    return Mixture([adaptive(vocabulary), ngram(vocabulary)], [0.4, 0.6])


PREDICTORS: dict[str, Callable[[Vocabulary], LanguageModel]] = {
    "full": lstm,
    "tied": lambda vocabulary: lstm(vocabulary, tie_weights=True),
    "tied, adaptive": lambda vocabulary: lstm(vocabulary, tie_weights=True, output="adaptive", cutoffs=(20, 60)),
    "adaptive": adaptive,
    "two layers": lambda vocabulary: lstm(vocabulary, num_layers=2),
    "mixture": mixture,
    "nested mixture": lambda vocabulary: Mixture([mixture(vocabulary), lstm(vocabulary, seed=8)], [0.6, 0.4]),
    "mixture of one": lambda vocabulary: Mixture([mixture(vocabulary), adaptive(vocabulary)], [0.0, 1.0]),
    "unigram cache": lambda vocabulary: ContinuousCache(adaptive(vocabulary), theta=0.0, cache_size=9),
    "cache": lambda vocabulary: ContinuousCache(lstm(vocabulary), theta=1.5, cache_size=6, cache_weight=0.4),
    "cache of a mixture": lambda vocabulary: ContinuousCache(mixture(vocabulary), theta=0.5, cache_size=20),
    "n-gram": ngram,
    "n-gram in a mixture": with_ngram,
    "n-gram, cache": lambda vocabulary: ContinuousCache(with_ngram(vocabulary), theta=0.0, cache_size=9),
    "mixture of a cache": lambda vocabulary: Mixture([ContinuousCache(lstm(vocabulary)), adaptive(vocabulary)]),
}


@pytest.fixture(params=[*PREDICTORS, *(f"{name}, for decoding" for name in PREDICTORS)])
def predictor(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> LanguageModel:
    """Each predictor, and its form for decoding."""
    name, for_decoding, _ = request.param.partition(", for decoding")
    model = PREDICTORS[name](vocabulary)
    return decoding_model(model) if for_decoding else model


def read(model: LanguageModel, text: str, state: Any = None) -> tuple[Tensor, Any]:
    """The log-probabilities after each token of ``<bos>`` and a text, or of a text after a state."""
    start = [model.vocabulary.bos_id] if state is None else []
    context, state = model.read(torch.tensor([[*start, *model.vocabulary.encode(text)]]), state)
    return model.log_probs(context), state


def close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4)


@pytest.fixture(autouse=True)
def _inference() -> Any:
    with torch.inference_mode():
        yield


def test_it_satisfies_the_protocol(predictor: LanguageModel) -> None:
    assert isinstance(predictor, LanguageModel)
    assert predictor.device == torch.device("cpu")
    assert isinstance(context_length(predictor), int)


def test_probabilities_sum_to_one(predictor: LanguageModel) -> None:
    log_probs, _ = read(predictor, TEXT)
    assert log_probs.shape == (len(TEXT) + 1, len(predictor.vocabulary))
    close(log_probs.double().exp().sum(dim=1), torch.ones(len(log_probs), dtype=torch.float64))


def test_a_sequence_equals_its_tokens_one_by_one(predictor: LanguageModel) -> None:
    whole, after = read(predictor, TEXT)
    state, steps = None, []
    for token_id in [predictor.vocabulary.bos_id, *predictor.vocabulary.encode(TEXT)]:
        context, state = predictor.read(torch.tensor([[token_id]]), state)
        assert len(context) == 1
        steps.append(predictor.log_probs(context))
    close(torch.cat(steps), whole)
    assert state is not None
    # The states predict equally; entries that no prediction depends on may differ.
    close(read(predictor, "酒店", state)[0], read(predictor, "酒店", after)[0])


def test_the_initial_state_is_what_none_stands_for(predictor: LanguageModel) -> None:
    ids = torch.tensor([[0, 9, 5], [0, 7, 7]])
    given = predictor.log_probs(predictor.read(ids, predictor.initial_state(2))[0])
    close(given, predictor.log_probs(predictor.read(ids)[0]))


def test_target_log_probs_are_those_of_all_tokens(predictor: LanguageModel) -> None:
    context, _ = predictor.read(torch.tensor([[0, *predictor.vocabulary.encode(TEXT)]]))
    targets = torch.randint(len(predictor.vocabulary), (len(context),), generator=torch.Generator().manual_seed(1))
    expected = predictor.log_probs(context).gather(1, targets[:, None])[:, 0]
    close(predictor.target_log_probs(context, targets), expected)
    some = torch.tensor([5, 1, 1, 17])
    close(predictor.log_probs(context.rows(some)), predictor.log_probs(context)[some])
    close(predictor.target_log_probs(context.rows(some), targets[some]), expected[some])
    close(predictor.target_log_probs(context.rows(slice(0, 0)), targets[:0]), expected[:0])


def test_rows_do_not_mix(predictor: LanguageModel) -> None:
    """Texts that are read side by side, selected, joined and continued are those that are read alone."""
    parts = [["展昭笑", "白玉堂", "好大的"], ["道：“", "酒", "店小二忙"]]
    alone = [read(predictor, text)[1] for text in parts[0]]
    ids = torch.tensor([[0, *predictor.vocabulary.encode(text)] for text in parts[0]])
    context, together = predictor.read(ids)
    for row, text in enumerate(parts[0]):
        close(predictor.log_probs(context).view(3, 4, -1)[row], read(predictor, text)[0])
    joined = type(together).cat([alone[2], together.rows([0]), together.rows(torch.tensor([False, True, False]))])
    for row, text in zip([2, 0, 1], parts[0], strict=False):
        assert text
        for following in parts[1]:
            expected, _ = read(predictor, following, alone[row])
            close(read(predictor, following, together.rows([row]))[0], expected)
            close(
                read(predictor, following, joined.rows(slice([2, 0, 1].index(row), [2, 0, 1].index(row) + 1)))[0],
                expected,
            )
    # Texts of different lengths.
    longer = read(predictor, "夜里三更，展昭换了夜行衣")[1]
    both = type(longer).cat([alone[1], longer])
    last = torch.tensor([[5], [6]])
    found = predictor.log_probs(predictor.read(last, both)[0])
    for row, state in enumerate((alone[1], longer)):
        close(found[row : row + 1], predictor.log_probs(predictor.read(last[row : row + 1], state)[0]))


def test_states_are_values(predictor: LanguageModel) -> None:
    _, state = read(predictor, "展昭笑道")
    before = [tensor.clone() for tensor in state.tensors()]
    expected, _ = read(predictor, "：“好", state)
    read(predictor, "白玉堂", state)
    state.rows([0]), type(state).cat([state, state]), state.detach(), state.to(torch.device("cpu"))
    assert all(torch.equal(one, other) for one, other in zip(state.tensors(), before, strict=True))
    for same in (
        state.detach(),
        state.to(torch.device("cpu")),
        predictor.initial_state(1).restored(state.tensors()),
        predictor.initial_state(1).restored([tensor.clone() for tensor in state.tensors()]),
        copy.deepcopy(state),
        pickle.loads(pickle.dumps(state)),
    ):
        assert type(same) is type(state)
        assert torch.equal(read(predictor, "：“好", same)[0], expected)


def test_a_state_of_another_model_is_not_restored(predictor: LanguageModel) -> None:
    _, state = read(predictor, "展昭笑道")
    tensors = state.tensors()
    for foreign in ([], tensors[:-1], [*tensors, tensors[-1]], [torch.zeros(2, 3, 4, 5) for _ in tensors]):
        with pytest.raises(ValueError):  # noqa: PT011 - messages differ
            predictor.initial_state(1).restored(foreign)


def test_evaluate_and_score_agree(predictor: LanguageModel) -> None:
    texts = [TEXT.rstrip("\n"), "夜里三更，展昭换了夜行衣"]
    result = evaluate(predictor, TokenStream.from_texts(texts, tokenizer="characters"))
    scored = score_batch(predictor, texts, end=True)
    assert result.log_prob == pytest.approx(sum(each.log_prob for each in scored), rel=1e-5)
    assert scored[0].log_probs == pytest.approx(score(predictor, texts[0], end=True).log_probs, abs=2e-5)
    log_probs, _ = read(predictor, texts[0])
    expected = [float(log_probs[n, i]) for n, i in enumerate(predictor.vocabulary.encode(texts[0]))]
    assert scored[0].log_probs[:-1] == pytest.approx(expected, abs=2e-5)


def test_a_state_goes_from_score_to_sampler_and_back(predictor: LanguageModel) -> None:
    sampler = Sampler(predictor, SamplerConfig(temperature=1.0, top_p=1.0, balanced_pairs=False))
    read_before = score(predictor, "展昭笑道：“")
    assert read_before.state is not None
    written = sampler.generate("好", state=read_before.state, max_new_tokens=12, return_results=True)
    read_after = score(predictor, "白玉堂笑道", state=written.state)
    whole = score(predictor, "展昭笑道：“" + written.text + "白玉堂笑道")
    parts = [*read_before.log_probs, *whole.log_probs[6:7], *written.log_probs, *read_after.log_probs]
    assert whole.log_probs == pytest.approx(parts, abs=5e-5)
    # The random numbers go on as well, and so does the state in a file.
    rest = sampler.generate(state=written.state, max_new_tokens=9)
    longer = sampler.generate("好", state=read_before.state, max_new_tokens=21)
    saved = GenerationState.from_tensors(written.state.to_tensors(), predictor)
    assert written.text + rest == longer == written.text + sampler.generate(state=saved, max_new_tokens=9)


def test_everything_takes_it(predictor: LanguageModel) -> None:
    assert rescore(predictor, ["展昭", "昭展"])[0].log_prob == pytest.approx(
        max(score(predictor, text, end=True).log_prob for text in ("展昭", "昭展")), abs=1e-4
    )
    best = suggest(predictor, "展昭笑", k=1)[0]
    assert best.log_prob == pytest.approx(score(predictor, "展昭笑" + best.word).log_probs[-1], abs=2e-5)
    expected = score(predictor, "展昭笑道", end=True).log_prob / math.log(10)
    assert KenLM(predictor).score("展 昭 笑 道") == pytest.approx(expected, abs=1e-4)
    found = Sampler(predictor).beam_search("展昭", num_beams=3, num_return_sequences=2, max_new_tokens=5)
    assert found[0].log_probs == pytest.approx(score(predictor, found[0].text).log_probs[2:], abs=5e-5)


@pytest.mark.parametrize("name", PREDICTORS)
def test_copies_predict_equally(vocabulary: Vocabulary, name: str) -> None:
    model = PREDICTORS[name](vocabulary)
    scored, text = score(model, TEXT), Sampler(model).generate("展昭", max_new_tokens=9)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert score(other, TEXT) == scored
        assert Sampler(other).generate("展昭", max_new_tokens=9) == text
        again = score(other, "酒店", state=pickle.loads(pickle.dumps(scored.state)))
        assert again == score(model, "酒店", state=copy.deepcopy(scored.state))
