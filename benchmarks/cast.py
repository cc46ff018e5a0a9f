"""The cast of generated texts: the persons that they name, how often each comes again, and the novels they are from.

    python benchmarks/cast.py MODEL NOVELS BOOK [--texts 20] [--characters 2000] [--weights 0.2 0.35 0.5] [--seed 0]
        [--output FILE]

MODEL is a saved LSTM, NOVELS the folder that it was trained on, and BOOK the name of one of the files in it. All
settings write with the same seed at the default options. A name is a word of two to four characters that occurs at least
20 times in a novel, three times of them before a word for speaking, and that jieba's dictionary tags as a name or does
not have; it is of the novels in which it does, at most five. Bits per character are those of the last 5 % of the book, which neither
the model nor the n-grams have seen. Means over the texts; the longest copied passage, in characters, is that of all.
Repeated are the 4-grams of words that occurred in their text before.
"""

import argparse
import functools
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jieba import posseg

from zh_lstm_lm import (
    LSTMLanguageModel,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    evaluate,
    novelty,
)
from zh_lstm_lm.evaluation.parts import mix_models
from zh_lstm_lm.generation.like import model_like
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.tokenizers.base import Tokenizer

LEAST, LEAST_SPEAKING, MOST_NOVELS = 20, 3, 5
# Words that are taken for names by mistake, with spaces between.
NO_NAMES = (
    " 闻听 著急 恶奴 武生 太公 童儿 童子 老祖 小番 喽兵 来报 大悦 大骂 一笑 一想 三人 冷笑 大王 老太太 大呼 高叫 报进 大喝 自思 "
    "心下 接著 有何 因何 作歌 众臣 诸臣 文武 营中 尼姑 老虎 小贼 王大怒 见子牙 子牙大惊 大官人 大将军 "
)
SPEAKING = ["道", "说", "说道", "笑道", "问道", "喝道", "答道", "叫道", "曰", "大怒", "大喜", "笑"]


def read(paths: Path, tokenizer: Tokenizer) -> tuple[TokenStream, TokenStream, TokenStream]:
    """Reads novels as for the figures of the other benchmarks; returns training, validation and test parts."""
    stream = TokenStream.from_files(paths, tokenizer=tokenizer, clean="indents+empty_lines", normalize="none")
    return stream.split(valid=0.05, test=0.05)


def names_of(corpus: TokenStream) -> dict[str, set[str]]:
    """Returns the names of persons with the titles of the novels that they are of."""
    size = len(corpus.lexicon)
    speaking = torch.tensor([number for number, word in enumerate(corpus.lexicon) if word in SPEAKING])
    homes: dict[str, set[str]] = {}
    # A novel is shorter than a block.
    for novel, numbers in zip(corpus.documents, corpus.numbers(), strict=True):
        counts = torch.bincount(numbers, minlength=size)
        before_speaking = torch.bincount(numbers[:-1][torch.isin(numbers[1:], speaking)], minlength=size)
        for number in ((counts >= LEAST) & (before_speaking >= LEAST_SPEAKING)).nonzero()[:, 0].tolist():
            word = corpus.lexicon[number]
            if 2 <= len(word) <= 4 and posseg.dt.word_tag_tab.get(word, "nr").startswith("nr"):
                homes.setdefault(word, set()).add(Path(novel.name).stem)
    # What is of many novels is a title, as in 元帅道, or no person.
    return {
        word: novels for word, novels in homes.items() if len(novels) <= MOST_NOVELS and f" {word} " not in NO_NAMES
    }


def cast_of(texts: Sequence[str], homes: dict[str, set[str]], title: str) -> list[float]:
    """Returns means per text: persons, those named three times, novels, proportion of the book, repeated 4-grams."""
    rows = []
    for text in texts:
        stream = TokenStream.from_texts([text])
        words = Counter(stream.lexicon[number] for block in stream.numbers() for number in block.tolist())
        cast = {word: count for word, count in words.items() if word in homes}
        of_book = [word for word in cast if title in homes[word]]
        # The fewest novels that have all names, greedily.
        missing, novels = set(cast), 0
        while missing:
            best = Counter(novel for word in missing for novel in homes[word]).most_common(1)[0][0]
            missing = {word for word in missing if best not in homes[word]}
            novels += 1
        often = sum(count >= 3 for count in cast.values())
        numbers = [number for block in stream.numbers() for number in block.tolist()]
        ngrams = [tuple(numbers[start : start + 4]) for start in range(len(numbers) - 3)]
        rows.append((len(cast), often, novels, len(of_book) / max(len(cast), 1), 1 - len(set(ngrams)) / len(ngrams)))
    return [statistics.mean(column) for column in zip(*rows, strict=True)]


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
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lstm = LSTMLanguageModel.from_pretrained(options.model)
    corpus, _, _ = read(options.novels, lstm.vocabulary.tokenizer)
    homes = names_of(corpus)
    book, valid, held_out = read(options.novels / options.book, lstm.vocabulary.tokenizer)
    title = Path(options.book).stem
    plain = SamplerConfig(seed=options.seed)
    saved = mix_models(lstm, NGramLanguageModel.from_stream(corpus, lstm.vocabulary), valid)
    settings: dict[str, tuple[Callable[[], LanguageModel], SamplerConfig]] = {
        "LSTM": (lambda: lstm, plain),
        "LSTM + 4-gram + cache": (lambda: saved, plain),
        **{
            f"like, weight {weight:g}": (functools.partial(model_like, saved, book, weight=weight), plain)
            for weight in options.weights
        },
        "like, cache weight 0.2": (
            lambda: model_like(saved, book, weight=0.35),
            SamplerConfig(cache_weight=0.2, seed=options.seed),
        ),
        "like, without cache": (lambda: model_like(saved, book, weight=0.35, cache=False), plain),
        "LSTM + 4-gram": (lambda: saved.model, plain),
        "like, LSTM alone": (lambda: model_like(lstm, book, weight=0.35), plain),
    }
    print(f"{len(homes):,} names, {sum(title in novels for novels in homes.values()):,} of them in {title}")
    print(
        f"{'':24}{'persons':>9}{'3 times':>9}{'novels':>9}{'of book':>9}{'repeated':>9}{'copied':>9}{'bits/char':>11}"
    )
    whole = "".join(book.lexicon[number] for block in book.numbers() for number in block.tolist())
    step = len(whole) // options.texts
    passages = [whole[number * step :][: options.characters] for number in range(options.texts)]
    print(row("the book itself", cast_of(passages, homes, title)))
    for setting, (build, config) in settings.items():
        sampler = Sampler(build(), config)
        texts = sampler.generate([""], num_samples=options.texts, max_characters=options.characters)
        # No passage goes over a character that the novels do not have.
        longest = novelty("\ufffd".join(texts), corpus, num_passages=1).longest_copy
        bits = evaluate(sampler.model, held_out).bits_per_character
        print(f"{row(setting, cast_of(texts, homes, title))}{longest:9}{bits:11.3f}", flush=True)
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.writelines(f"=== {setting}, {number}\n{text}\n" for number, text in enumerate(texts, 1))


def row(setting: str, cast: Sequence[float]) -> str:
    """Returns the first columns of the table."""
    persons, often, novels, of_book, repeated = cast
    return f"{setting:24}{persons:9.1f}{often:9.1f}{novels:9.1f}{of_book:9.0%}{repeated:9.1%}"


if __name__ == "__main__":
    main()
