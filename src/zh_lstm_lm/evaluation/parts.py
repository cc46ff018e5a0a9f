"""The parts of a mixture side by side: their weights and metrics."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from zh_lstm_lm.corpus.token_stream import TokenStream
from zh_lstm_lm.evaluation.result import EvaluationResult, ParagraphSums
from zh_lstm_lm.evaluation.scored_text import Score
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.models.components import fit_weights, part_weights, parts_of
from zh_lstm_lm.models.continuous_cache import ContinuousCache
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.mixture import Mixture
from zh_lstm_lm.models.ngram import NGramLanguageModel

__all__ = ["describe_parts", "metrics_line", "mix_models", "parts_table"]

# The weight of the cache before weights are fitted, where the LSTM and the n-gram model are equal.
_CACHE_WEIGHT = 0.2


def mix_models(lstm: LSTMLanguageModel, ngram: NGramLanguageModel, valid: TokenStream | None = None) -> ContinuousCache:
    """Builds the mixture that ``zh-lstm-lm train`` saves: both models and a cache of the latest words.

    The validation set is read once, for the weights and for ``training_summary["valid_parts"]``, which `describe_parts`
    returned. Without one the cache gets 0.2 and the models share the rest equally.
    """
    mixture = ContinuousCache(Mixture([lstm, ngram]), cache_weight=_CACHE_WEIGHT)
    if not valid:
        mixture.training_summary["weights"] = "not fitted on a validation set"
        return mixture
    positions, log_probs = fit_weights(mixture, valid)
    ids = mixture.vocabulary.encode_stream(valid)
    results = []
    for _, _, of_part in parts_of(mixture, log_probs):
        sums = ParagraphSums(mixture.vocabulary, ids)
        sums.add(positions, of_part)
        results.append(sums.result(valid.clean))
    whole = replace(results[-1], parts=dict(zip(part_weights(mixture), results[:-1], strict=False)))
    mixture.training_summary["weights"] = f"fitted on {len(valid):,} tokens"
    mixture.training_summary["valid_parts"] = describe_parts(mixture, whole)
    return mixture


def describe_parts(model: LanguageModel, result: EvaluationResult) -> list[dict[str, Any]]:
    """Returns the name, the weight in the whole, bits per character and perplexity of each part, the whole last."""
    return [
        {
            "name": name,
            "weight": round(weight, 4),
            "bits_per_character": each.bits_per_character and round(each.bits_per_character, 4),
            "perplexity": round(each.perplexity, 2) if math.isfinite(each.perplexity) else None,
        }
        for (name, weight), each in zip(part_weights(model).items(), [*result.parts.values(), result], strict=True)
    ]


def parts_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns what `describe_parts` returned as lines of text."""
    width = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        bits, perplexity = row["bits_per_character"], row["perplexity"]
        of_characters = "" if bits is None else f"{bits:7.4f} bits/character  "
        of_tokens = "infinite" if perplexity is None else f"{perplexity:,.2f}"
        lines.append(
            f"{row['name']:{width}}  weight {row['weight']:.3f}  {of_characters}perplexity {of_tokens:>8} per token"
        )
    return "\n".join(lines)


def metrics_line(result: EvaluationResult | Score) -> str:
    """Returns the metrics of an evaluation or of a score as a line of text."""
    tokens = f"perplexity {result.perplexity:,.2f} per token"
    if result.bits_per_character is None:
        known = f"{result.perplexity_excluding_unknown:,.2f}"
        return f"unknown {result.unknown_rate:.2%}  {tokens} ({known} without <unk>)  {result.num_tokens:,} tokens"
    bits = f"{result.num_characters:,} characters  {result.bits_per_character:.4f} bits/character"
    return f"{bits}  {tokens}  {result.num_tokens:,} tokens"
