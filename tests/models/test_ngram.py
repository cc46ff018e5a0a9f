"""The n-gram model against Kneser-Ney smoothing computed from the published formulas with dictionaries."""

import math
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zh_lstm_lm import (
    ConfigError,
    DataError,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    Vocabulary,
    evaluate,
    rescore,
    sample_novel,
    score,
    score_batch,
    suggest,
)
from zh_lstm_lm.models import ngram_counts
from zh_lstm_lm.models.base import TextState
from zh_lstm_lm.models.ngram import NGramContext

BOS = 0
TEXTS = [
    "展昭道：“好大的雪！”\n白玉堂笑道：“雪大，酒才好喝。”\n",
    "展昭换了夜行衣，出了店门。\n展昭喝道：“哪里走！”\n",
    "展昭道：“得罪了。”\n白玉堂道：“请。”\n",
]


class KneserNey:
    """Interpolated modified Kneser-Ney smoothing, formula by formula (Chen and Goodman, 1999), on lists of ids."""

    def __init__(
        self, documents: Sequence[Sequence[int]], order: int, vocab_size: int, prune: Sequence[int] = ()
    ) -> None:
        self.order, self.vocab_size = order, vocab_size
        occurrences: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 2)]
        for document in documents:
            for stop in range(2, len(document) + 1):
                for n in range(1, min(order, stop) + 1):
                    occurrences[n][tuple(document[stop - n : stop])] += 1
        # The counts of the tokens after each context.
        self.after: list[dict[tuple[int, ...], dict[int, int]]] = [defaultdict(dict) for _ in range(order + 1)]
        self.discounts: list[tuple[float, ...]] = [()] * (order + 1)
        self.dropped: set[tuple[int, ...]] = set()
        for n in range(1, order + 1):
            before = Counter(longer[1:] for longer in occurrences[n + 1]) if n < order else {}
            for gram, number in occurrences[n].items():
                continues = n < order and gram[0] != BOS
                self.after[n][gram[:-1]][gram[-1]] = before[gram] if continues else number
                if prune and number <= prune[min(n, len(prune)) - 1]:
                    self.dropped.add(gram)
            self.discounts[n] = self._discounts(Counter(count for c in self.after[n].values() for count in c.values()))

    @staticmethod
    def _discounts(counts_of_counts: Counter[int]) -> tuple[float, ...]:
        n1, n2, n3, n4 = (counts_of_counts[count] for count in (1, 2, 3, 4))
        if n1 and n2 and n3 and n4:
            y = n1 / (n1 + 2 * n2)
            discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
            if 0 < discounts[0] < 1 and 0 < discounts[1] < 2 and 0 < discounts[2] < 3:
                return discounts
        return (0.5, 1.0, 1.5)

    def prob(self, token: int, context: tuple[int, ...]) -> float:
        """The probability of a token after at most order - 1 tokens."""
        n = len(context) + 1
        lower = self.prob(token, context[1:]) if context else 1 / self.vocab_size
        after = self.after[n].get(context)
        if not after:
            return lower
        kept, left = 0.0, 0.0
        for follower, count in after.items():
            discount = count if (*context, follower) in self.dropped else self.discounts[n][min(count, 3) - 1]
            left += discount
            kept += (count - discount) * (follower == token)
        return (kept + left * lower) / sum(after.values())


def documents_of(model: NGramLanguageModel, stream: TokenStream) -> list[list[int]]:
    ids = model.vocabulary.encode_stream(stream).tolist()
    starts = [position for position, token_id in enumerate(ids) if token_id == BOS]
    return [ids[start:stop] for start, stop in pairwise([*starts, len(ids)])]


def characters(texts: Sequence[str]) -> TokenStream:
    return TokenStream.from_texts(texts, tokenizer="characters")


def all_log_probs(model: NGramLanguageModel, ids: Sequence[int]) -> torch.Tensor:
    """After each of the ids. **Shape:** (number of ids, vocab_size)."""
    return model.log_probs(model.read(torch.tensor([[*ids]]))[0])


@pytest.fixture(scope="module")
def stream() -> TokenStream:
    return characters(TEXTS)


@pytest.fixture(scope="module")
def vocabulary(stream: TokenStream) -> Vocabulary:
    return Vocabulary.from_stream(stream)


@example(texts=["的", "一", "是", "了", "我"], read="的", order=5, prune=(0,))  # no n-grams above the length of all
@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="的一是了我他\n", min_size=1, max_size=40), min_size=1, max_size=4),
    read=st.text(alphabet="的一是了我你", max_size=8),
    order=st.integers(1, 5),
    prune=st.sampled_from([(0,), (0, 1), (0, 0, 1), (0, 0, 0, 2), (0, 2, 3)]),
)
def test_every_probability_is_that_of_the_formulas(
    texts: list[str], read: str, order: int, prune: tuple[int, ...]
) -> None:
    stream = characters(texts)
    vocabulary = Vocabulary.from_stream(stream)
    if stream.num_tokens < order:
        return
    model = NGramLanguageModel.from_stream(stream, vocabulary, order=order, prune=prune)
    expected = KneserNey(documents_of(model, stream), order, len(vocabulary), prune)
    for n, discounts in enumerate(model.discounts, start=1):
        assert discounts == pytest.approx(expected.discounts[n])
    ids = [BOS, *vocabulary.encode(read)]
    log_probs = all_log_probs(model, ids)
    assert log_probs.isfinite().all()
    torch.testing.assert_close(
        log_probs.double().exp().sum(dim=1), torch.ones(len(ids), dtype=torch.float64), rtol=0, atol=1e-5
    )
    seen = {*ids, *vocabulary.encode("".join(texts))}
    for position in range(len(ids)):
        context = tuple(ids[max(0, position + 2 - order) : position + 1]) if order > 1 else ()
        for token in seen:
            assert math.exp(log_probs[position, token]) == pytest.approx(expected.prob(token, context), rel=1e-5)


def test_it_is_that_of_the_formulas_on_words_of_a_novel() -> None:
    """With counts of counts from which discounts can be estimated, and words that are spelled."""
    text = sample_novel()[:20_000]
    stream = TokenStream.from_texts([text[:12_000], text[12_000:]])
    vocabulary = Vocabulary.from_stream(stream, min_freq=2)
    model = NGramLanguageModel.from_stream(stream, vocabulary, order=3, prune=(0, 0, 1))
    documents = documents_of(model, stream)
    expected = KneserNey(documents, 3, len(vocabulary), (0, 0, 1))
    assert ngram_counts.FALLBACK_DISCOUNTS not in model.discounts
    ids = documents[1][:300]
    log_probs = all_log_probs(model, ids)
    torch.testing.assert_close(log_probs.double().exp().sum(dim=1), torch.ones(300).double(), rtol=0, atol=1e-5)
    for position in range(0, 300, 3):
        context = tuple(ids[max(0, position - 1) : position + 1])
        for token in ids[position : position + 5]:
            assert math.exp(log_probs[position, token]) == pytest.approx(expected.prob(token, context), rel=1e-5)


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not on the path")
@pytest.mark.parametrize(("order", "thresholds"), [(2, ()), (4, ()), (4, (0, 0, 1))])
def test_it_is_that_of_kenlm(order: int, thresholds: tuple[int, ...], tmp_path: Path) -> None:
    """On characters of a novel, each paragraph a document that ends with id 1, as with KenLM's ``</s>``."""
    paragraphs = [line for line in sample_novel().split("\n") if line]
    words = sorted({character for line in paragraphs for character in line if not character.isspace()})
    numbers = {word: number for number, word in enumerate(words, start=2)}
    lines = [[word for word in line if word in numbers] for line in paragraphs]
    (tmp_path / "text").write_text("".join(" ".join(line) + "\n" for line in lines), encoding="utf-8")
    prune = ["--prune", *map(str, thresholds)] if thresholds else []
    command = ["lmplz", "-o", str(order), "-S", "100M", "--text", "text", "--arpa", "arpa", *prune]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    ids = torch.tensor([token for line in lines for token in (0, *map(numbers.__getitem__, line), 1)])
    # KenLM's vocabulary has <unk> where ours has <bos>: a token that is never a target.
    counts = ngram_counts.count_ngrams(ids, order, vocab_size=len(words) + 2, bos_id=0, prune=thresholds or (0,))
    # It only carries the size here: three special tokens, and all words but one.
    vocabulary = Vocabulary(words[1:], tokenizer="characters", unknown="unk")
    model = NGramLanguageModel(vocabulary, counts)
    names = {"<s>": 0, "</s>": 1, **numbers}
    checked = 0
    for line in (tmp_path / "arpa").read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        tokens = fields[1].split() if len(fields) > 1 else []
        if "<unk>" in tokens or tokens[-1:] in ([], ["<s>"]):
            continue
        context, target = [names[token] for token in tokens[:-1]], names[tokens[-1]]
        padded = torch.full((1, order - 1), -1)
        padded[0, order - 1 - len(context) :] = torch.tensor(context)
        log_prob = model.target_log_probs(NGramContext(padded), torch.tensor([target]))
        assert float(log_prob) / math.log(10) == pytest.approx(float(fields[0]), abs=1e-5)
        checked += 1
    assert checked > 2000


def test_novels_are_predicted_as_by_kenlm(shared_data: Path, tmp_path: Path) -> None:
    """KenLM's modified Kneser-Ney of order 5 over words has 6.357 bits per character there."""
    pytest.importorskip("rjieba")
    corpus = TokenStream.from_files(
        shared_data / "wuxia", tokenizer="rjieba", clean="indents+empty_lines", normalize="none", cache_dir=tmp_path
    )
    train, _, test = corpus.split(valid=0.05, test=0.05)
    vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
    bits = evaluate(NGramLanguageModel.from_stream(train, vocabulary, order=4), test).bits_per_character
    assert bits is not None
    assert bits <= 6.358


def test_no_ngram_reaches_into_another_document(vocabulary: Vocabulary) -> None:
    """The second document is the same one where the order of the documents changes."""
    forward = NGramLanguageModel.from_stream(characters(TEXTS), vocabulary)
    backward = NGramLanguageModel.from_stream(characters(TEXTS[::-1]), vocabulary)
    ids = [BOS, *vocabulary.encode(TEXTS[1])]
    assert torch.equal(all_log_probs(forward, ids), all_log_probs(backward, ids))
    first = all_log_probs(forward, [BOS])[0].exp()
    assert first.argmax() == vocabulary.token_to_id("展")
    # What was read before the start of a document does not matter.
    before = vocabulary.encode("白玉堂")
    assert torch.equal(all_log_probs(forward, [*before, *ids])[len(before) :], all_log_probs(forward, ids))


def test_one_token_has_the_log_probability_that_it_has_among_all(stream: TokenStream, vocabulary: Vocabulary) -> None:
    model = NGramLanguageModel.from_stream(stream, vocabulary)
    ids = torch.tensor([[BOS, *vocabulary.encode(TEXTS[0] + "雪夜龍")]])
    context, _ = model.read(ids[:, :-1])
    log_probs, targets = model.log_probs(context), ids[0, 1:]
    assert torch.equal(model.target_log_probs(context, targets), log_probs.gather(1, targets[:, None])[:, 0])
    # Each row is the same alone and among others, to the last bit.
    for row in range(len(context)):
        assert torch.equal(model.log_probs(context.rows([row]))[0], log_probs[row])


def test_a_state_continues_a_text(stream: TokenStream, vocabulary: Vocabulary) -> None:
    model = NGramLanguageModel.from_stream(stream, vocabulary)
    ids = torch.tensor([[BOS, *vocabulary.encode(text)[:12]] for text in TEXTS])
    whole, after = model.read(ids)
    state = model.initial_state(3)
    rows = []
    for position in range(ids.shape[1]):
        context, state = model.read(ids[:, position : position + 1], state)
        rows.append(model.log_probs(context))
    assert torch.equal(torch.stack(rows, dim=1).flatten(0, 1), model.log_probs(whole))
    assert torch.equal(state.ids, after.ids)
    assert torch.equal(type(state).cat([state.rows([2]), state.rows([0, 1])]).ids, state.ids[[2, 0, 1]])
    assert torch.equal(model.initial_state(3).restored(state.tensors()).ids, state.ids)
    with pytest.raises(ValueError, match="was expected"):
        model.initial_state(2).restored(state.tensors())
    # Nothing read and the start of a document are different contexts.
    none = model.read(torch.tensor([[vocabulary.token_to_id("展")]]))[0]
    assert not torch.equal(model.log_probs(none), all_log_probs(model, ids[0, :2].tolist())[1:])


def test_it_works_wherever_a_model_does(stream: TokenStream, vocabulary: Vocabulary) -> None:
    model = NGramLanguageModel.from_stream(stream, vocabulary)
    expected = KneserNey(documents_of(model, stream), 4, len(vocabulary))
    held_out = characters(["白玉堂喝道：“好雪！”\n展兄，请。"])
    (document,) = documents_of(model, held_out)
    log_prob = math.fsum(
        math.log(expected.prob(document[stop], tuple(document[max(0, stop - 3) : stop])))
        for stop in range(1, len(document))
    )
    for batch_size in (1, 8):
        assert evaluate(model, held_out, batch_size=batch_size).log_prob == pytest.approx(log_prob, rel=1e-6)
    text = "白玉堂喝道：“好雪！”"
    together = score_batch(model, [text, "展昭"])
    assert together[0].log_probs == score(model, text).log_probs
    assert score(model, "喝道", state=score(model, "白玉堂").state).log_probs == together[0].log_probs[3:5]
    assert rescore(model, ["展昭道", "道昭展"])[0].text == "展昭道"
    assert suggest(model, "白玉", k=1)[0].word == "堂"
    sampler = Sampler(model, SamplerConfig(seed=1))
    texts = sampler.generate(["展昭", "白玉堂", "雪"], max_new_tokens=20)
    assert texts == [sampler.generate(prompt, max_new_tokens=20) for prompt in ("展昭", "白玉堂", "雪")]
    assert sampler.generate("展昭", max_new_tokens=4, state=TextState(BOS)).startswith("展昭")


@pytest.mark.parametrize("prune", [(0,), (0, 1, 2)])
def test_the_counts_do_not_depend_on_how_many_positions_are_sorted_at_once(
    stream: TokenStream, vocabulary: Vocabulary, prune: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = NGramLanguageModel.from_stream(stream, vocabulary, order=5, prune=prune)
    monkeypatch.setattr(ngram_counts, "_SORTED_AT_ONCE", 5)
    parts = NGramLanguageModel.from_stream(stream, vocabulary, order=5, prune=prune)
    assert parts.num_ngrams == whole.num_ngrams
    ids = [BOS, *vocabulary.encode(TEXTS[0])]
    assert torch.equal(all_log_probs(parts, ids), all_log_probs(whole, ids))


def test_bad_arguments_are_refused(stream: TokenStream, vocabulary: Vocabulary) -> None:
    for order in (0, 9, 2.0, True):
        with pytest.raises(ConfigError, match="order must be"):
            NGramLanguageModel.from_stream(stream, vocabulary, order=order)  # type: ignore[arg-type]
    for prune in ((), (1,), (0, 2, 1)):
        with pytest.raises(ConfigError, match="prune must begin with 0 and not decrease"):
            NGramLanguageModel.from_stream(stream, vocabulary, prune=prune)
    with pytest.raises(ConfigError, match="a value of prune must be from 0 to"):
        NGramLanguageModel.from_stream(stream, vocabulary, prune=(0, -1))
    with pytest.raises(
        DataError, match="the text has 3 tokens, fewer than the order 4; give more text or a lower order"
    ):
        NGramLanguageModel.from_stream(characters(["雪大"]), vocabulary)
    with pytest.raises(ConfigError, match="stream must be a TokenStream"):
        NGramLanguageModel.from_stream("雪大", vocabulary)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_an_error_of_the_library_and_moves_nothing() -> None:
    model = NGramLanguageModel.from_stream(characters(TEXTS), Vocabulary.from_stream(characters(TEXTS)))
    for name in ("cuda", torch.device("cuda"), "nonsense"):
        with pytest.raises(ConfigError, match="cannot be used here"):
            model.to(name)
    assert model.to("cpu").device.type == "cpu"
