"""A model inside a program of yours: loaded once, asked for text and for surprisal, errors caught in one place.

    python examples/embed_in_your_project.py [MODEL]    a saved model, or an n-gram model of the bundled novella

A web service asks for the model in the same way; `zh-lstm-lm serve MODEL` is one that is ready.
"""

import sys
from functools import lru_cache

import zh_lstm_lm as lm


@lru_cache(maxsize=1)
def load(path: str | None) -> lm.LanguageModel:
    """Loads the model at the first request; threads may share it."""
    if path is not None:
        model: lm.LanguageModel = lm.from_pretrained(path)
        return model
    novel = lm.TokenStream.from_texts([lm.sample_novel()])
    return lm.NGramLanguageModel.from_stream(novel, lm.Vocabulary.from_stream(novel), order=4)


def continue_text(model: lm.LanguageModel, prompt: str, seed: int) -> str:
    """Returns a continuation; equal seeds give equal texts."""
    sampler = lm.Sampler(model, lm.SamplerConfig(top_p=0.9, seed=seed))
    return sampler.generate(prompt, max_characters=60, end="sentence")


def main() -> None:
    """Answers a few requests, one of which is refused."""
    model = load(sys.argv[1] if len(sys.argv) > 1 else None)
    for prompt, seed in (("雪下了", 0), ("雪下了", 1), ("a lone surrogate: \ud800", 0)):
        try:
            print(f"{seed}: {continue_text(model, prompt, seed)!r}")
        except lm.ZhLstmLmError as error:
            # Each message names what was wrong and what to do; it can be shown to the user.
            print(f"refused: {error}")


if __name__ == "__main__":
    main()
