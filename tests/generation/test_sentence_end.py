"""Texts of a limited length that end at a sentence: against the text without that limit, cut by hand."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, Vocabulary
from zh_lstm_lm.generation import resumable_file
from zh_lstm_lm.generation.punctuation import PAIRS

AtEachWord = Callable[[Callable[[], object]], AbstractContextManager[None]]


@pytest.fixture
def sampler() -> Sampler:
    """A model that writes marks all the time, and words of several characters."""
    words = ["。", "！", "？", "，", "“", "”", "（", "）", "好", "展昭", "白玉堂", "你来我往"]
    vocabulary = Vocabulary([*words, *range(256)], tokenizer="characters")
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8)).eval()
    return Sampler(model, SamplerConfig(temperature=1.0, top_p=1.0))


def write_only(sampler: Sampler, text: str) -> Sampler:
    """A sampler that writes a given text again and again."""
    ids = sampler.model.vocabulary.encode(text)

    def follow(history: Tensor, logits: Tensor) -> Tensor:
        following = ids[(history.shape[-1] - 1) % len(ids)]
        return torch.full_like(logits, -torch.inf).index_fill(-1, torch.tensor(following), 0.0)

    return Sampler(sampler.model, SamplerConfig(balanced_pairs=False, tidy_paragraphs=False), processors=[follow])


def cut_by_hand(prompt: str, tokens: tuple[str, ...], limit: int) -> str:
    """The text up to its last sentence end among the last 200 characters; all of it if there is none."""
    text = whole = prompt + "".join(tokens)
    found = whole
    text = prompt
    for token in tokens:
        text += token
        opened = [mark for mark in text.rpartition("\n")[2] if mark in PAIRS]
        closed = [mark for mark in text.rpartition("\n")[2] if mark in PAIRS.values()]
        ends = text.endswith("\n") or text.rstrip("”）")[-1:] in tuple("。！？")
        if limit - len(text) <= 200 and ends and len(opened) == len(closed):
            found = text
    return found


def test_texts_end_at_the_last_sentence_that_fits(sampler: Sampler, tmp_path: Path) -> None:
    ends = 0
    prompts = ["", "展昭，", "“展昭", "好。"]
    for limit in (5, 20, 90, 250, 400):
        whole = sampler.generate(prompts, num_samples=6, max_characters=limit, return_results=True)
        cut = sampler.generate(prompts, num_samples=6, max_characters=limit, end="sentence", return_results=True)
        for number, (one, other) in enumerate(zip(whole, cut, strict=True)):
            prompt, sample = prompts[number // 6], number % 6
            assert len(one.text) == limit
            assert other.text == cut_by_hand(prompt, one.tokens, limit) == prompt + "".join(other.tokens)
            assert other.finish_reason == "max_characters"
            assert (other.ids, other.log_probs) == (one.ids[: len(other.ids)], one.log_probs[: len(other.ids)])
            ends += other.text != one.text
            if sample == 0:
                assert "".join(sampler.stream(prompt, max_characters=limit, end="sentence")) == other.text
                path = sampler.write(tmp_path / "a.txt", prompt=prompt, max_characters=limit, end="sentence")
                assert path.read_text(encoding="utf-8") == other.text
    assert ends > 40


def test_what_follows_the_cut_is_what_was_cut_off(sampler: Sampler) -> None:
    for sample in range(8):
        options: dict[str, Any] = {"num_samples": 1, "first_sample": sample, "return_results": True}
        (whole,) = sampler.generate(max_characters=90, **options)
        (first,) = sampler.generate(max_characters=90, end="sentence", **options)
        if len(first.text) < 90:
            rest = sampler.generate(state=first.state, max_characters=90 - len(first.text), return_results=True)
            assert first.ids + rest.ids == whole.ids
        assert first.state.opened == ""


def test_without_a_sentence_end_the_limit_holds(sampler: Sampler) -> None:
    assert write_only(sampler, "好，").generate("。", max_characters=20, end="sentence") == "。" + "，好" * 9 + "，"
    # The last end lies too far back.
    text = write_only(sampler, "。" + "好" * 400).generate(max_characters=300, end="sentence")
    assert text == "。" + "好" * 299
    # The prompt is not cut, nor are tokens below the minimum.
    script = write_only(sampler, "好。好好好")
    assert script.generate(max_characters=5, end="sentence") == "好。"
    assert script.generate(max_characters=5, min_new_tokens=3, end="sentence") == "好。好好好"


def test_a_closing_quote_belongs_to_its_sentence(sampler: Sampler) -> None:
    script = write_only(sampler, "“好。”好")
    assert script.generate(max_characters=4, end="sentence") == "“好。”"
    assert script.generate(max_characters=7, end="sentence") == "“好。”"
    # Without the rules of punctuation an open quote does not hold a sentence end back.
    assert script.generate(max_characters=3, end="sentence") == "“好。"


def test_other_limits_are_left_alone(sampler: Sampler) -> None:
    script = write_only(sampler, "好。好好好")
    assert script.generate(max_new_tokens=5, end="sentence") == "好。好好好"
    assert script.generate(max_new_tokens=5, max_characters=9, end="sentence") == "好。好好好"
    assert script.generate(max_characters=9, stop="好好", end="sentence") == "好。好好"
    (beam,) = script.beam_search(num_beams=2, max_characters=5, end="sentence")
    assert (beam.text, beam.ids) == ("好。", tuple(script.model.vocabulary.encode("好。")))
    with pytest.raises(ConfigError, match="end must be one of 'sentence', got 'word'"):
        sampler.generate(end="word")  # type: ignore[call-overload]


def test_far_from_the_limit_words_are_streamed_at_once(sampler: Sampler, at_each_word: AtEachWord) -> None:
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with at_each_word(count):
        stream = write_only(sampler, "好。好好好").stream(max_characters=400, end="sentence")
        waits = []
        for _ in stream:
            waits.append(steps)
            steps = 0
    assert max(waits[:199]) == 1
    assert max(waits[210:]) == 5


@pytest.mark.parametrize("between", [1, 7])
def test_a_file_is_resumed_wherever_it_was_interrupted(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_each_word: AtEachWord, between: int
) -> None:
    monkeypatch.setattr(resumable_file, "WORDS_BETWEEN_STATES", between)
    limits: dict[str, Any] = {"max_characters": 60, "end": "sentence"}
    whole = sampler.generate("展昭", return_results=True, **limits)
    tokens = len(sampler.generate("展昭", max_characters=60, return_results=True).ids)
    assert len(whole.ids) < tokens
    for after in range(2, tokens):
        left = after

        def interrupt() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        with at_each_word(interrupt), pytest.raises(KeyboardInterrupt):
            sampler.write(tmp_path / "a.txt", prompt="展昭", **limits)
        sampler.write(tmp_path / "a.txt", prompt="展昭", resume=True, **limits)
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == whole.text
