"""The cast of generated texts: the persons that they name, how often each comes again, and the novels they are from.

    python benchmarks/cast.py MODEL NOVELS BOOK [--texts 20] [--characters 2000] [--weights 0.2 0.35 0.5] [--output FILE]

MODEL is a saved LSTM, NOVELS the folder that it was trained on, and BOOK the name of one of the files in it. Every
setting writes texts of the same seeds at the default options. A name is a word that jieba's dictionary tags as a
person's and that occurs at least 20 times in one of the novels; it belongs to the novels in which it does. Bits per
character are those of the last 5 % of the book, which neither the model nor the n-grams have seen.
"""

import argparse
import functools
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from jieba import posseg

from zh_lstm_lm import (
    ContinuousCache,
    LSTMLanguageModel,
    Mixture,
    NGramLanguageModel,
    Sampler,
    TokenStream,
    evaluate,
    novelty,
)
from zh_lstm_lm.generation.like import model_like
from zh_lstm_lm.models.base import LanguageModel

LEAST = 20
# Words that jieba's dictionary tags as names of persons but that are titles, kinds of people or other words.
NO_NAMES = frozenset(
    [
        "王爷",
        "侯爷",
        "和尚",
        "老道",
        "道爷",
        "太尉",
        "周围",
        "明白",
        "小子",
        "连忙",
        "安排",
        "高兴",
        "伏乞",
        "应声",
        "温柔",
        "黄昏",
        "贾人",
        "老儿",
        "相公",
        "万万",
        "时辰",
        "金银",
        "雷声",
    ]
)


def read(paths: Path) -> tuple[TokenStream, TokenStream, TokenStream]:
    """Reads novels as for the figures of the other benchmarks; returns training, validation and test parts."""
    return TokenStream.from_files(paths, clean="indents+empty_lines", normalize="none").split(valid=0.05, test=0.05)


def names_of(corpus: TokenStream) -> dict[str, set[str]]:
    """Returns the names of persons with the titles of the novels that they occur in."""
    homes: dict[str, set[str]] = {}
    for novel, numbers in zip(corpus.documents, corpus.numbers(), strict=True):
        counts = torch.bincount(numbers)
        for number in (counts >= LEAST).nonzero()[:, 0].tolist():
            word = corpus.lexicon[number]
            if 2 <= len(word) <= 4 and word not in NO_NAMES:
                tagged = list(posseg.cut(word, HMM=False))
                if len(tagged) == 1 and tagged[0].flag.startswith("nr"):
                    homes.setdefault(word, set()).add(Path(novel.name).stem)
    return homes


def main() -> None:
    """Prints the table, and writes the texts into a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("novels", type=Path)
    parser.add_argument("book")
    parser.add_argument("--texts", type=int, default=20)
    parser.add_argument("--characters", type=int, default=2000)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.2, 0.35, 0.5])
    parser.add_argument("--output", type=Path, help="file for the texts")
    options = parser.parse_args()
    corpus, _, _ = read(options.novels)
    homes = names_of(corpus)
    book, valid, held_out = read(options.novels / options.book)
    title = Path(options.book).stem
    lstm = LSTMLanguageModel.from_pretrained(options.model)
    mixture = Mixture([lstm, NGramLanguageModel.from_stream(corpus, lstm.vocabulary)])
    mixture.fit_weights(valid)
    settings: dict[str, Callable[[], LanguageModel]] = {
        "LSTM": lambda: lstm,
        "LSTM + 4-gram": lambda: mixture,
        "LSTM + 4-gram + cache": lambda: ContinuousCache(mixture),
        "like, without cache": lambda: model_like(mixture, book, cache=False),
        **{f"like, weight {w}": functools.partial(model_like, mixture, book, weight=w) for w in options.weights},
    }
    print(f"{len(homes):,} names, {sum(title in novels for novels in homes.values()):,} of them in {title}")
    print(f"{'':24}{'persons':>9}{'3 times':>9}{'novels':>9}{'of book':>9}{'copied':>9}{'bits/char':>11}")
    for setting, build in settings.items():
        model = build()
        texts = Sampler(model).generate([""], num_samples=options.texts, max_characters=options.characters)
        rows = []
        for text in texts:
            words = TokenStream.from_texts([text])
            counted = Counter(words.lexicon[number] for block in words.numbers() for number in block.tolist())
            cast = {word: count for word, count in counted.items() if word in homes}
            at_home = sum(count for word, count in cast.items() if title in homes[word])
            novels = Counter(novel for word in cast for novel in homes[word])
            rows.append(
                (len(cast), sum(count >= 3 for count in cast.values()), len(novels), at_home, sum(cast.values()))
            )
        found = novelty("\n".join(texts), corpus, num_passages=1)
        bits = evaluate(model, held_out).bits_per_character
        persons, often, novels, at_home, mentions = (statistics.mean(column) for column in zip(*rows, strict=True))
        print(
            f"{setting:24}{persons:9.1f}{often:9.1f}{novels:9.1f}{at_home / max(mentions, 1):9.0%}"
            f"{found.longest_copy:9}{bits:11.3f}",
            flush=True,
        )
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.writelines(f"=== {setting}, {number}\n{text}\n" for number, text in enumerate(texts, 1))


if __name__ == "__main__":
    main()
