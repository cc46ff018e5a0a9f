"""The KenLM interface: against KenLM itself on a bigram model, and as code that was written for it calls it."""

import copy
import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from zh_lstm_lm import ConfigError, DataError, LSTMLanguageModel, ModelConfig, TokenStream, Vocabulary, score
from zh_lstm_lm.evaluation import kenlm as adapter

WORDS = ["展昭", "大喜", "。"]
SENTENCES = ["展昭 大喜 。", "展昭 白玉堂 。", "。 。", "白玉堂", "", "大喜  展昭\t。", "展昭\u3000大喜"]


@pytest.fixture(scope="module")
def bigrams() -> dict[str, dict[str, float]]:
    """P(word | word before): a table that a back-off model holds exactly; after <unk> and after nothing, the unigrams."""
    unigrams = {"</s>": 0.2, "<unk>": 0.1, "展昭": 0.4, "大喜": 0.1, "。": 0.2}
    table = {"<unk>": unigrams, "": unigrams}
    for number, before in enumerate(["<s>", "</s>", *WORDS], 1):
        unknown = 0.02 * number
        shares = [1 + (3 * number + 2 * place) % 5 for place in range(4)]
        known = [share / sum(shares) * (1 - unknown) for share in shares]
        table[before] = {"<unk>": unknown, **dict(zip(["</s>", *WORDS], known, strict=True))}
    return table


@pytest.fixture(scope="module")
def lstm(bigrams: dict[str, dict[str, float]]) -> LSTMLanguageModel:
    """An LSTM that remembers the last word alone, and so is the bigram model."""
    counts = [1, *(round(1000 * bigrams[""][word]) for word in ("</s>", "<unk>", *WORDS))]
    vocabulary = Vocabulary(WORDS, unknown="unk", tokenizer="characters", counts=counts)
    size = len(vocabulary)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=size, hidden_size=size, output="full"))
    names = ["<s>", "</s>", "<unk>", *WORDS]
    chances = torch.tensor([[bigrams[before].get(word, 1e-30) for before in names] for word in names])
    weights: dict[str, Any] = dict(model.named_parameters())
    with torch.no_grad():
        for parameter in weights.values():
            parameter.zero_()
        weights["embedding.weight"].copy_(torch.eye(size))
        gates = weights["layers.0.bias_ih_l0"].view(4, size)  # input, forget, cell, output
        gates[0], gates[1], gates[3] = 50.0, -50.0, 50.0
        weights["layers.0.weight_ih_l0"].view(4, size, size)[2] = 50.0 * torch.eye(size)
        weights["output.weight"].copy_(chances.log() / math.tanh(1.0))
    return model.eval()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, bigrams: dict[str, dict[str, float]]) -> Any:
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed (the extra of this name)")
    unigrams = bigrams[""]
    befores = ["<s>", *WORDS]
    lines = ["\\data\\", f"ngram 1={len(unigrams) + 1}", f"ngram 2={len(befores) * 4}", "", "\\1-grams:"]
    for word in ["<s>", *unigrams]:
        chance = math.log10(unigrams[word]) if word in unigrams else -99
        backoff = math.log10(bigrams[word]["<unk>"] / unigrams["<unk>"]) if word in befores else 0.0
        lines.append(f"{chance:.7f}\t{word}" + (f"\t{backoff:.7f}" if word != "</s>" else ""))
    lines += ["", "\\2-grams:"]
    for before, word in itertools.product(befores, ["</s>", *WORDS]):
        lines.append(f"{math.log10(bigrams[before][word]):.7f}\t{before} {word}")
    path = tmp_path_factory.mktemp("arpa") / "bigrams.arpa"
    path.write_text("\n".join([*lines, "", "\\end\\", ""]), encoding="utf-8")
    return kenlm.Model(str(path))


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_scores_are_those_of_kenlm(real: Any, lstm: LSTMLanguageModel, sentence: str, bos: bool, eos: bool) -> None:
    ours = adapter.Model(lstm, order=2)
    assert ours.order == real.order
    assert ours.score(sentence, bos=bos, eos=eos) == pytest.approx(real.score(sentence, bos=bos, eos=eos), abs=1e-4)
    assert ours.perplexity(sentence) == pytest.approx(real.perplexity(sentence), rel=1e-3)
    expected = list(real.full_scores(sentence, bos=bos, eos=eos))
    found = list(ours.full_scores(sentence, bos=bos, eos=eos))
    assert [oov for _, _, oov in found] == [oov for _, _, oov in expected]
    assert [log_prob for log_prob, _, _ in found] == pytest.approx([p for p, _, _ in expected], abs=1e-4)
    assert ours.score(sentence.encode()) == ours.score(sentence)
    if not any(oov for _, _, oov in found):  # an n-gram model forgets at an unknown word
        assert [length for _, length, _ in found] == [length for _, length, _ in expected]


def test_states_are_used_as_with_kenlm(real: Any, lstm: LSTMLanguageModel) -> None:
    import kenlm

    ours = adapter.Model(lstm, order=2)
    for begin in ("BeginSentenceWrite", "NullContextWrite"):
        states: list[Any] = [adapter.State(), adapter.State(), kenlm.State(), kenlm.State()]
        getattr(ours, begin)(states[0])
        getattr(real, begin)(states[2])
        for word in ["展昭", "。", "白玉堂", "大喜", "</s>"]:
            full, expected = (
                ours.BaseFullScore(states[0], word, states[1]),
                real.BaseFullScore(*states[2:3], word, states[3]),
            )
            assert full.log_prob == pytest.approx(expected.log_prob, abs=1e-4)
            assert full.oov == expected.oov
            assert ours.BaseScore(states[0], word, states[1]) == pytest.approx(full.log_prob)
            states = [states[1], states[0], states[3], states[2]]
    for word in [*WORDS, "<s>", "</s>", "<unk>", "白玉堂"]:
        assert (word in ours) == (word in real), word


def test_the_names_are_those_of_kenlm(real: Any) -> None:
    public = {name for name in dir(real) if not name.startswith("_")} | {"__contains__"}
    assert public <= set(dir(adapter.Model(_any_model())))
    import kenlm

    assert {"Model", "LanguageModel", "State", "FullScoreReturn"} <= set(dir(kenlm)) & set(dir(adapter))


def _any_model() -> LSTMLanguageModel:
    vocabulary = Vocabulary(tokenizer="characters")
    return LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=2, hidden_size=2)).eval()


def test_states_are_values(model: LSTMLanguageModel) -> None:
    ours = adapter.Model(model)
    start, first, second = adapter.State(), adapter.State(), adapter.State()
    ours.BeginSentenceWrite(start)
    assert start != first
    ours.BaseScore(start, "展", first)
    ours.BaseScore(start, "展", second)
    assert first == second
    assert hash(first) == hash(second)
    assert copy.copy(first) == copy.deepcopy(first) == first
    ours.BaseScore(first, "昭", first)  # in and out may be the same
    assert first != second
    assert first != "展"


def test_a_sentence_is_the_sum_of_its_steps_and_that_of_score(model: LSTMLanguageModel) -> None:
    ours = adapter.Model(model)
    expected = score(model, "展昭龘😀道", end=True).log_prob / math.log(10)
    assert ours.score("展 昭 龘😀 道") == pytest.approx(expected, abs=1e-4)
    assert [token.oov for token in ours.full_scores("展 昭 龘😀 道")] == [False, False, True, False, False]
    state, total = adapter.State(), 0.0
    ours.BeginSentenceWrite(state)
    for token in ["展", "昭", "龘😀", "道", "</s>"]:
        total += ours.BaseScore(state, token, state)
    assert total == pytest.approx(expected, abs=1e-4)
    long = " ".join("展昭道" * 200)
    assert ours.score(long, eos=False) == pytest.approx(score(model, "展昭道" * 200).log_prob / math.log(10), rel=1e-5)


def test_tokens_can_be_cut_anew(texts: list[str]) -> None:
    from zh_lstm_lm import TokenStream

    stream = TokenStream.from_texts([text * 2 for text in texts], tokenizer="jieba")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=6, hidden_size=8)).eval()
    ours = adapter.Model(model, resegment=True)
    characters = " ".join("白玉堂拔剑在手")
    expected = score(model, "白玉堂拔剑在手", end=True).log_prob / math.log(10)
    assert ours.score(characters) == pytest.approx(expected, abs=1e-4)
    assert ours.score("白玉堂 拔剑 在手") == pytest.approx(expected, abs=1e-4)
    assert ours.perplexity(characters) == pytest.approx(10 ** (-expected / 8), rel=1e-3)
    parts = [token.log_prob for token in ours.full_scores(characters)]
    assert len(parts) == 8
    assert sum(parts) == pytest.approx(expected, abs=1e-4)
    assert parts[0] == pytest.approx(parts[1])  # of one word
    assert adapter.Model(model).score(characters) != pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("resegment", [True, False])
def test_what_a_spelling_detector_calls_runs(model: LSTMLanguageModel, tmp_path: Path, resegment: bool) -> None:
    """The calls of pycorrector's detector: scores of character n-grams without ends, and perplexity."""
    model.save_pretrained(tmp_path / "model")
    lm = adapter.Model(str(tmp_path / "model"), resegment=resegment)
    sentence = "白玉堂笑道：“雪大，酒才好喝。”"
    averages = []
    for n in (2, 3):
        scores = [lm.score(" ".join(sentence[i : i + n]), bos=False, eos=False) for i in range(len(sentence) - n + 1)]
        assert all(math.isfinite(value) and value < 0 for value in scores)
        averages.append(statistics.median(scores))
    assert averages[1] < averages[0]
    assert 1 < lm.perplexity(" ".join(sentence)) < math.inf
    assert lm.path == str(tmp_path / "model")


def test_what_is_no_sentence_is_refused(model: LSTMLanguageModel) -> None:
    with pytest.raises(ConfigError, match="sentence"):
        adapter.Model(model).score(["展", "昭"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="surrogate"):
        adapter.Model(_any_model()).score("展 \ud800")
    with pytest.raises(DataError, match="surrogate"):
        adapter.Model(_any_model(), resegment=True).score("展 \ud800")
    with pytest.raises(DataError, match="UTF-8"):
        adapter.Model(_any_model()).score(b"\xb5")
    with pytest.raises(ConfigError, match="order"):
        adapter.Model(model, order=1)


def test_tokens_that_compose_into_other_characters_cannot_be_cut_anew() -> None:
    stream = TokenStream.from_texts(["展昭é"], tokenizer="characters", normalize="nfc")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=4, hidden_size=4))
    ours = adapter.Model(model, resegment=True)
    assert len(list(ours.full_scores("展 昭 é"))) == 4
    with pytest.raises(DataError, match="once they are joined"):
        list(ours.full_scores("e \u0301"))
