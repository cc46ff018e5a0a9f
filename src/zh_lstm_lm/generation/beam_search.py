"""Beam search: the likeliest texts, looked for with several beginnings at a time."""

import math
from dataclasses import dataclass

import torch

from zh_lstm_lm._config import check_number
from zh_lstm_lm.generation.draft import WrittenText
from zh_lstm_lm.generation.loop import read_prompts
from zh_lstm_lm.generation.next_token import TokenDrawer
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["Beam", "beam_search"]

_MOST_PENALTY = 16.0  # with which the power of a length without a limit is still a number


@dataclass(frozen=True)
class Beam:
    """A text or its beginning.

    Attributes:
        text: The text.
        drawn: What was written after the prompt: ids and their log-probabilities by the model itself, in nats.
        score: The sum of the log-probabilities that the search adds up, in nats.
    """

    text: WrittenText
    drawn: tuple[tuple[int, float], ...] = ()
    score: float = 0.0

    def normalised(self, length_penalty: float) -> float:
        """What texts are compared by (Wu et al., 2016, in Hugging Face's form): score / length ** penalty."""
        return _normalised(self.score, max(len(self.drawn), 1), length_penalty)

    def at_best(self, length_penalty: float) -> float:
        """The most that the text can be worth when it is finished, since no further token adds to the score."""
        most = len(self.drawn) + self.text.left
        return _normalised(self.score, most if length_penalty > 0 else len(self.drawn) + 1, length_penalty)


def beam_search(
    drawer: TokenDrawer, text: WrittenText, *, num_beams: int, length_penalty: float, num_results: int
) -> list[Beam]:
    """Looks for the likeliest continuations of a text.

    Args:
        drawer: Where the scores come from.
        text: The text with its prompt.
        num_beams: Beginnings that are kept.
        length_penalty: See `Beam.normalised`.
        num_results: How many to give.

    Returns:
        Finished texts, the best first; fewer than `num_results` where there are no more.
    """
    check_number("length_penalty", length_penalty, minimum=-_MOST_PENALTY, maximum=_MOST_PENALTY)
    model, read = drawer.model, drawer.begin()
    text.begin()
    state = read_prompts(model, [text])
    beams, finished = [Beam(text)], []
    if text.finish_reason is not None:
        return beams
    while beams:
        check_interruption()
        texts = [beam.text for beam in beams]
        last = torch.tensor([text.ids[-1] for text in texts], device=model.device)
        with torch.inference_mode():
            hidden, state = read(last, state)
            steps = drawer.scores(texts, hidden)  # (beams, vocab_size)
            sums = steps.double() + torch.tensor([beam.score for beam in beams], device=steps.device)[:, None]
            best = sums.flatten().topk(min(2 * num_beams, sums.numel()))  # those that end here leave enough to go on
            parents, ids = best.indices // steps.shape[1], best.indices % steps.shape[1]
            log_probs = drawer.log_probs(hidden[parents], ids)
        going: list[Beam] = []
        rows: list[int] = []
        candidates = zip(best.values.tolist(), parents.tolist(), ids.tolist(), log_probs, strict=True)
        for rank, (score, row, token_id, log_prob) in enumerate(candidates):
            if score == -math.inf or len(going) == num_beams:
                break
            beam = Beam(beams[row].text.fork(), (*beams[row].drawn, (token_id, log_prob)), score)
            beam.text.add(token_id, drawer.tokens[token_id], state, row)
            if beam.text.finish_reason is None:
                going.append(beam)
                rows.append(row)
            elif rank < num_beams:
                finished.append(beam)
        finished.sort(key=lambda beam: -beam.normalised(length_penalty))
        del finished[num_beams:]
        if len(finished) == num_beams:
            least = finished[num_results - 1].normalised(length_penalty)
            if all(beam.at_best(length_penalty) <= least for beam in going):
                break
        beams, state = going, (state[0][:, rows], state[1][:, rows])
    return finished[:num_results]


def _normalised(score: float, length: int, length_penalty: float) -> float:
    weight: float = float(length) ** length_penalty
    return score / weight
