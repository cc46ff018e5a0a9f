"""How soon everything is there: the import, the help, the first use, the first word, the first batch of an epoch.

    python benchmarks/starting.py [CORPUS] [--rounds 11]

Each row is a process of its own, all rows in turn, round after round; printed is the median of the processor seconds
(user and system, which other work on the machine disturbs less than wall time) above those of the row that it is
compared with. CORPUS is a folder of texts that gets cached in the first round; with it, the last rows tell how soon the
first batch of a cached corpus is there, and which share of a training step goes into its batch.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from zh_lstm_lm import LSTMLanguageModel, TokenStream, Trainer, TrainerConfig, Vocabulary
from zh_lstm_lm.corpus.batches import TrainingWindows

NAMES = "LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, TokenStream, Trainer, TrainerConfig, Vocabulary, score"
WORD = "from zh_lstm_lm import get_tokenizer; get_tokenizer('jieba')"
ROWS = {  # what, the arguments of Python, and the row to compare with
    "Python itself": (["-c", "pass"], None),
    "import zh_lstm_lm": (["-c", "import zh_lstm_lm"], "Python itself"),
    "zh-lstm-lm --help": (["-c", "from zh_lstm_lm.cli.main import main; main()", "--help"], "Python itself"),
    "import torch": (["-c", "import torch"], None),
    "a tokenizer": (["-c", WORD], "Python itself"),
    "first word": (["-c", f"{WORD}.tokenize('话说展爷大喜')"], "a tokenizer"),
}


def processor_seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """User and system time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_use_seconds(environment: dict[str, str]) -> float:
    """What all names of the usual script take after torch is there; of torch's own seconds, the noise alone is more."""
    clock = "import time, torch; begin = time.process_time()"
    code = f"{clock}; from zh_lstm_lm import {NAMES}; print(time.process_time() - begin)"
    return float(subprocess.check_output([sys.executable, "-c", code], env=environment))


def print_starts(rounds: int) -> None:
    """Prints the rows of processes."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "ZH_LSTM_LM_CACHE": cache, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for arguments, _ in ROWS.values():  # compiles modules, as an installer does, and indexes the dictionary
            processor_seconds(arguments, environment)
        found: dict[str, list[float]] = {name: [] for name in ROWS}
        for _ in range(rounds):
            for name, (arguments, _) in ROWS.items():
                found[name].append(processor_seconds(arguments, environment))
        first_use = [first_use_seconds(environment) for _ in range(rounds + 1)][1:]
    print(f"{'':<24}{'processor ms':>14}{'above':>8}")
    for name, (_, base) in ROWS.items():
        own = statistics.median(found[name])
        above = f"{1e3 * (own - statistics.median(found[base])):8.0f} {base}" if base else ""
        print(f"{name:<24}{1e3 * own:14.0f}{above}")
    print(f"{'first use':<24}{'':14}{1e3 * statistics.median(first_use):8.0f} import torch")


def print_epoch(corpus: str, rounds: int) -> None:
    """Prints how soon the first batch is there, and what batches cost beside updates."""
    stream = TokenStream.from_files(corpus)
    vocabulary = Vocabulary.from_stream(stream, min_freq=3, max_size=60_000)
    opening, starting = [], []
    for _ in range(rounds):
        began = time.process_time()
        stream = TokenStream.from_files(corpus)
        opened = time.process_time()
        TrainingWindows(vocabulary.encode_stream(stream), batch_size=32, bptt_len=35)[0]
        opening.append(opened - began)
        starting.append(time.process_time() - opened)
    print(
        f"\n{len(stream):,} tokens, cached: opened and verified in {statistics.median(opening):.2f} processor seconds,"
    )
    print(f"the first batch after {statistics.median(starting):.2f} more")
    trainer = Trainer(
        LSTMLanguageModel(vocabulary), stream, None, TrainerConfig(max_steps=40, batch_size=32), progress=False
    )
    began = time.process_time()
    trainer.fit()
    updates = time.process_time() - began
    windows = TrainingWindows(vocabulary.encode_stream(stream), batch_size=32, bptt_len=TrainerConfig().bptt_len)
    began = time.process_time()
    for number in range(40):
        windows[number]
    print(f"batches take {(time.process_time() - began) / updates:.2%} of 40 updates")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    print_starts(options.rounds)
    if options.corpus:
        print_epoch(options.corpus, options.rounds)


if __name__ == "__main__":
    main()
