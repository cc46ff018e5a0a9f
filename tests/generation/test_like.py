"""Writing like a book: the mixture and the primed cache are those that are built by hand, and the persons are its own."""

import copy
import math
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zh_lstm_lm import (
    ConfigError,
    ContinuousCache,
    CoWriter,
    DataError,
    GenerationState,
    LSTMLanguageModel,
    Mixture,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    novelty,
    score,
)
from zh_lstm_lm.generation.like import COPY_LIMIT, Copies, model_like

BOOK = ["影房笑道：“更衣来了。”\n更衣道：“影房兄！”\n" * 12]
CONFIG = SamplerConfig(seed=3)


@pytest.fixture
def book(vocabulary: Vocabulary) -> TokenStream:
    return TokenStream.from_texts(BOOK, tokenizer="characters")


@pytest.fixture(params=["lstm", "n-gram", "mixture", "cache", "cache of a mixture"])
def base(request: pytest.FixtureRequest, model: LSTMLanguageModel, stream: TokenStream) -> Any:
    """A model of each kind that can be saved."""
    ngram = NGramLanguageModel.from_stream(stream, model.vocabulary, order=3)
    kinds: dict[str, Callable[[], Any]] = {
        "lstm": lambda: model,
        "n-gram": lambda: ngram,
        "mixture": lambda: Mixture([model, ngram], [0.7, 0.3]),
        "cache": lambda: ContinuousCache(model, cache_size=50, cache_weight=0.2),
        "cache of a mixture": lambda: ContinuousCache(Mixture([model, ngram]), cache_size=50, theta=0.5),
    }
    return kinds[request.param]()


def test_the_distribution_is_that_of_the_mixture_built_by_hand(base: Any, book: TokenStream) -> None:
    found = model_like(base, book, weight=0.4)
    ngram = NGramLanguageModel.from_stream(book, base.vocabulary, order=4)
    cached = isinstance(base, ContinuousCache)
    inner = base.model if cached else base
    mixture = Mixture([inner, ngram], [0.6, 0.4])
    theta = 0.0 if isinstance(base, NGramLanguageModel) else 0.6
    options: dict[str, Any] = {"cache_size": 1000, "cache_weight": 0.05, "theta": theta}
    if cached:
        options = {"cache_size": base.cache_size, "cache_weight": base.cache_weight, "theta": base.theta}
    by_hand = ContinuousCache(mixture, **options)
    ids = base.vocabulary.encode_stream(book).long()
    _, state = by_hand.read(ids[None])
    text = torch.tensor([[base.vocabulary.bos_id, *base.vocabulary.encode("展昭道：“好")]])
    unadapted = by_hand.log_probs(by_hand.read(text, state)[0]).exp()
    before = inner.log_probs(inner.read(text, inner.read(ids[None])[1])[0]).exp()
    # Half of the way, in logarithms, from the model's frequencies to the book's, which contain 5 % of the model's.
    counts, of_book = [max(each, 0.5) for each in base.vocabulary.counts], Counter(ids.tolist())
    ratios = [0.95 * of_book[number] / len(ids) / (each / sum(counts)) + 0.05 for number, each in enumerate(counts)]
    adapted = before * torch.tensor(ratios).sqrt()
    adapted /= adapted.sum(dim=1, keepdim=True)
    expected = unadapted + 0.6 * (1 - by_hand.cache_weight) * (adapted - before)
    log_probs = found.log_probs(found.read(text)[0])
    torch.testing.assert_close(log_probs.exp(), expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(len(log_probs)), rtol=0, atol=1e-5)


def test_a_fitted_cache_gets_less_weight_while_text_is_sampled(model: LSTMLanguageModel, book: TokenStream) -> None:
    cache = ContinuousCache(model, cache_size=50, cache_weight=0.2, theta=0.5)

    def weight(sampler: Sampler) -> float:
        written: Any = sampler.model
        return float(written.cache_weight)

    assert weight(Sampler(cache)) == weight(Sampler(cache, like=book)) == 0.2
    fitted = cache.fit_weights(book).cache_weight
    assert fitted > 0.05
    assert weight(Sampler(cache)) == weight(Sampler(cache, like=book)) == 0.05
    assert weight(Sampler(Sampler(cache, like=book).model)) == 0.05
    assert weight(Sampler(cache, SamplerConfig(cache_weight=0.3), like=book)) == 0.3
    assert cache.cache_weight == fitted
    with pytest.raises(ConfigError, match=r"cache_weight must be from 0 to 0\.999"):
        SamplerConfig(cache_weight=1.0)


def test_texts_name_the_persons_of_the_book(base: Any, book: TokenStream) -> None:
    def names(sampler: Sampler) -> int:
        texts = sampler.generate([""], num_samples=8, max_new_tokens=80)
        return sum(text.count(letter) for text in texts for letter in "影房更衣")

    assert names(Sampler(base, CONFIG, like=book)) > 4 * (names(Sampler(base, CONFIG)) + 4)


def test_a_list_of_texts_is_a_book(model: LSTMLanguageModel, book: TokenStream) -> None:
    text = Sampler(model, CONFIG, like=book).generate("展昭", max_new_tokens=40)
    assert Sampler(model, CONFIG, like=BOOK).generate("展昭", max_new_tokens=40) == text
    assert Sampler(model, CONFIG, like=BOOK, like_weight=0.9).generate("展昭", max_new_tokens=40) != text


def test_the_model_that_is_given_stays_as_it_is(base: Any, book: TokenStream) -> None:
    before = Sampler(base, CONFIG).generate("展昭", max_new_tokens=40)
    Sampler(base, CONFIG, like=book).generate("展昭", max_new_tokens=40)
    assert Sampler(base, CONFIG).generate("展昭", max_new_tokens=40) == before


def test_all_ways_to_write_agree(model: LSTMLanguageModel, book: TokenStream, tmp_path: Path) -> None:
    sampler = Sampler(model, CONFIG, like=book)
    whole = sampler.generate("展昭", max_new_tokens=60)
    assert "".join(sampler.stream("展昭", max_new_tokens=60)) == whole
    assert sampler.write(tmp_path / "a.txt", prompt="展昭", max_new_tokens=60).read_text(encoding="utf-8") == whole
    assert sampler.generate(["白玉堂", "展昭"], max_new_tokens=60)[1] == whole
    for other in (copy.copy(sampler), copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert other.generate("展昭", max_new_tokens=60) == whole
    writer = CoWriter(sampler, "展昭", max_new_tokens=60)
    assert "展昭" + writer.go_on() == whole


def test_a_text_continues_from_its_state(model: LSTMLanguageModel, book: TokenStream) -> None:
    sampler = Sampler(model, SamplerConfig(seed=3, balanced_pairs=False), like=book)
    whole = sampler.generate("展昭", max_new_tokens=60)
    first = sampler.generate("展昭", max_new_tokens=20, return_results=True)
    restored = GenerationState.from_tensors(first.state.to_tensors(), sampler.model)
    for state in (first.state, restored):
        assert first.text + sampler.generate(state=state, max_new_tokens=40) == whole


def test_the_book_itself_is_predicted_better(base: Any, book: TokenStream) -> None:
    held_out = TokenStream.from_texts(["更衣笑道：“影房兄来了！”\n"], tokenizer="characters")
    bits = evaluate(model_like(base, book), held_out).bits_per_character
    assert bits is not None
    assert bits < (evaluate(base, held_out).bits_per_character or 0.0) - 1
    text = "更衣笑道：“影房兄来了！”"
    assert score(model_like(base, book), text).log_prob > score(base, text).log_prob


@pytest.mark.parametrize(
    ("like", "weight", "error", "said"),
    [
        ("三侠五义.txt", 0.3, ConfigError, r"TokenStream\.from_files\(path\) reads a file"),
        (7, 0.3, ConfigError, "like must be a TokenStream or a list of texts, got 7"),
        ([], 0.3, DataError, "text"),
        (["好"], 0.3, DataError, "fewer than the order 4; give more text"),
        (BOOK, 1.2, ConfigError, "like_weight must be from 0 to 1, got 1.2"),
        (BOOK, "much", ConfigError, "like_weight must be a number, got 'much'"),
    ],
)
def test_bad_books_and_weights(like: Any, weight: Any, error: type[Exception], said: str, model: Any) -> None:
    with pytest.raises(error, match=said):
        Sampler(model, like=like, like_weight=weight)


def test_a_word_that_is_not_in_the_cache_is_as_rare_as_the_book_has_such_words_by_half(base: Any) -> None:
    if not isinstance(base, ContinuousCache):
        return
    # 影房 come in one place, and 好 everywhere.
    book = TokenStream.from_texts(["影房影房影房影房\n" + "好展昭道：“好！”\n" * 30], tokenizer="characters")
    primed = model_like(base, book)
    cached: Any = primed.model.model  # type: ignore[attr-defined]
    ids, size = base.vocabulary.encode_stream(book).tolist(), base.cache_size
    text = torch.tensor([[base.vocabulary.bos_id, *base.vocabulary.encode("雪夜" * 30)]])
    expected = cached.log_probs(cached.read(text)[0])[-1]
    for token in set(ids) - {int(token) for token in text[0]}:
        absent = [place for place in range(len(ids)) if token not in ids[max(0, place - size) : place]]
        new = sum(ids[place] == token for place in absent)
        if absent:
            expected[token] += 0.5 * min(0.0, math.log(new / len(absent) * len(ids) / ids.count(token)))
    found = primed.log_probs(primed.read(text, cached.initial_state(1))[0])[-1]
    torch.testing.assert_close(found, expected.log_softmax(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fit_weights", "save_pretrained"])
def test_a_model_like_a_book_says_what_it_cannot_do(model: LSTMLanguageModel, book: TokenStream, name: str) -> None:
    with pytest.raises(AttributeError, match=f"a model like a book has no {name}; use the model"):
        getattr(model_like(model, book), name)


# Lines of 10 to 14 characters: every passage of 20 goes over the end of a line.
VERSES = "雪夜，店门外一条黑影。\n展昭笑道：“好大的雪！”\n白玉堂道：“更衣来了。”\n影房兄说：“请坐，请坐。”\n"


def longest_copy(text: str, book: TokenStream) -> int:
    return novelty(text, book, num_passages=0).longest_copy


def test_no_passage_of_the_book_is_copied(base: Any) -> None:
    book = TokenStream.from_texts([VERSES * 3], tokenizer="characters")
    freely = []
    for temperature in (0.0, 0.8):
        config = SamplerConfig(temperature=temperature, balanced_pairs=False, seed=5)
        sampler = Sampler(base, config, like=book, like_weight=1.0)
        texts = sampler.generate(["", "展昭", VERSES[:30]], num_samples=4, max_new_tokens=150)
        written: Any = sampler.model
        freely += Sampler(written.model, config).generate(["", "展昭"], num_samples=4, max_new_tokens=150)
        assert max(longest_copy(text, book) for text in texts[:8]) < COPY_LIMIT
        # A prompt may be a copy. What follows it is none.
        assert all(longest_copy(text[11:], book) < COPY_LIMIT for text in texts[8:])
    # Without the limit the likeliest text may go round in one line, but samples copy.
    assert max(longest_copy(text, book) for text in freely) > COPY_LIMIT


def test_nothing_is_copied_however_a_text_is_written(model: LSTMLanguageModel, tmp_path: Path) -> None:
    book = TokenStream.from_texts([VERSES], tokenizer="characters")
    sampler = Sampler(model, SamplerConfig(balanced_pairs=False), like=book, like_weight=1.0)
    (found,) = sampler.beam_search(num_beams=3, max_new_tokens=60)
    assert COPY_LIMIT - 9 < longest_copy(found.text, book) < COPY_LIMIT
    whole = sampler.generate(max_new_tokens=60)
    text, state = "", None
    for _ in range(6):
        result = sampler.generate(state=state, max_new_tokens=10, return_results=True)
        state = GenerationState.from_tensors(result.state.to_tensors(), sampler.model)
        text += result.text
    assert text == whole
    writer = CoWriter(sampler, "雪夜", max_new_tokens=7)
    for _ in range(12):
        writer.go_on()
    assert COPY_LIMIT - 9 < longest_copy(writer.text, book) < COPY_LIMIT


@pytest.mark.parametrize("config", [SamplerConfig(), SamplerConfig(rename={"展": "李"}), SamplerConfig(top_k=1)])
def test_quotes_are_closed_and_nothing_is_copied(model: LSTMLanguageModel, config: SamplerConfig) -> None:
    book = TokenStream.from_texts([VERSES * 3], tokenizer="characters")
    sampler = Sampler(model, config, like=book, like_weight=1.0)
    for text in sampler.generate([""], num_samples=12, max_characters=300, end="sentence"):
        assert longest_copy(text, book) < COPY_LIMIT
        assert text.count("“") == text.count("”")


def test_a_copy_is_written_where_nothing_else_is_left(model: LSTMLanguageModel) -> None:
    config = SamplerConfig(banned_words=[token for token in model.vocabulary.texts() if token not in ("雪", "")])
    text = Sampler(model, config, like=["雪" * 50], like_weight=1.0).generate(max_new_tokens=30)
    assert text == "雪" * 30


def test_words_and_their_separators_are_copied_no_further() -> None:
    text = (
        " ".join(
            ["the", "old", "man", "sat", "by", "the", "door", "of", "an", "inn", "and", "looked", "at", "the", "snow"]
            * 3
        )
        + "\n"
    )
    book = TokenStream.from_texts([text * 3], tokenizer="whitespace")
    vocabulary = Vocabulary.from_stream(book, min_freq=1)
    ngram = NGramLanguageModel.from_stream(book, vocabulary, order=3)
    sampler = Sampler(ngram, like=book, like_weight=1.0)
    for written in sampler.generate([""], num_samples=5, max_new_tokens=60):
        assert longest_copy(written, book) < COPY_LIMIT


@given(
    book=st.text("甲乙", min_size=8, max_size=120),
    tokens=st.lists(st.text("甲乙丙", max_size=COPY_LIMIT), max_size=12),
    cut=st.tuples(st.integers(0, 120), st.integers(0, 40)),
    after=st.text("甲丙", max_size=3),
    copied=st.tuples(st.integers(0, 120), st.integers(1, COPY_LIMIT)),
)
def test_tokens_that_complete_a_copy_are_those_that_do(
    book: str, tokens: list[str], cut: tuple[int, int], after: str, copied: tuple[int, int]
) -> None:
    tokens = [*tokens, book[copied[0] :][: copied[1]], "乙"]
    text = book[cut[0] :][: cut[1]] + after
    expected = {
        number
        for number, token in enumerate(tokens)
        for end in range(len(text) + 1, len(text + token) + 1)
        if end >= COPY_LIMIT and (text + token)[end - COPY_LIMIT : end] in book
    }
    assert set(Copies(book, tokens, "").completing([text, ""])[0]) == expected
