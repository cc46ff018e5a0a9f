import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import (
    ConfigError,
    DataError,
    LSTMLanguageModel,
    ModelConfig,
    Sampler,
    SamplerConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
)

AtEachWord = Callable[[Callable[[], object]], AbstractContextManager[None]]


def free(**options: Any) -> SamplerConfig:
    """A config without the rules of punctuation, so that the model alone decides."""
    return SamplerConfig(**{"balanced_pairs": False, "tidy_paragraphs": False, **options})


PROMPTS = ["", "展昭", "二人推门进了酒店，\n", "龘龘 hello 😀", "\n\n"]


class Chunks:
    """Cuts text into words of one to four characters."""

    def tokenize(self, text: str) -> list[str]:
        tokens, lengths = [], itertools.cycle([2, 1, 3, 4])
        while text:
            length = next(lengths)
            tokens.append(text[:length])
            text = text[length:]
        return tokens

    def detokenize(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def words(texts: list[str]) -> Vocabulary:
    """Words of several lengths, the characters, and the bytes."""
    return Vocabulary.from_stream(TokenStream.from_texts(texts, tokenizer=Chunks()))


@pytest.fixture
def word_model(words: Vocabulary) -> LSTMLanguageModel:
    return LSTMLanguageModel(words, ModelConfig(embedding_dim=12, hidden_size=16, num_layers=2, seed=3)).eval()


def drawable(vocabulary: Vocabulary) -> list[int]:
    never = {vocabulary.bos_id, vocabulary.unk_id, *vocabulary.byte_ids}
    return [token_id for token_id in range(len(vocabulary)) if token_id not in never]


def next_log_probs(model: LSTMLanguageModel, ids: list[int]) -> Tensor:
    """Log-probabilities of the next token among those that may be drawn, after reading all ids at once."""
    with torch.no_grad():
        logits = model(torch.tensor([[model.vocabulary.bos_id, *ids]]))[0][0, -1].double()
    masked = torch.full_like(logits, -math.inf)
    kept = drawable(model.vocabulary)
    masked[kept] = logits[kept]
    return torch.log_softmax(masked, dim=-1)


def greedy_text(model: LSTMLanguageModel, prompt: str, length: int) -> str:
    ids = model.vocabulary.encode(prompt)
    text = prompt
    for _ in range(length):
        ids.append(int(next_log_probs(model, ids).argmax()))
        text += model.vocabulary.id_to_token(ids[-1])
    return text


@pytest.mark.parametrize("prompt", PROMPTS)
def test_temperature_zero_takes_the_likeliest_token_at_every_step(
    model: LSTMLanguageModel, word_model: LSTMLanguageModel, prompt: str
) -> None:
    for lm in (model, word_model):
        sampler = Sampler(lm, free(temperature=0.0))
        assert sampler.generate(prompt, max_new_tokens=25) == greedy_text(lm, prompt, 25)


@pytest.mark.parametrize(
    "options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}, {"temperature": 1e-40}, {"temperature": 1e-300}]
)
def test_narrow_draws_take_the_likeliest_token_too(word_model: LSTMLanguageModel, options: dict[str, Any]) -> None:
    sampler = Sampler(word_model, free(**{"temperature": 1.0, "top_p": 1.0, "seed": 5, **options}))
    assert sampler.generate("展昭", max_new_tokens=20) == greedy_text(word_model, "展昭", 20)


def test_equal_seeds_give_equal_text_and_others_another(word_model: LSTMLanguageModel) -> None:
    texts = [Sampler(word_model, free(seed=seed)).generate("展昭", max_new_tokens=30) for seed in (0, 0, 1, 2, 3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 4


def test_each_call_starts_again(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model, free(seed=4))
    first = sampler.generate("展昭", max_new_tokens=30)
    sampler.generate("白玉堂", max_new_tokens=7)
    next(iter(sampler.stream("二人", max_new_tokens=7)))
    assert sampler.generate("展昭", max_new_tokens=30) == first


def test_longer_text_begins_with_the_shorter_one(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model, free(seed=4))
    assert sampler.generate(max_new_tokens=40).startswith(sampler.generate(max_new_tokens=15))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_generated_text_is_what_is_streamed(word_model: LSTMLanguageModel, prompt: str) -> None:
    sampler = Sampler(word_model, free(seed=1))
    pieces = list(sampler.stream(prompt, max_new_tokens=12))
    assert "".join(pieces) == sampler.generate(prompt, max_new_tokens=12)
    assert pieces[: len(pieces) - 12] == ([prompt] if prompt else [])
    tokens = {word_model.vocabulary.id_to_token(token_id) for token_id in drawable(word_model.vocabulary)}
    assert set(pieces[-12:]) <= tokens


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("number", [0, 1, 5])
def test_number_of_new_tokens_is_met(word_model: LSTMLanguageModel, prompt: str, number: int) -> None:
    sampler = Sampler(word_model, free(seed=1))
    pieces = list(sampler.stream(prompt, max_new_tokens=number))
    assert len(pieces) == number + (1 if prompt else 0)
    assert sampler.generate(prompt, max_new_tokens=number).startswith(prompt)


def test_without_a_limit_it_is_two_hundred_tokens(word_model: LSTMLanguageModel) -> None:
    assert len(list(Sampler(word_model).stream("展昭"))) == 201


def test_number_of_characters_is_met_exactly(word_model: LSTMLanguageModel) -> None:
    longest = max(len(word_model.vocabulary.id_to_token(token_id)) for token_id in drawable(word_model.vocabulary))
    assert longest == 4  # words that must not be drawn where less room is left
    sampler = Sampler(word_model, free(seed=2))
    for length in range(1, 61):
        assert len(sampler.generate(max_characters=length)) == length
    for config in (free(seed=2), free(temperature=0.0)):
        for prompt in ("展昭", "龘😀"):
            for length in (2, 3, 4, 5, 6, 7, 30, 60):
                text = Sampler(word_model, config).generate(prompt, max_characters=length)
                assert len(text) == length
                assert text.startswith(prompt)


def test_both_limits_hold(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model, free(seed=2))
    assert len(sampler.generate("展昭", max_characters=50, max_new_tokens=1000)) == 50
    pieces = list(sampler.stream("展昭", max_characters=50, max_new_tokens=3))
    assert len(pieces) == 4
    assert "".join(pieces) == sampler.generate("展昭", max_new_tokens=3)


def test_prompt_longer_than_the_text_is_refused(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model)
    assert sampler.generate("展昭道：", max_characters=4) == "展昭道："
    with pytest.raises(ConfigError, match="at least 4 here, got 3"):
        sampler.generate("展昭道：", max_characters=3)


@pytest.fixture
def pieces(word_model: LSTMLanguageModel) -> list[str]:
    return list(Sampler(word_model, free(seed=6)).stream("展昭", max_new_tokens=60))


def text_up_to(pieces: list[str], stops: list[str]) -> str:
    """The prompt and the words until one of the strings is complete."""
    for end in range(2, len(pieces) + 1):
        if any(stop in "".join(pieces[1:end]) for stop in stops):
            return "".join(pieces[:end])
    return "".join(pieces)


def test_stop_string_ends_the_text(word_model: LSTMLanguageModel, pieces: list[str]) -> None:
    sampler = Sampler(word_model, free(seed=6))
    new = "".join(pieces[1:])
    stops = [[new[start : start + size]] for size in (1, 2, 3, 7) for start in range(0, 40, 5)]
    stops += [[pieces[20]], [pieces[30], pieces[10]], [new[30:32], new[25:40]], ["龘"], [new[:3], "龘"]]
    for strings in stops:
        text = sampler.generate("展昭", max_new_tokens=60, stop=strings)
        assert text == text_up_to(pieces, strings), strings
    assert len({text_up_to(pieces, strings) for strings in stops}) > 10


def test_stop_string_across_words_ends_the_text(word_model: LSTMLanguageModel, pieces: list[str]) -> None:
    sampler = Sampler(word_model, free(seed=6))
    across = pieces[10][-1] + "".join(pieces[11:14]) + pieces[14][0]
    assert all(across not in piece for piece in pieces)
    text = sampler.generate("展昭", max_new_tokens=60, stop=across)
    assert text == text_up_to(pieces, [across])
    assert len(text) < len("".join(pieces))


def test_stop_string_that_begins_in_the_prompt_ends_the_text(word_model: LSTMLanguageModel, pieces: list[str]) -> None:
    sampler = Sampler(word_model, free(seed=6))
    text = sampler.generate("展昭", max_new_tokens=60, stop="昭" + pieces[1])
    assert text == "展昭" + pieces[1]


def test_stop_string_inside_the_prompt_does_not_end_the_text(word_model: LSTMLanguageModel) -> None:
    text = Sampler(word_model, free(temperature=0.0)).generate("展昭", max_new_tokens=5, stop=["展昭", "展"])
    assert len(text) > 2


def test_stop_strings_work_when_streaming_and_writing(
    word_model: LSTMLanguageModel, pieces: list[str], tmp_path: Path
) -> None:
    sampler = Sampler(word_model, free(seed=6))
    expected = text_up_to(pieces, [pieces[20]])
    assert "".join(sampler.stream("展昭", max_new_tokens=60, stop=[pieces[20]])) == expected
    path = sampler.write(tmp_path / "novel.txt", prompt="展昭", max_new_tokens=60, stop=pieces[20])
    assert path.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("stop", ["", ["。", ""], [3], b"x", 5, [None]])
def test_stop_that_is_no_string_is_refused(word_model: LSTMLanguageModel, stop: Any) -> None:
    with pytest.raises(ConfigError, match="stop"):
        Sampler(word_model).generate("展昭", max_new_tokens=5, stop=stop)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"max_new_tokens": 1.5}, "max_new_tokens"),
        ({"max_new_tokens": True}, "max_new_tokens"),
        ({"max_characters": 0}, "max_characters"),
        ({"max_characters": "10"}, "max_characters"),
        ({"max_characters": 1}, "max_characters"),
        ({"stop": ""}, "stop"),
    ],
)
def test_bad_limits_are_refused_at_the_call(
    word_model: LSTMLanguageModel, tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    sampler = Sampler(word_model)
    with pytest.raises(ConfigError, match=named):
        sampler.stream("展昭", **options)
    with pytest.raises(ConfigError, match=named):
        sampler.generate("展昭", **options)
    with pytest.raises(ConfigError, match=named):
        sampler.write(tmp_path / "novel.txt", prompt="展昭", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prompt", [3, None, b"x", ["展昭"], "\ud800", "展\udfff"])
def test_prompt_that_is_no_text_is_refused(word_model: LSTMLanguageModel, prompt: Any) -> None:
    with pytest.raises(DataError):
        Sampler(word_model).stream(prompt)


@pytest.mark.parametrize("options", [{}, {"tokenizer": "characters"}, {"unknown": "unk"}])
def test_special_tokens_and_bytes_are_never_drawn(texts: list[str], options: dict[str, str]) -> None:
    stream = TokenStream.from_texts(texts, tokenizer="characters" if "tokenizer" in options else Chunks())
    vocabulary = Vocabulary.from_stream(stream, unknown=options.get("unknown", "characters"))  # type: ignore[arg-type]
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8))
    with torch.no_grad():  # what must not be drawn is made the likeliest by far
        never = [token_id for token_id in range(len(vocabulary)) if token_id not in drawable(vocabulary)]
        model.output.get_parameter("bias")[never] = 50.0
    allowed = {vocabulary.id_to_token(token_id) for token_id in drawable(vocabulary)}
    for temperature in (0.0, 1.0, 100.0):
        sampler = Sampler(model, free(temperature=temperature, top_p=1.0))
        assert set(sampler.stream(max_new_tokens=150)) <= allowed


def test_words_that_look_special_are_only_words() -> None:
    class Lines:
        def tokenize(self, text: str) -> list[str]:
            return [text]

        def detokenize(self, tokens: Sequence[str]) -> str:
            return "".join(tokens)

    stream = TokenStream.from_texts(["<bos>\n<0xE5>\n<unk>\n" * 3], tokenizer=Lines())
    vocabulary = Vocabulary.from_stream(stream)
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=4, hidden_size=4))
    with torch.no_grad():
        for word in ("<bos>", "<0xE5>", "<unk>"):
            model.output.get_parameter("bias")[vocabulary.encode(word)[0]] = 20.0
    drawn = set(Sampler(model, free(temperature=1.0, top_p=1.0)).stream(max_new_tokens=50))
    assert drawn == {"<bos>", "<0xE5>", "<unk>"}


def chi_square(counts: Counter[str], expected: dict[str, float]) -> tuple[float, int]:
    """The statistic and its degrees of freedom; categories that are expected fewer than 5 times are one."""
    rare = [token for token, count in expected.items() if count < 5]
    groups = [[token] for token in expected if token not in rare] + ([rare] if rare else [])
    statistic = 0.0
    for group in groups:
        awaited = sum(expected[token] for token in group)
        statistic += (sum(counts[token] for token in group) - awaited) ** 2 / awaited
    return statistic, len(groups) - 1


def chi_square_tail(statistic: float, freedom: int) -> float:
    """The probability that a chi-square variable lies above a value, in closed form for whole degrees of freedom."""
    half = statistic / 2
    if freedom % 2 == 0:
        return math.exp(-half) * math.fsum(half**k / math.factorial(k) for k in range(freedom // 2))
    terms = (half ** (k - 0.5) / math.gamma(k + 0.5) for k in range(1, (freedom + 1) // 2))
    return math.erfc(math.sqrt(half)) + math.exp(-half) * math.fsum(terms)


@pytest.mark.parametrize(
    ("freedom", "statistic", "tail"),
    [(1, 3.841, 0.05), (2, 5.991, 0.05), (5, 11.070, 0.05), (10, 29.588, 0.001), (11, 19.675, 0.05)],
)
def test_chi_square_tail_is_that_of_the_tables(freedom: int, statistic: float, tail: float) -> None:
    assert chi_square_tail(statistic, freedom) == pytest.approx(tail, rel=2e-3)


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ({"output": "full"}, {}),
        ({"output": "adaptive", "cutoffs": (6, 20)}, {}),
        ({"output": "full", "tie_weights": True}, {"temperature": 0.6}),
        ({"output": "adaptive", "cutoffs": (6, 20), "tie_weights": True}, {}),
        ({"output": "full"}, {"temperature": 1.7, "top_k": 5}),
        ({"output": "adaptive", "cutoffs": (6, 20)}, {"top_p": 0.6}),
    ],
)
def test_draws_follow_the_models_probabilities(sizes: dict[str, Any], options: dict[str, Any]) -> None:
    """One draw from each of 800 seeds; for a right sampler the chance of a false alarm is 1 in 10^6 a case.

    The seeds are fixed, so it fails always or never.
    """
    text = "风雪夜归人，风雪又一村。风起，雪落，人归。\n" * 3
    vocabulary = Vocabulary.from_stream(TokenStream.from_texts([text], tokenizer="characters"))
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, **sizes)).eval()
    settings: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options

    log_probs = next_log_probs(model, vocabulary.encode("风雪")) / settings["temperature"]
    probabilities = torch.softmax(log_probs, dim=-1)
    ranked = sorted(drawable(vocabulary), key=lambda token_id: -float(probabilities[token_id]))
    if settings["top_k"]:
        ranked = ranked[: settings["top_k"]]
    if settings["top_p"] < 1:
        sums = list(itertools.accumulate(float(probabilities[token_id]) for token_id in ranked))
        ranked = ranked[: 1 + sum(total < settings["top_p"] for total in sums)]
    whole = sum(float(probabilities[token_id]) for token_id in ranked)
    draws = 800
    expected = {vocabulary.id_to_token(token_id): draws * float(probabilities[token_id]) / whole for token_id in ranked}

    counts: Counter[str] = Counter()
    for seed in range(draws):
        sampler = Sampler(model, free(seed=seed, **settings))
        counts[sampler.generate("风雪", max_new_tokens=1)[2:]] += 1
    assert set(counts) <= set(expected)
    statistic, freedom = chi_square(counts, expected)
    assert freedom >= 2
    assert chi_square_tail(statistic, freedom) > 1e-6


def test_second_token_depends_on_the_first(words: Vocabulary) -> None:
    """The state is carried: text that is drawn token by token is likely under the model that reads it at once."""
    text = "甲乙丙丁" * 50
    stream = TokenStream.from_texts([text], tokenizer="characters")
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=8, hidden_size=16, dropout=0.0))
    config = TrainerConfig(max_steps=120, batch_size=1, bptt_len=16, learning_rate=0.05, warmup_steps=0)
    Trainer(model, stream, None, config, progress=False).fit()
    written = Sampler(model, free(temperature=0.3)).generate("甲乙", max_characters=40)
    assert written == "甲乙丙丁" * 10


@pytest.mark.parametrize("prompt", ["龘", "😀👍🏽", "hello, world", "\t \u3000", "龘\n" * 20])
def test_unseen_characters_may_stand_in_the_prompt(word_model: LSTMLanguageModel, prompt: str) -> None:
    text = Sampler(word_model, free(temperature=0.0)).generate(prompt, max_new_tokens=5)
    assert text == greedy_text(word_model, prompt, 5)
    assert text.startswith(prompt)


def test_empty_prompt_starts_a_document(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model, free(temperature=0.0))
    assert (
        sampler.generate(max_new_tokens=5) == sampler.generate("", max_new_tokens=5) == greedy_text(word_model, "", 5)
    )


def scores_after(model: LSTMLanguageModel, prompt: str) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(torch.tensor([[0, *model.vocabulary.encode(prompt)]]))[0]
    return logits[0, -1]


@pytest.mark.parametrize("length", [1023, 1024, 1025, 20_000])
def test_long_prompt_is_read_to_its_first_character(model: LSTMLanguageModel, texts: list[str], length: int) -> None:
    with torch.no_grad():  # gates that take little in and forget nothing: every character counts to the end
        model.layers[0].get_parameter("bias_ih_l0")[:16] = -8.0
        model.layers[0].get_parameter("bias_ih_l0")[16:32] = 30.0
    prompt = ("".join(texts) * 200)[:length]
    result = Sampler(model, free(temperature=0.0)).generate(prompt, max_new_tokens=1, return_results=True)
    expected, shorter = (scores_after(model, read).log_softmax(dim=-1).max() for read in (prompt, prompt[20:]))
    assert result.log_prob == pytest.approx(float(expected), abs=1e-5)
    assert result.log_prob != pytest.approx(float(shorter), abs=1e-4)
    text = result.text
    assert text[:-1] == prompt
    assert text[-1] == greedy_text(model, prompt, 1)[-1]


@pytest.mark.parametrize("training", [True, False])
def test_mode_is_given_back(word_model: LSTMLanguageModel, tmp_path: Path, training: bool) -> None:
    word_model.train(training)
    sampler = Sampler(word_model)

    def modes() -> set[bool]:
        return {module.training for module in word_model.modules()}

    sampler.generate("展昭", max_new_tokens=3)
    assert modes() == {training}
    sampler.write(tmp_path / "novel.txt", max_new_tokens=3)
    assert modes() == {training}
    for number, _ in enumerate(sampler.stream("展昭", max_new_tokens=50)):
        assert modes() == {training}  # whoever reads the stream has the model back between two words
        if number == 5:
            break  # half-way
    assert modes() == {training}
    pieces = sampler.stream("展昭", max_new_tokens=50)
    next(pieces)
    next(pieces)
    del pieces
    assert modes() == {training}


def test_mode_is_given_back_after_an_error(word_model: LSTMLanguageModel) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    word_model.train()
    word_model.embedding.register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError):
        Sampler(word_model).generate("展昭", max_new_tokens=3)
    assert all(module.training for module in word_model.modules())
    assert torch.is_grad_enabled()


def test_mode_does_not_change_the_text(words: Vocabulary) -> None:
    model = LSTMLanguageModel(words, ModelConfig(embedding_dim=8, hidden_size=8, dropout=0.5))
    texts = {Sampler(model.train(training)).generate("展昭", max_new_tokens=20) for training in (True, False)}
    assert len(texts) == 1


def test_gradient_mode_of_the_reader_stays(word_model: LSTMLanguageModel) -> None:
    pieces = 0
    for _ in Sampler(word_model).stream("展昭", max_new_tokens=5):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        pieces += 1
    assert pieces == 6
    with torch.no_grad():
        for _ in Sampler(word_model).stream("展昭", max_new_tokens=2):
            assert not torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_model_can_be_trained_while_and_after_it_writes(word_model: LSTMLanguageModel) -> None:
    before = word_model.embedding.weight.clone()
    ids = torch.tensor([[0, *word_model.vocabulary.encode("展昭道：“好大的雪！”")]])
    for _ in Sampler(word_model).stream("展昭", max_new_tokens=3):
        loss, _ = word_model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]
    assert word_model.embedding.weight.grad is not None
    assert torch.equal(word_model.embedding.weight, before)  # writing itself changes nothing


def test_two_streams_at_once_do_not_mix(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model, free(seed=8))
    texts = ["", ""]
    streams = [sampler.stream(prompt, max_new_tokens=15) for prompt in ("展昭", "二人")]
    for pair in zip(*streams, strict=True):
        texts = [text + piece for text, piece in zip(texts, pair, strict=True)]
    assert texts == [sampler.generate(prompt, max_new_tokens=15) for prompt in ("展昭", "二人")]


def test_closed_vocabulary_writes_too(texts: list[str]) -> None:
    closed = Vocabulary.from_stream(TokenStream.from_texts(texts, tokenizer=Chunks()), unknown="unk")
    model = LSTMLanguageModel(closed, ModelConfig(embedding_dim=8, hidden_size=8)).eval()
    for prompt in ("", "展昭", "龘龘"):
        sampler = Sampler(model, free(temperature=0.0))
        assert sampler.generate(prompt, max_new_tokens=10) == greedy_text(model, prompt, 10)
        for length in range(max(len(prompt), 1), 20):
            text = Sampler(model).generate(prompt, max_characters=length)
            assert len(text) == length
            assert text.startswith(prompt)


def test_vocabulary_without_words_writes_paragraph_ends() -> None:
    model = LSTMLanguageModel(Vocabulary(tokenizer="characters"), ModelConfig(embedding_dim=4, hidden_size=4))
    assert Sampler(model).generate("展", max_characters=5) == "展\n\n\n\n"


# ---- writing into a file


def test_file_holds_what_is_generated(word_model: LSTMLanguageModel, tmp_path: Path) -> None:
    sampler = Sampler(word_model, free(seed=1))
    path = sampler.write(tmp_path / "new" / "novel.txt", prompt="展昭\n", max_characters=300)
    assert path == tmp_path / "new" / "novel.txt"
    data = path.read_bytes()
    assert data == sampler.generate("展昭\n", max_characters=300).encode("utf-8")
    assert b"\r" not in data
    assert os.listdir(tmp_path / "new") == ["novel.txt"]
    assert sampler.write(str(path), prompt="展昭\n", max_new_tokens=5) == path
    assert path.read_text(encoding="utf-8") == sampler.generate("展昭\n", max_new_tokens=5)


def test_file_grows_beside_its_place(word_model: LSTMLanguageModel, tmp_path: Path, at_each_word: AtEachWord) -> None:
    path = tmp_path / "novel.txt"
    path.write_text("an older novel", encoding="utf-8")
    seen: list[str] = []

    def watch() -> None:
        assert path.read_text(encoding="utf-8") == "an older novel"
        seen.append((tmp_path / "novel.txt.part").read_text(encoding="utf-8"))

    sampler = Sampler(word_model, free(temperature=1.0, top_p=1.0, seed=1))
    with at_each_word(watch):
        sampler.write(path, prompt="展昭\n", max_new_tokens=150)
    text = path.read_text(encoding="utf-8")
    assert text == sampler.generate("展昭\n", max_new_tokens=150)
    assert text.count("\n") > 3
    assert all(text.startswith(part) for part in seen)
    lengths = [len(part) for part in seen]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 3  # it grows paragraph by paragraph
    assert lengths[-1] >= text.rindex("\n", 0, -5)
    assert sorted(os.listdir(tmp_path)) == ["novel.txt", "novel.txt.~1~"]
    assert (tmp_path / "novel.txt.~1~").read_text(encoding="utf-8") == "an older novel"


class Fault:
    """Makes a model fail in the middle of a text."""

    def __init__(self, error: BaseException, *, after: int) -> None:
        self.error = error
        self.left = after

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_older_file_outlives_a_model_that_fails(
    word_model: LSTMLanguageModel, tmp_path: Path, at_each_word: AtEachWord, error: BaseException
) -> None:
    (tmp_path / "novel.txt").write_text("an older novel", encoding="utf-8")
    with at_each_word(Fault(error, after=10)), pytest.raises(type(error)):
        Sampler(word_model).write(tmp_path / "novel.txt", max_new_tokens=50)
    assert (tmp_path / "novel.txt").read_text(encoding="utf-8") == "an older novel"


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_older_file_outlives_a_full_disk(
    word_model: LSTMLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "novel.txt").write_text("an older novel", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full_disk)
        with pytest.raises(DataError, match=r"novel\.txt: cannot be written \(No space left on device\)"):
            Sampler(word_model).write(tmp_path / "novel.txt", max_new_tokens=5)
    assert (tmp_path / "novel.txt").read_text(encoding="utf-8") == "an older novel"
    complete = ["novel.txt.part"] if failing == "replace" else []  # all of it is there, but for its name
    assert sorted(os.listdir(tmp_path)) == ["novel.txt", *complete]


def test_place_that_cannot_be_written_is_an_error(word_model: LSTMLanguageModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for place in ("file/novel.txt", "file/a/novel.txt", "folder"):
        with pytest.raises(DataError, match="cannot be written"):
            Sampler(word_model).write(tmp_path / place, max_new_tokens=5)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("path", [".", "", "/"])
def test_place_without_a_name_is_an_error(
    word_model: LSTMLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="cannot be written"):
        Sampler(word_model).write(path, max_new_tokens=5)
    assert os.listdir(tmp_path) == []


# ---- options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.inf),
        ("temperature", math.nan),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_k", -1),
        ("top_k", 1.0),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_p", math.nan),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", None),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        free(**{name: value})


@pytest.mark.parametrize("value", [0, 2**63 - 1])
def test_every_seed_can_be_drawn_from(word_model: LSTMLanguageModel, value: int) -> None:
    assert Sampler(word_model, free(seed=value)).generate(max_characters=3)


def test_wrong_arguments_are_refused(word_model: LSTMLanguageModel) -> None:
    for arguments in (("model",), (None,), (word_model, {"temperature": 1.0}), (word_model, ModelConfig())):
        with pytest.raises(ConfigError):
            Sampler(*arguments)
    with pytest.raises(ConfigError, match="did you mean 'temperature'"):
        free(temprature=1.0)


def test_config_round_trips() -> None:
    config = free(temperature=0.5, top_k=3, top_p=0.9, seed=7)
    assert SamplerConfig.from_dict(config.to_dict()) == config


PROMPTS = ["展昭道：“", "", "白玉堂笑道：“雪大，", "夜里三更，", "展昭"]


def test_a_batch_gives_each_prompt_the_text_that_it_gets_alone(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model, free(seed=3))

    assert sampler.generate(PROMPTS, max_new_tokens=30) == [
        sampler.generate(prompt, max_new_tokens=30) for prompt in PROMPTS
    ]
    assert sampler.generate([], max_new_tokens=30) == []


def test_texts_of_a_batch_end_each_by_itself(model: LSTMLanguageModel) -> None:
    sampler = Sampler(model, free(temperature=1.0, top_p=1.0))

    texts = sampler.generate(PROMPTS, max_characters=60, stop="\n")

    assert texts == [sampler.generate(prompt, max_characters=60, stop="\n") for prompt in PROMPTS]
    assert len({len(text) for text in texts}) > 1
    assert all(len(text) == 25 or text.endswith("\n") for text in texts)


def test_samples_of_a_prompt_differ_and_the_first_is_the_one_of_generate(word_model: LSTMLanguageModel) -> None:
    sampler = Sampler(word_model, free(temperature=1.0, top_p=1.0))

    texts = sampler.generate(["展昭", "夜里"], num_samples=4, max_new_tokens=20)

    assert texts[0] == sampler.generate("展昭", max_new_tokens=20)
    assert texts[4] == sampler.generate("夜里", max_new_tokens=20)
    assert [text[:2] for text in texts] == ["展昭"] * 4 + ["夜里"] * 4
    assert len(set(texts)) == 8
    assert sampler.generate(["展昭"], num_samples=2, max_new_tokens=20) == texts[:2]


@pytest.mark.parametrize("bad", [3, None])
def test_what_is_no_list_of_prompts_is_refused(word_model: LSTMLanguageModel, bad: Any) -> None:
    with pytest.raises(ConfigError, match="prompt must be a string or a list of strings"):
        Sampler(word_model).generate(bad)


FREE: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


def test_banned_words_are_never_written_however_they_are_spelled(word_model: LSTMLanguageModel) -> None:
    unbanned = Sampler(word_model, free(**FREE)).generate(["展昭"], num_samples=8, max_new_tokens=60)
    assert any("展昭" in text[2:] for text in unbanned)
    config = free(**FREE, banned_words=["展昭", "道：", "，"])
    texts = Sampler(word_model, config).generate(["展昭"], num_samples=8, max_new_tokens=60)

    for text in texts:
        assert "展昭" not in text[2:]
        assert "，" not in text


def test_a_word_with_a_great_bias_is_written(word_model: LSTMLanguageModel) -> None:
    word = next(token for token in word_model.vocabulary if len(token) > 1 and not token.startswith("<"))

    text = Sampler(word_model, free(word_bias={word: 100.0})).generate(max_new_tokens=5)

    assert text == word * 5
    with pytest.raises(ConfigError, match="没有的词"):
        Sampler(word_model, free(word_bias={"没有的词": 1.0}))


def test_no_ngram_comes_twice(word_model: LSTMLanguageModel) -> None:
    config = free(temperature=0.0, no_repeat_ngram_size=2)
    ids = word_model.vocabulary.encode("展昭")
    written: list[int] = []
    for piece in Sampler(word_model, config).stream("展昭", max_new_tokens=80):
        written += [word_model.vocabulary.token_to_id(piece)] if written or piece != "展昭" else ids

    pairs = list(itertools.pairwise(written))
    assert len(set(pairs)) == len(pairs) > 70


def test_banning_every_token_is_refused(model: LSTMLanguageModel) -> None:
    letters = [token for token in model.vocabulary if len(token) == 1]
    with pytest.raises(ConfigError, match="banned_words ban every token"):
        Sampler(model, free(banned_words=letters))


@pytest.mark.parametrize("temperature", [1.0, 0.8, 0.0])
@pytest.mark.parametrize("rules", [True, False])
def test_a_text_ends_where_every_token_is_banned(model: LSTMLanguageModel, temperature: float, rules: bool) -> None:
    letters = [token for token in model.vocabulary if len(token) == 1]
    banned = [letter for letter in letters if letter != "雪"] + ["雪雪雪"]
    config = SamplerConfig(temperature=temperature, banned_words=banned, balanced_pairs=rules, tidy_paragraphs=rules)
    sampler = Sampler(model, config)
    for prompt, expected in (("展昭", "展昭雪雪"), ("“", "“雪雪"), ("展雪", "展雪雪"), ("雪雪", "雪雪")):
        result = sampler.generate(prompt, max_new_tokens=5, return_results=True)
        (beam,) = sampler.beam_search(prompt, num_beams=2, max_new_tokens=5)
        assert result.text == beam.text == "".join(sampler.stream(prompt, max_new_tokens=5)) == expected
        assert result.finish_reason == beam.finish_reason == "no_token"


def test_penalties_make_repetition_rarer(word_model: LSTMLanguageModel) -> None:
    def distinct(**options: Any) -> float:
        config = free(**{**FREE, "temperature": 0.7, **options})
        texts = Sampler(word_model, config).generate(["展昭"], num_samples=8, max_new_tokens=80)
        return sum(len(set(text)) / len(text) for text in texts)

    plain = distinct()
    for penalty in ({"repetition_penalty": 1.5}, {"frequency_penalty": 2.0}, {"presence_penalty": 2.0}):
        assert distinct(**penalty) > 1.1 * plain


@pytest.mark.parametrize(
    "options",
    [
        {"min_p": 0.2},
        {"repetition_penalty": 1.3, "penalty_window": 3},
    ],
)
def test_a_batch_with_other_options_gives_what_each_gets_alone(
    word_model: LSTMLanguageModel, options: dict[str, Any]
) -> None:
    sampler = Sampler(word_model, free(**{**FREE, **options}))

    texts = sampler.generate(PROMPTS, max_new_tokens=25)

    assert texts == [sampler.generate(prompt, max_new_tokens=25) for prompt in PROMPTS]
    assert texts != Sampler(word_model, free(**FREE)).generate(PROMPTS, max_new_tokens=25)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("min_p", 1.5),
        ("min_p", "x"),
        ("repetition_penalty", 0.0),
        ("frequency_penalty", math.nan),
        ("penalty_window", 0),
        ("no_repeat_ngram_size", -1),
        ("banned_words", "展昭"),
        ("banned_words", [""]),
        ("word_bias", ["展昭"]),
        ("word_bias", ""),
        ("word_bias", {3: 1.0}),
        ("word_bias", [("展昭", 1.0), ("展昭", 2.0)]),
        ("word_bias", {"展昭": "much"}),
    ],
)
def test_options_out_of_range_are_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        free(**{name: bad})


@pytest.mark.parametrize("output", ["full", "adaptive"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_models_of_other_types_write_too(words: Vocabulary, output: str, kind: torch.dtype) -> None:
    model = LSTMLanguageModel(words, ModelConfig(embedding_dim=12, hidden_size=16, output=output)).to(kind).eval()  # type: ignore[arg-type]
    for config in (SamplerConfig(), SamplerConfig(temperature=1.0, top_p=1.0), SamplerConfig(repetition_penalty=1.1)):
        assert Sampler(model, config).generate("展昭", max_characters=30).startswith("展昭")


@pytest.mark.parametrize("output", ["full", "adaptive"])
def test_text_is_that_of_the_weights_of_now(words: Vocabulary, output: str) -> None:
    model, other = (
        LSTMLanguageModel(words, ModelConfig(embedding_dim=12, hidden_size=16, output=output, seed=seed)).eval()  # type: ignore[arg-type]
        for seed in (1, 2)
    )
    sampler, expected = Sampler(model), Sampler(other).generate("展昭", max_new_tokens=30)
    assert sampler.generate("展昭", max_new_tokens=30) != expected
    for weight, new in zip(model.parameters(), other.parameters(), strict=True):
        weight.data.copy_(new)  # which PyTorch does not count as a change
    assert sampler.generate("展昭", max_new_tokens=30) == expected
