"""The public API as a user's program has it; mypy and pyright check it in strict mode, and nothing runs it."""

from pathlib import Path
from typing import Any

import torch
from typing_extensions import assert_type

import zh_lstm_lm as lm


class Story(lm.Callback):
    """A callback of the user."""

    def on_epoch_end(self, state: lm.TrainerState, model: lm.LSTMLanguageModel, record: dict[str, Any]) -> None:
        """Prints a number."""
        print(state.step, record["valid_loss"], model.num_parameters)


def train(novels: Path) -> lm.LanguageModel:
    """Reads, trains, mixes and saves."""
    corpus = lm.TokenStream.from_files([novels], tokenizer="jieba", clean="novel")
    parts = assert_type(corpus.split(by="document"), tuple[lm.TokenStream, lm.TokenStream, lm.TokenStream])
    vocabulary = lm.Vocabulary.from_stream(parts[0], unknown="characters")
    lstm = lm.LSTMLanguageModel(vocabulary, lm.ModelConfig(output="adaptive"))
    config = lm.TrainerConfig(max_minutes=10, schedule="cosine", precision="auto", run_dir=novels / "run")
    history = assert_type(
        lm.Trainer(lstm, parts[0], parts[1], config, callbacks=[Story()]).fit(resume=True), lm.History
    )
    assert_type(history[-1], dict[str, Any])
    ngram = lm.NGramLanguageModel.from_stream(parts[0], vocabulary, order=4)
    mixture = lm.ContinuousCache(lm.Mixture([lstm, ngram])).fit_weights(parts[1])
    assert_type(mixture, lm.ContinuousCache)
    mixture.save_pretrained("model")
    assert_type(lm.evaluate(mixture, parts[2]).bits_per_character, float | None)
    model: lm.LanguageModel = lm.from_pretrained("model")
    return model


def unchanged(ids: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """Is a logits processor."""
    return log_probs


def use(model: lm.LanguageModel) -> None:
    """Scores, rescores and writes."""
    assert_type(lm.score(model, "展昭大喜。").log_probs, tuple[float, ...])
    assert_type(lm.rescore(model, ["甲", "乙"], length_normalization="words")[0], lm.RescoredCandidate)
    sampler = lm.Sampler(model, lm.SamplerConfig(top_p=0.9, seed=1), processors=[unchanged])
    assert_type(sampler.generate("展昭", max_characters=100, end="sentence"), str)
    assert_type(sampler.generate(["展昭", "白玉堂"]), list[str])
    assert_type(sampler.generate("展昭", return_results=True), lm.GenerationResult)
    assert_type(sampler.write("novel.txt", max_characters=10_000), Path)


def misuse(model: lm.LSTMLanguageModel, stream: lm.TokenStream) -> None:
    """Holds that mistakes are found: an ignore that is not needed is an error."""
    lm.TrainerConfig(schedule="cosin")  # type: ignore[arg-type]
    lm.ModelConfig(output="both")  # type: ignore[arg-type]
    stream.split(by="head")  # type: ignore[arg-type]
    lm.study("seqlen", stream)  # type: ignore[arg-type]
    lm.evaluate(stream, model)  # type: ignore[arg-type]
