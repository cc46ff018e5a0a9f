"""Each option of ``generate``, held to its effect by the text of the library for the same options."""

import io
import json
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from zh_lstm_lm import (
    ConfigError,
    ContinuousCache,
    Sampler,
    SamplerConfig,
    TokenStream,
    novelty,
)
from zh_lstm_lm.cli.generate import parse_bias
from zh_lstm_lm.cli.main import main
from zh_lstm_lm.generation import resumable_file
from zh_lstm_lm.generation.like import model_like

PROMPT = "展昭道"
COMMAND = ["generate", "model", "--prompt", PROMPT]
LENGTH = ["--max-new-tokens", "60"]
SAMPLING: dict[str, Any] = {
    "temperature": 1.5,
    "top_k": 2,
    "top_p": 0.3,
    "min_p": 0.5,
    "repetition_penalty": 5.0,
    "frequency_penalty": 4.0,
    "presence_penalty": 9.0,
    "no_repeat_ngram_size": 1,
    "seed": 7,
    "balanced_pairs": False,
    "tidy_paragraphs": False,
}
LIMITS: dict[str, Any] = {
    "max_new_tokens": 12,
    "max_characters": 30,
    "max_sentences": 2,
    "max_paragraphs": 1,
    "stop": ["展", "雪"],
}


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def text_of(place: Any, limits: dict[str, Any] | None = None, **options: Any) -> str:
    """The library's text for some limits and sampling options."""
    sampler = Sampler(place.model(), SamplerConfig(**options))
    text: str = sampler.generate(PROMPT, **{"max_new_tokens": 60, **(limits or {})})
    return text + "\n"


# test_interactive.py holds --interactive.
@pytest.mark.options("generate", "--interactive")
def test_every_option_is_held(check_all_held: Callable[..., None]) -> None:
    check_all_held("generate")


@pytest.mark.options("generate", *map(option, SAMPLING), "--prompt")
@pytest.mark.parametrize("name", SAMPLING)
def test_sampling(name: str, place: Any) -> None:
    value = SAMPLING[name]
    words = [option(f"no_{name}")] if value is False else [option(name), value]
    neutral: dict[str, Any] = (
        {"balanced_pairs": False, "word_bias": {"\n": 9.0, "。": 9.0}} if name == "tidy_paragraphs" else {}
    )
    words += ["--no-balanced-pairs", "--word-bias", "\n=9", "--word-bias", "。=9"] if neutral else []
    text = place.run(*COMMAND, *LENGTH, *words)
    assert text == text_of(place, **{**neutral, name: value}) != text_of(place, **neutral)


@pytest.mark.options("generate", *map(option, LIMITS))
@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str, place: Any) -> None:
    value = LIMITS[name]
    words = [word for one in (value if name == "stop" else [value]) for word in (option(name), one)]
    length = [] if name == "max_new_tokens" else ["--max-new-tokens", "300"]
    text = place.run(*COMMAND, *words, "--end", "none", *length)
    assert text == text_of(place, {"max_new_tokens": 300, name: value})
    assert len(text) < len(text_of(place, {"max_new_tokens": 300}))


@pytest.mark.options("generate", "--line-lengths", "--first-characters", "--must-contain")
def test_forms(place: Any) -> None:
    command = ["generate", "model", "--line-lengths", "5,7,5", "--first-characters", "雪展白", "--must-contain", "酒店"]
    lines = place.run(*command)
    form: dict[str, Any] = {"line_lengths": [5, 7, 5], "first_characters": "雪展白", "must_contain": ["酒店"]}
    assert lines == Sampler(place.model()).generate(**form) + "\n"
    text = place.run(*COMMAND, "--max-new-tokens", "30", "--must-contain", "风雪=9", "--must-contain", "酒店")
    assert text == text_of(place, {"max_new_tokens": 30, "must_contain": {"风雪": 9, "酒店": None}})
    assert place.run(*COMMAND, *LENGTH, "--line-lengths", "7") == text_of(place, {"line_lengths": 7})
    place.run(*command, "--max-time", "1e-9")
    assert "could not be met: line_lengths: " in place.err
    place.run(*COMMAND, "--line-lengths", "five", status=2)
    assert "must be numbers, as in 7 or 5,7,5,7" in place.err
    place.run(*COMMAND, "--line-lengths", "5,0", status=2)
    assert "--line-lengths must be from 1 to 1000, got 0" in place.err
    place.run(*COMMAND, "--must-contain", "展昭=soon", status=2)
    assert "must be a word, or a word and a number" in place.err


@pytest.mark.options("generate", "--rename")
def test_names(place: Any) -> None:
    Path("names.tsv").write_text("展\t李\n\n白\t叶\n", encoding="utf-8")
    command = ["generate", "model", "--prompt", "李昭道", *LENGTH]
    text = place.run(*command, "--rename", "names.tsv", "--rename", "雪=雨")
    assert "rename: none of 3 names of the corpus is left" in place.err
    assert not {"展", "白", "雪"} & set(text)
    names = {"展": "李", "白": "叶", "雪": "雨"}
    assert text == Sampler(place.model(), SamplerConfig(rename=names)).generate("李昭道", max_new_tokens=60) + "\n"
    place.run(*COMMAND, *LENGTH, "--rename", "names.tsv", "--output", "renamed.txt")
    assert "rename: left in the text: 展 (1)" in place.err
    Path("names.tsv").write_text("展\t李\n白\n", encoding="utf-8")
    place.run(*command, "--rename", "names.tsv", status=2)
    assert "line 2: must be OLD=NEW, or have a tab between the two, got '白'" in place.err
    place.run(*command, "--rename", "昭雪", status=2)
    assert "昭雪: cannot be read (No such file or directory); give OLD=NEW, as in 展昭=李寻欢, or a file" in place.err
    Path("names.tsv").write_text("\n\n", encoding="utf-8")
    place.run(*command, "--rename", "names.tsv", status=2)
    assert "there are no names; write OLD=NEW" in place.err


@pytest.mark.options("generate", "--max-chapters")
def test_chapters(place: Any) -> None:
    def texts(seed: int) -> list[str]:
        limits = {"max_new_tokens": 2000}
        return [text_of(place, {**limits, **chapters}, seed=seed) for chapters in ({"max_chapters": 1}, {})]

    # Where the model begins a second chapter.
    seed = next(seed for seed in range(20) if len(set(texts(seed))) == 2)
    text = place.run(*COMMAND, "--max-chapters", "1", "--max-new-tokens", "2000", "--seed", str(seed))
    assert text == texts(seed)[0]


@pytest.mark.options("generate", "--penalty-window")
def test_penalty_window(place: Any) -> None:
    text = place.run(*COMMAND, *LENGTH, "--repetition-penalty", "5", "--penalty-window", "2")
    assert text == text_of(place, repetition_penalty=5.0, penalty_window=2) != text_of(place, repetition_penalty=5.0)


@pytest.mark.options("generate", "--min-new-tokens")
def test_min_new_tokens(place: Any) -> None:
    text = place.run(*COMMAND, "--max-sentences", "1", "--min-new-tokens", "50", *LENGTH)
    assert text == text_of(place, {"max_sentences": 1, "min_new_tokens": 50}) != text_of(place, {"max_sentences": 1})


@pytest.mark.options("generate", "--end")
def test_a_text_of_some_characters_ends_with_a_sentence(place: Any) -> None:
    def texts(number: int) -> list[str]:
        limits = {"max_characters": number, "max_new_tokens": None}
        return [text_of(place, {**limits, **end}) for end in ({"end": "sentence"}, {})]

    # Where a sentence goes on beyond the limit.
    number = next(number for number in range(150, 200) if len(set(texts(number))) == 2)
    limit = ["--max-characters", str(number)]
    whole, exact = texts(number)
    assert whole == place.run(*COMMAND, *limit) == place.run(*COMMAND, *limit, "--end", "sentence")
    assert exact == place.run(*COMMAND, *limit, "--end", "none")
    assert len(exact) == number + 1


@pytest.mark.options("generate", "--max-time")
def test_max_time(place: Any) -> None:
    whole = text_of(place, {"max_new_tokens": 5000})
    text = place.run(*COMMAND, "--max-time", "0.01", "--max-new-tokens", "5000")
    # The last word may be a closing mark, since the time is up, and the newline is the command's.
    assert text[:-2] == whole[: len(text) - 2]
    assert len(text) < len(whole)


@pytest.mark.options("generate", "--ban", "--word-bias")
def test_words(place: Any) -> None:
    text = place.run(*COMMAND, *LENGTH, "--ban", "，", "--ban", "。")
    assert text == text_of(place, banned_words=["，", "。"])
    assert not {"，", "。"} & set(text)
    text = place.run(*COMMAND, *LENGTH, "--word-bias", "酒=3", "--word-bias", "雪=3")
    assert text == text_of(place, word_bias={"酒": 3.0, "雪": 3.0})
    assert text not in (text_of(place, word_bias={"酒": 3.0}), text_of(place, word_bias={"雪": 3.0}))


@pytest.mark.options("generate", "--like", "--like-weight", "--cache", "--cache-weight")
def test_a_book_and_a_cache(place: Any) -> None:
    for number, line in enumerate(("　　影房道：“更衣来了。”\n", "　　更衣道：“影房兄！”\n")):
        Path(f"book-{number}.txt").write_text(line * 20, encoding="utf-8")
    model = place.model()
    reading = {"tokenizer": model.vocabulary.tokenizer, "normalize": model.vocabulary.normalize}
    book = place.stream("book-0.txt", "book-1.txt", **reading)
    wanted = {
        (): model,
        ("--cache",): ContinuousCache(model, cache_size=1000, cache_weight=0.05, theta=0.6),
        ("--cache", "--cache-weight", "0.6"): ContinuousCache(model, cache_size=1000, cache_weight=0.6, theta=0.6),
        ("--like", "book-0.txt", "book-1.txt"): model_like(model, book),
        ("--like", "book-0.txt", "--like", "book-1.txt", "--like-weight", "0.8"): model_like(model, book, weight=0.8),
        ("--like", "book-0.txt", "book-1.txt", "--no-cache"): model_like(model, book, cache=False),
    }
    texts = {words: place.run(*COMMAND, *LENGTH, *words) for words in wanted}
    assert texts == {words: Sampler(wanted[words]).generate(PROMPT, max_new_tokens=60) + "\n" for words in wanted}
    assert len(set(texts.values())) == len(texts)
    assert place.run(*COMMAND, *LENGTH, "--no-cache") == texts[()]
    place.run(*COMMAND, "--like", "no-book.txt", status=2)
    assert "no-book.txt: no such file or folder" in place.err
    place.run(*COMMAND, "--like", "book-0.txt", "--like-weight", "2", status=2)
    assert "--like-weight must be from 0 to 1, got 2.0" in place.err
    place.run(*COMMAND, "--like-weight", "0.5", status=2)
    assert "name the book with --like FILE" in place.err


@pytest.mark.parametrize("bias", ["酒", "=3", "酒=", "酒=x"])
def test_a_bias_has_a_word_and_a_number(bias: str, place: Any) -> None:
    place.run("generate", "model", "--word-bias", bias, status=2)
    assert "as in 展昭=2" in place.err


@pytest.mark.options("generate", "--num-samples", "--best-of")
def test_several_texts(place: Any) -> None:
    results = Sampler(place.model(), SamplerConfig()).generate(
        PROMPT, num_samples=4, max_new_tokens=60, return_results=True
    )
    expected = "\n".join(f"--- {number} of 4 ---\n{result.text}" for number, result in enumerate(results, 1))
    assert place.run(*COMMAND, *LENGTH, "--num-samples", "4") == f"{expected}\n"
    place.run(*COMMAND, *LENGTH, "--num-samples", "4", "--output", "samples.txt")
    assert Path("samples.txt").read_text(encoding="utf-8") == expected
    likelihoods = [sum(result.log_probs) / len(result.log_probs) for result in results]
    best = results[likelihoods.index(max(likelihoods))].text
    assert place.run(*COMMAND, *LENGTH, "--best-of", "4") == f"{best}\n"
    place.run(*COMMAND, "--best-of", "4", "--num-samples", "2", status=2)
    place.run(*COMMAND, "--best-of", "4", "--interactive", status=2)
    assert "--best-of goes with neither --resume nor --interactive" in place.err


@pytest.mark.options(
    "generate", "--output", "--novelty", "--clean", "--encoding", "--cache-dir", "--workers", "--quiet"
)
def test_files_and_what_was_copied(place: Any) -> None:
    Path("indented.txt").write_text("　　展昭道：“好大的雪！”\n" * 9, encoding="gb18030")
    command = [*COMMAND, *LENGTH, "--novelty", "indented.txt", "--cache-dir", "cache", "--workers", "1"]
    place.run(*command, "--clean", "none", "--encoding", "gb18030", "--output", "text.txt")
    assert "segmenting" in place.err
    text = Path("text.txt").read_text(encoding="utf-8")
    assert text == text_of(place)[:-1]
    vocabulary = place.model().vocabulary
    reading = {"tokenizer": vocabulary.tokenizer, "normalize": vocabulary.normalize}
    plain, cleaned = (
        f"{novelty(text, place.stream('indented.txt', clean=clean, **reading))}\n" for clean in ("none", "novel")
    )
    assert Path("text.txt.novelty.txt").read_text(encoding="utf-8") == plain != cleaned
    assert list(Path("cache").rglob("*"))
    assert place.run(*command, "--quiet") == f"{text}\n"
    assert cleaned.strip() in place.err
    assert "segmenting" not in place.err
    place.run(*command, "--encoding", "utf-8", status=2)
    place.run(*command, "--workers", "0", status=2)


@pytest.mark.options("generate", "--text-field")
def test_what_was_copied_from_records(place: Any) -> None:
    Path("records.jsonl").write_text('{"body": "展昭道：“好大的雪！”"}\n', encoding="utf-8")
    text = place.run(*COMMAND, *LENGTH, "--novelty", "records.jsonl", "--text-field", "body")
    assert (
        f"longest copy {novelty(text[:-1], TokenStream.from_texts(['展昭道：“好大的雪！”'])).longest_copy}\n"
        in place.err
    )


def test_a_corpus_that_is_not_there_is_reported_before_the_text_is_written(place: Any) -> None:
    place.run(*COMMAND, "--novelty", "no-corpus", "--output", "never.txt", status=2)
    assert "no-corpus: no such file or folder" in place.err
    assert not Path("never.txt").exists()


@pytest.mark.options("generate", "--resume")
def test_resume(place: Any) -> None:
    command = [*COMMAND, *LENGTH, "--output", "resumed.txt"]
    Path("resumed.txt.part").write_text("展昭道", encoding="utf-8")
    Path("resumed.txt.part.state").write_text("damaged", encoding="utf-8")
    place.run(*command, "--resume", status=2)
    assert "resumed.txt.part.state" in place.err
    # Files that this library did not write are never removed, with or without --resume.
    place.run(*command, status=2)
    assert Path("resumed.txt.part").read_text(encoding="utf-8") == "展昭道"
    Path("resumed.txt.part").unlink()
    Path("resumed.txt.part.state").unlink()
    place.run(*command)
    assert Path("resumed.txt").read_text(encoding="utf-8") == text_of(place)[:-1]
    place.run(*COMMAND, "--resume", status=2)
    assert "name it with --output FILE" in place.err


def test_defaults_of_the_model(place: Any) -> None:
    model = place.model()
    model.generation_config = {"temperature": 0.0, "seed": 5}
    model.save_pretrained("own-defaults")
    command = ["generate", "own-defaults", "--prompt", PROMPT, *LENGTH]
    assert place.run(*command) == text_of(place, temperature=0.0, seed=5) != text_of(place)
    assert place.run(*command, "--temperature", "1.5") == text_of(place, temperature=1.5, seed=5)
    assert "generation  temperature=0.0" in place.run("info", "own-defaults")
    (place.folder / "own-defaults" / "generation_config.json").write_text(json.dumps({"temperature": "hot"}))


@pytest.mark.parametrize("method", ["generate", "stream", "beam_search"])
def test_a_sampling_option_of_a_call_is_an_error_that_names_the_config(method: str, place: Any) -> None:
    with pytest.raises(ConfigError, match=r"SamplerConfig\(seed=…\)"):
        getattr(Sampler(place.model()), method)(PROMPT, seed=3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--num-samples", "2", "--interactive"], "--num-samples goes with neither --resume nor --interactive"),
        (["--best-of", "2", "--resume", "--output", "x.txt"], "--best-of goes with neither --resume nor --interactive"),
        (["--num-samples", "0"], "--num-samples: must be an integer of at least 1"),
        (["--best-of", "0"], "--best-of: must be an integer of at least 1"),
        (["--like-weight", "0"], "name the book with --like FILE"),
        (["--word-bias", "展=昭"], "must be a word and a number"),
    ],
)
def test_options_that_contradict_each_other(words: list[str], said: str, place: Any) -> None:
    assert place.run(*COMMAND, *words, status=2) == ""
    assert said in place.err


def test_a_file_is_told_of_with_its_length(place: Any) -> None:
    for options in ([], ["--num-samples", "2"], ["--best-of", "2"]):
        told = place.run(*COMMAND, *LENGTH, *options, "--output", "told.txt", "--novelty", "novels").splitlines()
        length = len(Path("told.txt").read_text(encoding="utf-8"))
        assert told == [f"{length:,} characters in told.txt", "copied passages are in told.txt.novelty.txt"]
        assert "\r" not in place.err, "progress is for terminals"


def test_a_text_that_was_interrupted_is_continued(
    place: Any, at_each_word: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable_file, "WORDS_BETWEEN_STATES", 4)
    command = [*COMMAND, *LENGTH, "--output", "continued.txt"]
    steps = count()

    def interrupt() -> None:
        if next(steps) == 20:
            signal.raise_signal(signal.SIGINT)

    with at_each_word(interrupt):
        place.run(*command, status=130)
    assert 3 < len(Path("continued.txt.part").read_text(encoding="utf-8")) < 30
    words = count()
    with at_each_word(lambda: next(words)):
        place.run(*command, "--resume")
    assert next(words) < 50, "not all of the 60 words are written again"
    assert Path("continued.txt").read_text(encoding="utf-8") == text_of(place)[:-1]


def test_words_are_shown_as_they_come(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shown(io.StringIO):
        encoding = "utf-8"
        lengths: ClassVar[list[int]] = []

        def flush(self) -> None:
            self.lengths.append(self.tell())

    monkeypatch.setattr(sys, "stdout", Shown())
    assert main([*COMMAND, *LENGTH]) == 0
    assert len(set(Shown.lengths)) > 30


def test_the_best_text_is_the_likeliest_for_each_word(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the likeliest as a whole, which is the shortest."""
    results = [
        SimpleNamespace(text=text, log_probs=log_probs, mean_log_prob=sum(log_probs) / len(log_probs))
        for text, log_probs in {"短。": [-2.0, -2.0], "长长的。": [-1.5] * 4, "坏的。": [-3.0] * 3}.items()
    ]
    monkeypatch.setattr(Sampler, "generate", lambda *_, **__: results)
    assert place.run(*COMMAND, "--best-of", "3") == "长长的。\n"


def test_a_cache_that_was_saved_with_the_model(place: Any) -> None:
    model = place.model()
    ContinuousCache(model, cache_size=1000, cache_weight=0.6, theta=0.6).save_pretrained("cached")
    command = ["generate", "cached", "--prompt", PROMPT, *LENGTH, "--cache-weight", "0.6"]
    with_cache = place.run(*command)
    assert place.run(*command, "--cache") == with_cache != text_of(place)
    assert place.run(*command[:-2], "--no-cache") == text_of(place)


def test_corpora_and_books_are_read_as_the_model_reads(place: Any) -> None:
    """A model that was trained with characters of half width knows those of full width."""
    Path("plain.txt").write_text("ABC，abc，123。\n" * 60, encoding="utf-8")
    Path("wide.txt").write_text("ＡＢＣ，ａｂｃ，１２３。\n" * 60, encoding="utf-8")
    sizes = ["--tokenizer", "characters", "--embedding-dim", "4", "--hidden-size", "4", "--steps", "1"]
    place.run("train", "plain.txt", "--output", "narrow", "--min-freq", "1", *sizes)
    command = ["generate", "narrow", "--max-new-tokens", "20"]
    for name in ("plain.txt", "wide.txt"):
        place.run(*command, "--novelty", name)
        assert "longest copy 20\n" in place.err
    assert place.run(*command, "--like", "wide.txt") == place.run(*command, "--like", "plain.txt")


def test_names_that_are_left_are_told_by_their_number(place: Any) -> None:
    place.run(*COMMAND, *LENGTH, "--prompt", "白展展", "--rename", "白=李", "--rename", "展=叶")
    assert "rename: left in the text: 展 (2), 白 (1)" in place.err


def test_the_forms_in_which_words_and_lengths_are_given(place: Any) -> None:
    lines = ["generate", "model", "--line-lengths"]
    assert place.run(*lines, "5，7") == place.run(*lines, "5,7")
    assert parse_bias("a=b=2") == ("a=b", 2.0)
