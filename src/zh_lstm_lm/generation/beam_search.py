"""Beam search: the likeliest texts, found with several beginnings at a time."""

import math
from dataclasses import dataclass

import torch

from zh_lstm_lm._config import check_number
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.loop import Token, read_prompts
from zh_lstm_lm.generation.next_token import NextTokenSampler
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["Beam", "beam_search"]

# The power of the length of a text without a limit is finite up to this exponent.
_MOST_PENALTY = 16.0


@dataclass(frozen=True)
class Beam:
    """A text or its beginning: the draft, the tokens after the prompt, and the sum of their scores, in nats."""

    draft: Draft
    tokens: tuple[Token, ...] = ()
    score: float = 0.0

    def normalised(self, length_penalty: float) -> float:
        """Returns score / length ** penalty, by which texts are compared (Wu et al., 2016, in Hugging Face's form)."""
        return _normalised(self.score, max(len(self.tokens), 1), length_penalty)

    def at_best(self, length_penalty: float) -> float:
        """Returns an upper bound of the finished text, since no further token adds to the score."""
        most = len(self.tokens) + self.draft.left
        return _normalised(self.score, most if length_penalty > 0 else len(self.tokens) + 1, length_penalty)


@on_cpu_by_default
def beam_search(
    model: LanguageModel,
    sampler: NextTokenSampler,
    draft: Draft,
    *,
    num_beams: int,
    length_penalty: float,
    num_results: int,
) -> list[Beam]:
    """Returns the likeliest finished continuations of a text, the best first; `num_results` unless there are fewer."""
    check_number("length_penalty", length_penalty, minimum=-_MOST_PENALTY, maximum=_MOST_PENALTY)
    draft.begin()
    state = read_prompts(model, [draft])
    beams, finished = [Beam(draft)], []
    if draft.finish_reason is not None:
        return beams
    while beams:
        check_interruption()
        drafts = [beam.draft for beam in beams]
        with torch.inference_mode():
            last = torch.tensor([[draft.ids[-1]] for draft in drafts], device=model.device)
            context, state = model.read(last, state)
            log_probs = model.log_probs(context)
            scores = sampler.beam_scores(drafts, log_probs)  # (beams, vocab_size)
            sums = scores.double() + torch.tensor([beam.score for beam in beams], device=scores.device)[:, None]
            # Twice as many as beams, so that enough are left if half of them end here.
            best = sums.flatten().topk(min(2 * num_beams, sums.numel()))
            parents, ids = best.indices // scores.shape[1], best.indices % scores.shape[1]
            values = log_probs[parents, ids].tolist()
        going: list[Beam] = []
        rows: list[int] = []
        candidates = zip(best.values.tolist(), parents.tolist(), ids.tolist(), values, strict=True)
        for rank, (score, row, token_id, log_prob) in enumerate(candidates):
            if score == -math.inf or len(going) == num_beams:
                break
            token = Token(token_id, sampler.text_after(beams[row].draft.ids[-1], token_id), log_prob)
            beam = Beam(beams[row].draft.fork(), (*beams[row].tokens, token), score)
            beam.draft.add(token_id, token.text, state, row)
            if beam.draft.finish_reason is None:
                going.append(beam)
                rows.append(row)
            elif rank < num_beams:
                finished.append(beam)
        if not going and not finished:
            # Every token is banned in all beginnings.
            for beam in beams:
                beam.draft.end()
            return beams[:num_results]
        finished.sort(key=lambda beam: -beam.normalised(length_penalty))
        del finished[num_beams:]
        if len(finished) == num_beams:
            least = finished[num_results - 1].normalised(length_penalty)
            if all(beam.at_best(length_penalty) <= least for beam in going):
                break
        beams, state = going, state.rows(rows)
    return finished[:num_results]


def _normalised(score: float, length: int, length_penalty: float) -> float:
    weight: float = float(length) ** length_penalty
    return score / weight
