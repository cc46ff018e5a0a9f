"""The speed of a mixture with n-grams and cache against its LSTM alone, in turn, and what each part adds.

    python benchmarks/mixture.py CORPUS MODEL [--order 4] [--rounds 3]

The corpus is read as in ``time_to_quality.py``, and MODEL is the folder of an LSTM that was trained on its training part.
Speeds are ratios of one run: words a second of one text that is generated, and tokens a second of an evaluation. Memory is
the greatest of a process that loads the saved model, writes and evaluates, and that of this one, counting included,
as Linux reports it.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from zh_lstm_lm import (
    ContinuousCache,
    LanguageModel,
    LSTMLanguageModel,
    Mixture,
    NGramLanguageModel,
    Sampler,
    SamplerConfig,
    TokenStream,
    evaluate,
    from_pretrained,
)
from zh_lstm_lm.evaluation.parts import describe_parts, parts_table

_WORDS = 300


def main() -> None:
    """Counts, fits, measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("model")
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        _use(options.corpus, options.model)
        return

    lstm = LSTMLanguageModel.from_pretrained(options.model)
    train, valid, test = _parts(options.corpus, lstm)
    # The memory of the LSTM alone.
    evaluate(lstm, test)
    memory, began = _memory(), time.perf_counter()
    ngram = NGramLanguageModel.from_stream(train, lstm.vocabulary, options.order, prune=(0, 0, 0, 1))
    print(f"{sum(ngram.num_ngrams):,} n-grams in {time.perf_counter() - began:.1f} s", flush=True)
    mixture = ContinuousCache(Mixture([lstm, ngram])).fit_weights(valid)
    models: dict[str, LanguageModel] = {"LSTM": lstm, "LSTM + n-gram": mixture.model, "LSTM + n-gram + cache": mixture}

    def generate(model: LanguageModel) -> float:
        sampler = Sampler(model, SamplerConfig(seed=0))
        began = time.perf_counter()
        sampler.generate(max_new_tokens=_WORDS)
        return _WORDS / (time.perf_counter() - began)

    def measure(model: LanguageModel) -> float:
        began = time.perf_counter()
        result = evaluate(model, test)
        if model is mixture:
            print(parts_table(describe_parts(mixture, result)), flush=True)
        return len(test) / (time.perf_counter() - began)

    _compare("words a second of one text", models, generate, options.rounds)
    _compare("tokens a second of an evaluation", models, measure, 1)
    print(f"greatest memory {memory:,.0f} MB of the LSTM alone, {_memory():,.0f} MB after all, counting included")
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("LSTM", lstm), ("LSTM + n-gram + cache", mixture)):
            model.save_pretrained(path := Path(folder, name))
            command = [sys.executable, __file__, options.corpus, str(path), "--memory"]
            print(
                f"{name}, loaded:", subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            )


def _parts(corpus: str, model: LanguageModel) -> tuple[TokenStream, TokenStream, TokenStream]:
    tokenizer = model.vocabulary.tokenizer
    return TokenStream.from_files(corpus, tokenizer=tokenizer, clean="indents+empty_lines", normalize="none").split()


def _use(corpus: str, path: str) -> None:
    """Loads a model, writes and evaluates, and prints the memory that each took."""
    model = from_pretrained(path)
    Sampler(model, SamplerConfig(seed=0)).generate(max_new_tokens=_WORDS)
    writing = _memory()
    evaluate(model, _parts(corpus, model)[2])
    print(f"greatest memory {writing:,.0f} MB of writing, {_memory():,.0f} MB of evaluation as well")


def _compare(what: str, models: dict[str, LanguageModel], speed: Callable[[LanguageModel], float], rounds: int) -> None:
    speeds = [[speed(model) for model in models.values()] for _ in range(rounds)]
    for number, name in enumerate(models):
        each = [of_round[number] for of_round in speeds]
        ratio = statistics.median(of_round[number] / of_round[0] for of_round in speeds)
        print(f"{what}, {name}: {statistics.median(each):,.0f} ({ratio:.2f} of the LSTM alone)", flush=True)


def _memory() -> float:
    """Returns the greatest memory of this process in MB, without what it inherits from the one that started it."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))[0]) / 1024


if __name__ == "__main__":
    main()
