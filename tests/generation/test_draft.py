"""Chapters: a text ends before the heading of the one that nobody asked for, as if it had not been written."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zh_lstm_lm import ConfigError, LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, Vocabulary
from zh_lstm_lm.generation import resumable_file

CHAPTER = "展昭笑道：“好。”\n第二回他又来了。\n"
NOVEL = f"第一回　风雪\n{CHAPTER}第二回　夜行\n{CHAPTER}第三回\n比剑\n"

Write = Callable[..., Sampler]
AtEachWord = Callable[[Callable[[], object]], AbstractContextManager[None]]


@pytest.fixture(params=["adaptive", "full"])
def writing(request: pytest.FixtureRequest, texts: list[str]) -> Write:
    """Makes a sampler that writes a given text, and then what the model likes."""
    vocabulary = Vocabulary([*dict.fromkeys("\n".join([*texts, NOVEL]).replace("\n", "")), *range(256)])
    model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=8, hidden_size=8, output=request.param)).eval()

    def sampler(text: str, prompt: str = "") -> Sampler:
        first, script = 1 + len(vocabulary.encode(prompt)), vocabulary.encode(text)

        def follow(ids: Tensor, logits: Tensor) -> Tensor:
            place = ids.shape[-1] - first
            if place >= len(script):
                return logits
            return torch.full_like(logits, -torch.inf).index_fill(-1, torch.tensor(script[place]), 0.0)

        return Sampler(model, SamplerConfig(temperature=1.0, top_p=1.0), processors=[follow])

    return sampler


@pytest.mark.parametrize(
    ("prompt", "number", "end"),
    [
        ("", 1, "第二回　夜行\n"),  # the heading that begins the text ends no chapter, nor does a sentence like one
        ("", 2, "第三回\n"),
        ("第一回", 1, "第二回　夜行\n"),
        (f"第一回　风雪\n{CHAPTER}", 1, "第二回　夜行\n"),
        ("第一回　风雪\n展昭笑", 2, "第三回\n"),
    ],
)
def test_a_text_ends_before_the_heading_of_the_next_chapter(
    writing: Write, tmp_path: Path, prompt: str, number: int, end: str
) -> None:
    sampler = writing(NOVEL.removeprefix(prompt), prompt)
    expected = NOVEL[: NOVEL.index(end)]
    result = sampler.generate(prompt, max_chapters=number, return_results=True)
    assert result.text == prompt + "".join(result.tokens) == expected
    assert result.finish_reason == "max_chapters"
    assert len(result.log_probs) == len(result.ids) == len(sampler.model.vocabulary.encode(expected[len(prompt) :]))
    assert "".join(sampler.stream(prompt, max_chapters=number)) == expected
    assert sampler.generate([prompt], num_samples=3, max_chapters=number) == [expected] * 3
    path = sampler.write(tmp_path / "a.txt", prompt=prompt, max_chapters=number)
    assert path.read_text(encoding="utf-8") == expected


def test_what_follows_a_chapter_is_what_would_have_followed(writing: Write) -> None:
    sampler = writing(NOVEL)
    whole = sampler.generate(max_new_tokens=120, return_results=True)
    first = sampler.generate(max_chapters=1, return_results=True)
    second = sampler.generate(state=first.state, max_chapters=1, return_results=True)
    third = sampler.generate(
        state=second.state, max_new_tokens=120 - len(first.ids) - len(second.ids), return_results=True
    )
    assert second.text == f"第二回　夜行\n{CHAPTER}"
    assert first.ids + second.ids + third.ids == whole.ids  # the words after the script are drawn
    assert third.log_probs == pytest.approx(whole.log_probs[-len(third.ids) :], abs=1e-4)


def test_other_limits_give_out_what_was_held_back(writing: Write) -> None:
    assert writing("风雪").generate(max_chapters=1, max_new_tokens=2) == "风雪"
    script = writing("回\n", "风。\n第二")
    assert script.generate("风。\n第二", max_chapters=1, max_characters=6) == "风。\n第二回"
    assert script.generate("风。\n第二", max_chapters=1, stop="第二回") == "风。\n第二回"
    assert (
        writing("夜。\n第二回\n").generate(max_chapters=1, min_new_tokens=9, max_new_tokens=12)[:7] == "夜。\n第二回\n"
    )


def test_a_long_line_is_streamed_while_it_is_written(writing: Write, at_each_word: AtEachWord) -> None:
    stream = writing("夜" * 120).stream(max_chapters=1, max_new_tokens=100)
    assert [len(piece) for piece in stream] == [1] * 100
    model = writing("").model
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    stream = Sampler(model, writing("夜" * 120).config).stream("夜" * 60, max_chapters=1, max_new_tokens=100)
    with at_each_word(count):
        next(stream), next(stream)
    assert steps < 5


@pytest.mark.parametrize("between", [1, 7])
def test_a_file_is_resumed_wherever_it_was_interrupted(
    writing: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_each_word: AtEachWord, between: int
) -> None:
    monkeypatch.setattr(resumable_file, "WORDS_BETWEEN_STATES", between)
    sampler = writing(NOVEL)
    expected = NOVEL[: NOVEL.index("第三回\n")]
    for after in range(3, len(expected) + 6, 5):
        left = after

        def interrupt() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        with at_each_word(interrupt), pytest.raises(KeyboardInterrupt):
            sampler.write(tmp_path / "a.txt", max_chapters=2)
        sampler.write(tmp_path / "a.txt", max_chapters=2, resume=True)
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == expected


def test_beam_search_has_no_chapters(writing: Write) -> None:
    with pytest.raises(ConfigError, match="max_chapters is not a limit of beam search"):
        writing("").beam_search(max_chapters=1)
    with pytest.raises(ConfigError, match="max_chapters must be at least 1"):
        writing("").generate(max_chapters=0)
