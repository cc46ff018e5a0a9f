"""Comparison of two models on the same text: the difference in bits per character, with its confidence interval."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zh_lstm_lm._config import check_type
from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.evaluation.bootstrap import paired_bootstrap
from zh_lstm_lm.evaluation.evaluate import evaluate
from zh_lstm_lm.evaluation.result import EvaluationResult
from zh_lstm_lm.models.base import LanguageModel, check_model
from zh_lstm_lm.models.components import nested_models
from zh_lstm_lm.runtime.devices import on_cpu_by_default

__all__ = ["ModelComparison", "compare_models"]


@dataclass(frozen=True)
class ModelComparison:
    """The result of `compare_models`; ``print`` shows it.

    Attributes:
        a: The evaluation of the first model.
        b: That of the second one.
        difference: Bits per character of *b* minus those of *a*; negative where *b* is better.
        interval: Low and high end of the confidence interval of the difference.
        confidence: Proportion of the resamples in the interval.
        num_paragraphs: Number of paragraphs that were resampled.
        same_characters: Whether both models predicted the same characters; their normalisations can differ.
        differences: What else differs between the models and the texts that they learned from, or is not known: a pair
            of values, None for one that the model does not record, for some of ``"normalisation"``, ``"tokenizer"``,
            ``"cleaning"`` and ``"characters of training text"``.
    """

    a: EvaluationResult
    b: EvaluationResult
    difference: float
    interval: tuple[float, float]
    confidence: float
    num_paragraphs: int
    same_characters: bool
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def better(self) -> str | None:
        """The better model, ``"a"`` or ``"b"``; None where the interval holds 0."""
        low, high = self.interval
        return "b" if high < 0 else "a" if low > 0 else None

    def __str__(self) -> str:
        low, high = self.interval
        verdict = {"a": "A is better", "b": "B is better", None: "no clear difference"}[self.better]
        characters = "the same" if self.same_characters else "different, by the models' normalisations"
        return "\n".join(
            [
                f"B - A: {self.difference:+.4f} bits/character, {self.confidence:.0%} interval {low:+.4f} to {high:+.4f}"
                f" ({self.num_paragraphs:,} paragraphs): {verdict}",
                f"text: read once for both, cleaning {self.a.clean}, characters {characters}",
                *(f"{name}: A {_shown(a)}, B {_shown(b)}" for name, (a, b) in self.differences.items()),
            ]
        )


@on_cpu_by_default
def compare_models(
    a: LanguageModel,
    b: LanguageModel,
    stream: TokenStream,
    *,
    batch_size: int = 64,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ModelComparison:
    """Compares two models on the same text, in bits per character, with a paired bootstrap over paragraphs.

    The models need not have the same tokenizer: where the stream was segmented or normalised in another way than a
    model's, its text is segmented anew for that model. Where their normalisations differ, read the stream with
    ``normalize="none"``, so that each model applies its own.

    Args:
        a: Any `LanguageModel`.
        b: Another one.
        stream: The text, which neither model has learned from.
        batch_size: Number of segments read in a batch.
        num_resamples: Number of resamples.
        confidence: Proportion of the resamples inside the interval.
        seed: Seed of the resampling.

    Raises:
        ConfigError: A model has a vocabulary with ``unknown="unk"``, which has no bits per character, or an option is out
            of range.
        DataError: The text has fewer than two paragraphs.
        NonFiniteError: The log-probabilities of a model are NaN.
    """
    models = {"a": a, "b": b}
    for name, model in models.items():
        check_model(name, model)
        if model.vocabulary.unk_id is not None:
            raise ConfigError(
                f"{name} has a vocabulary with unknown='unk', whose <unk> hides text, so its bits per character are not "
                "known and it cannot be compared; give a model with unknown='characters'"
            )
    check_type("stream", stream, TokenStream)
    streams = [
        stream.segmented_for(model.vocabulary.tokenizer, model.vocabulary.normalize) for model in models.values()
    ]
    results = [
        evaluate(model, text, batch_size=batch_size) for model, text in zip(models.values(), streams, strict=True)
    ]
    sums = [result.paragraph_sums for result in results]
    assert sums[0] is not None
    assert sums[1] is not None
    if len(sums[0]) != len(sums[1]):
        raise DataError(
            f"the normalisations {a.vocabulary.normalize} and {b.vocabulary.normalize} leave {len(sums[0]):,} and "
            f"{len(sums[1]):,} paragraphs, which cannot be compared; read the text with normalize='none'"
        )
    interval = paired_bootstrap(sums[0], sums[1], num_resamples=num_resamples, confidence=confidence, seed=seed)
    bits_a, bits_b = (result.bits_per_character or 0.0 for result in results)
    described = zip(_described(a).items(), _described(b).values(), strict=True)
    return ModelComparison(
        results[0],
        results[1],
        bits_b - bits_a,
        interval,
        confidence,
        int((sums[0][:, 1] > 0).sum()),
        streams[0] is streams[1] or all(x == y for x, y in zip(*(each.texts() for each in streams), strict=True)),
        {name: (of_a, of_b) for (name, of_a), of_b in described if of_a != of_b or of_a is None},
    )


def _shown(value: Any) -> str:
    return "not known" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _described(model: LanguageModel) -> dict[str, Any]:
    """Returns the conditions under which a model predicts and was trained, as far as they are known."""
    summaries = [getattr(each, "training_summary", {}) for each in nested_models(model)]
    vocabulary = model.vocabulary
    return {
        "normalisation": vocabulary.normalize,
        "tokenizer": vocabulary.tokenizer.name or vocabulary.tokenizer.fingerprint,
        "cleaning": next((each["clean"] for each in summaries if "clean" in each), None),
        "characters of training text": next((each["characters"] for each in summaries if "characters" in each), None),
    }
