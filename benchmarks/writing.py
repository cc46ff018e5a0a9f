"""Samples of a model at several settings side by side, and the number of them with unbalanced quotes or brackets.

    python benchmarks/writing.py MODEL [--samples 1000] [--tokens 200] [--prompt 话说]

Balanced means that every paragraph closes what it opens, in order, and nothing else. The texts end at a number of
tokens, in the middle of a sentence. The distinct words and the repeated bigrams of words stand beside each setting.
"""

import argparse
import itertools
from collections.abc import Sequence

from zh_lstm_lm import GenerationResult, Sampler, SamplerConfig, from_pretrained
from zh_lstm_lm.generation.punctuation import PAIRS

SETTINGS = {
    "temperature 1, all words": SamplerConfig(temperature=1.0, top_p=1.0),
    "temperature 0.8, top-p 0.95 (default)": SamplerConfig(),
    "temperature 0.6, top-p 0.95": SamplerConfig(temperature=0.6),
    "temperature 1, top-k 40": SamplerConfig(temperature=1.0, top_p=1.0, top_k=40),
    "temperature 0.9, min-p 0.02": SamplerConfig(temperature=0.9, top_p=1.0, min_p=0.02),
}


def is_balanced(text: str) -> bool:
    """Returns True if every paragraph closes what it opens, in order, and nothing else."""
    for paragraph in text.split("\n"):
        opened: list[str] = []
        for character in paragraph:
            if character in PAIRS:
                if character in opened:
                    return False
                opened.append(character)
            elif character in PAIRS.values() and (not opened or PAIRS[opened.pop()] != character):
                return False
        if opened:
            return False
    return True


def repeated_pairs(results: Sequence[GenerationResult]) -> float:
    """Returns the proportion of bigrams of words that occurred in their text before."""
    pairs = [list(itertools.pairwise(result.ids)) for result in results]
    return 1 - sum(len(set(each)) for each in pairs) / sum(map(len, pairs))


def main() -> None:
    """Prints the samples and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--prompt", default="话说")
    parsed = parser.parse_args()
    model = from_pretrained(parsed.model)
    for name, config in SETTINGS.items():
        results = Sampler(model, config).generate(
            [parsed.prompt], num_samples=20, return_results=True, max_new_tokens=parsed.tokens
        )
        words = {word for result in results for word in result.ids}
        print(f"=== {name}: {len(words):,} distinct words, {repeated_pairs(results):.1%} of bigrams repeated")
        for result in results[:2]:
            print(result.text, end="\n---\n")
    for balanced in (True, False):
        sampler = Sampler(model, SamplerConfig(balanced_pairs=balanced, tidy_paragraphs=balanced))
        unbalanced = 0
        for first in range(0, parsed.samples, 100):
            number = min(100, parsed.samples - first)
            found = sampler.generate(
                [parsed.prompt], num_samples=number, first_sample=first, max_new_tokens=parsed.tokens
            )
            unbalanced += sum(not is_balanced(text) for text in found)
        print(
            f"{'with' if balanced else 'without'} the rules: {unbalanced:,} of {parsed.samples:,} texts have unbalanced pairs"
        )


if __name__ == "__main__":
    main()
