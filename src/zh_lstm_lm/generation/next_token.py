"""Next-token sampling: from a model's log-probabilities to one token for each text.

The order is that of Hugging Face's library: processors of the text so far (penalties, biases, then the user's),
temperature, cut-offs. The rules of punctuation come last: what they forbid is left out, the rest is renormalised, and a
paragraph end or the closing mark of an outer pair becomes the closing mark that has to come before it. Every text takes
one random number for each token, whatever the options are, so a neutral option does not change a text.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zh_lstm_lm.errors import ConfigError, NonFiniteError
from zh_lstm_lm.generation import logits_processors
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.logits_processors import LogitsProcessor
from zh_lstm_lm.generation.punctuation import PunctuationRules, Verdict
from zh_lstm_lm.models.base import LanguageModel

__all__ = ["NextTokenSampler"]

# The likeliest tokens, which nearly always hold all that top-k and top-p keep.
_CANDIDATES = 512
_BLOCK = 256


class NextTokenSampler:
    """Samples the next token of each text from log-probabilities of the whole vocabulary.

    Args:
        model: The model; its vocabulary and device are used.
        config: The sampling options.
        processors: Processors of the user, which follow those of the config.

    Attributes:
        tokens: The text of each id; empty for ids that are never sampled.
        rules: The rules of punctuation over the vocabulary.
        window: Number of latest ids that processors look at; None for all.

    Raises:
        ConfigError: A processor is not a function, a word of the options is not in the vocabulary, or every token is
            banned.
    """

    def __init__(self, model: LanguageModel, config: SamplerConfig, processors: Sequence[LogitsProcessor] = ()) -> None:
        vocabulary = model.vocabulary
        self.tokens = list(vocabulary.texts())
        self.rules = PunctuationRules(
            self.tokens,
            balanced_pairs=config.balanced_pairs,
            tidy_paragraphs=config.tidy_paragraphs,
            banned=config.banned_words,
        )
        self.window = None if processors else config.history_window
        self._bos_id = vocabulary.bos_id
        self._lengths = torch.tensor([len(token) for token in self.tokens]).to(model.device)
        self._longest = int(self._lengths.max())
        self._bans = logits_processors.banned_words(config.banned_words, self.tokens) if config.banned_words else None
        self._processors = [
            *config.history_processors(vocabulary),
            *(logits_processors.checked(processor) for processor in processors),
        ]
        self._cutoffs = config.cutoff_processors()
        self._config = config
        self._greedy = config.temperature == 0
        self._sorted = config.cuts_likeliest_only and not self._greedy
        writable = torch.zeros(len(self.tokens)).masked_fill_(self._lengths.cpu() == 0, -math.inf)
        if self._bans is not None and bool((self._bans(torch.zeros(1, 0).long(), writable[None]) == -math.inf).all()):
            raise ConfigError("banned_words ban every token of the vocabulary, so nothing can be written; ban fewer")
        # Added to log-probabilities: 0 for tokens with a text, minus infinity for the others.
        self._writable = writable.to(model.device)

    def sample(self, drafts: Sequence[Draft], log_probs: Tensor) -> list[int | None]:
        """Samples the next id of each text.

        Args:
            drafts: The texts.
            log_probs: The model's log-probabilities; they are left unchanged. **Shape:** (texts, vocab_size).

        Returns:
            An id for each text; None where every token that would fit is banned.

        Raises:
            NonFiniteError: A log-probability is NaN or infinite.
        """
        uniforms = [draft.random() for draft in drafts]
        chosen = [self._forced(draft) for draft in drafts]
        rows = [row for row, token_id in enumerate(chosen) if token_id is None]
        if rows:
            among = log_probs if len(rows) == len(drafts) else log_probs[rows]
            picked = self._pick([drafts[row] for row in rows], among, [uniforms[row] for row in rows])
            for row, token_id in zip(rows, picked, strict=True):
                chosen[row] = token_id
        return chosen

    def beam_scores(self, drafts: Sequence[Draft], log_probs: Tensor) -> Tensor:
        """Computes log-probabilities after processors and rules, without temperature and cut-offs.

        Args:
            drafts: The texts.
            log_probs: The model's log-probabilities. **Shape:** (texts, vocab_size).

        Returns:
            **Shape:** (texts, vocab_size); minus infinity for tokens that must not follow.
        """
        fitting, processed = self._process(drafts, log_probs)
        scores = processed.log_softmax(dim=-1)
        for row, draft in enumerate(drafts):
            token_id = self._forced(draft)
            if token_id is None:
                verdict = draft.verdict()
                moved = {source: mark for source, mark in verdict.moved.items() if fitting[row, mark] > -math.inf}
                for source, mark in moved.items():
                    scores[row, mark] = torch.logaddexp(scores[row, mark], scores[row, source])
                scores[row, [*moved, *verdict.forbidden]] = -math.inf
                if bool((scores[row] > -math.inf).any()):
                    continue
                token_id = self._likeliest(fitting[row], verdict)
            scores[row] = -math.inf
            if token_id is not None:
                scores[row, token_id] = 0.0
        return scores

    def _forced(self, draft: Draft) -> int | None:
        """Returns the id of the closing mark that has to follow; None for no such mark, or where it is banned."""
        token_id = draft.forced_id()
        if token_id is None or self._bans is None:
            return token_id
        allowed = self._bans(torch.tensor(draft.ids), torch.zeros(len(self.tokens)))
        return token_id if allowed[token_id] == 0 else None

    def _process(self, drafts: Sequence[Draft], log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """Leaves out tokens that do not fit or are banned, and applies the processors.

        Returns:
            The log-probabilities of the tokens that may follow, and the scores after the processors.
            **Shape:** (texts, vocab_size).
        """
        fitting = log_probs + self._writable.to(log_probs.device)
        rooms = [min(draft.room_for_token, self._longest) for draft in drafts]
        if min(rooms) < self._longest:
            room = torch.tensor(rooms, device=log_probs.device)
            fitting.masked_fill_(self._lengths.to(log_probs.device) > room[:, None], -math.inf)
        if not self._processors and self._bans is None:
            return fitting, fitting
        longest = max(len(draft.ids) for draft in drafts)
        # Shorter texts are padded on the left.
        history = [[self._bos_id] * (longest - len(draft.ids)) + draft.ids for draft in drafts]
        ids = torch.tensor(history, device=log_probs.device)
        if self._bans is not None:
            fitting = self._bans(ids, fitting)
        scores = fitting
        for process in self._processors:
            scores = process(ids, scores)
        return fitting, scores

    def _pick(self, drafts: Sequence[Draft], log_probs: Tensor, uniforms: Sequence[float]) -> list[int | None]:
        """Picks a token for each text; the pick of a text does not depend on the others."""
        if not (log_probs.amax(dim=-1) < math.inf).all():
            raise NonFiniteError(
                "the model's log-probabilities are not finite: its weights are damaged; train it again or load another copy"
            )
        fitting, scores = self._process(drafts, log_probs)
        verdicts = [draft.verdict() for draft in drafts]
        picked: list[int | None] = [None] * len(drafts)
        if self._sorted:
            picked = self._pick_among_likeliest(scores, verdicts, uniforms)
        rows = [row for row, token_id in enumerate(picked) if token_id is None]
        if rows:
            some = scores if len(rows) == len(drafts) else scores[rows]
            of_rows = [verdicts[row] for row in rows]
            for row, token_id in zip(rows, self._pick_among_all(some, of_rows, uniforms, rows), strict=True):
                picked[row] = self._likeliest(fitting[row], verdicts[row]) if token_id is None else token_id
        for row, (token_id, verdict) in enumerate(zip(picked, verdicts, strict=True)):
            mark = None if token_id is None else verdict.moved.get(token_id)
            if mark is not None and (self._bans is None or fitting[row, mark] > -math.inf):
                picked[row] = mark
        return picked

    def _pick_among_likeliest(
        self, scores: Tensor, verdicts: Sequence[Verdict], uniforms: Sequence[float]
    ) -> list[int | None]:
        """Picks among the likeliest tokens, sorted; None for rows where more tokens have to be looked at.

        The tokens that top-k, top-p and min-p keep are the first ones in falling order, so only these are sorted. Rows
        whose last kept token ties with the next are left to the processors, which say what happens to ties.
        """
        config, size = self._config, scores.shape[-1]
        count = min(size, max(_CANDIDATES, config.top_k + 1))
        probs = logits_processors.tempered(scores, config.temperature).softmax(dim=-1)
        values, ids = probs.topk(count, dim=-1)  # (rows, count)
        sums = values.cumsum(dim=-1, dtype=torch.float64)
        kept = torch.full_like(ids[:, 0], count)
        known = torch.full_like(kept, count == size, dtype=torch.bool)
        total = torch.ones_like(sums[:, 0])
        if 0 < config.top_k < count:
            kept = kept.clamp(max=config.top_k)
            total = sums[:, config.top_k - 1]
            known |= True
        if config.top_p < 1.0:
            reached = (sums < config.top_p * total[:, None]).sum(dim=-1)
            known |= reached < count
            kept = torch.minimum(kept, reached + 1)
        if config.min_p:
            kept = torch.minimum(kept, (values >= config.min_p * values[:, :1]).sum(dim=-1))
        following = values.gather(1, kept[:, None].clamp(max=count - 1))[:, 0]
        last = values.gather(1, kept[:, None] - 1)[:, 0]
        known &= (kept == count) | (following < last)
        weights = values.masked_fill(torch.arange(count, device=values.device) >= kept[:, None], 0.0)
        for rows, verdict in _grouped(verdicts):
            if verdict.forbidden:
                weights[rows] = weights[rows].masked_fill(verdict.mask.to(ids.device)[ids[rows]], 0.0)
        sums = weights.cumsum(dim=-1, dtype=torch.float64)
        points = sums[:, -1] * sums.new_tensor(uniforms)
        drawn = torch.searchsorted(sums, points[:, None], right=True).clamp_(max=count - 1)
        known &= sums[:, -1] > 0
        tokens = ids.gather(1, drawn)[:, 0].tolist()
        return [token_id if ok else None for token_id, ok in zip(tokens, known.tolist(), strict=True)]

    def _pick_among_all(
        self, scores: Tensor, verdicts: Sequence[Verdict], uniforms: Sequence[float], rows: Sequence[int]
    ) -> list[int | None]:
        """Picks among all tokens, by the cut-off processors; None where nothing is left."""
        if not self._greedy:
            for process in self._cutoffs:
                scores = process(scores[:, :0].long(), scores)
        scores = scores.clone()
        for group, verdict in _grouped(verdicts):
            if verdict.forbidden:
                scores[group] = scores[group].masked_fill(verdict.mask.to(scores.device), -math.inf)
        best = scores.max(dim=-1)
        if self._greedy:
            tokens = best.indices.tolist()
        else:
            tokens = _draw(scores, torch.tensor([uniforms[row] for row in rows], dtype=torch.float64)).tolist()
        left = (best.values > -math.inf).tolist()
        return [token_id if ok else None for token_id, ok in zip(tokens, left, strict=True)]

    @staticmethod
    def _likeliest(fitting: Tensor, verdict: Verdict) -> int | None:
        """Returns the likeliest token where processors and rules leave nothing; None if every token is banned.

        Args:
            fitting: Log-probabilities of the tokens that may follow. **Shape:** (vocab_size,).
            verdict: The rules, which are given up if they leave nothing.
        """
        for scores in (fitting.masked_fill(verdict.mask.to(fitting.device), -math.inf), fitting):
            highest, token_id = scores.max(dim=-1)
            if highest > -math.inf:
                return int(token_id)
        return None


def _grouped(verdicts: Sequence[Verdict]) -> Iterator[tuple[list[int] | slice, Verdict]]:
    """Yields each different verdict with its rows."""
    groups: dict[int, list[int]] = {}
    for row, verdict in enumerate(verdicts):
        groups.setdefault(id(verdict), []).append(row)
    for rows in groups.values():
        yield slice(None) if len(rows) == len(verdicts) else rows, verdicts[rows[0]]


def _draw(scores: Tensor, uniforms: Tensor) -> Tensor:
    """Samples a token for each row by inverting the distribution function, with one random number each.

    The sums are built in two levels, over blocks and within one block, since a cumulative sum over the whole vocabulary
    takes longer than everything else. A token of probability 0 is never sampled: its step has no width.

    Args:
        scores: Logits. **Shape:** (rows, vocab_size).
        uniforms: Random numbers in [0, 1). **Shape:** (rows,), float64.

    Returns:
        Ids. **Shape:** (rows,), int64.
    """
    rows, size = scores.shape
    blocks = -(-size // _BLOCK)
    weights = scores.new_zeros(rows, blocks * _BLOCK)
    torch.exp(scores - scores.amax(dim=-1, keepdim=True), out=weights[:, :size])
    weights = weights.view(rows, blocks, _BLOCK)
    sums = weights.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)  # (rows, blocks)
    points = uniforms.to(sums) * sums[:, -1]
    block = torch.searchsorted(sums, points[:, None], right=True).clamp_(max=blocks - 1)  # (rows, 1)
    rest = points[:, None] - torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    within = weights.gather(1, block[:, :, None].expand(-1, -1, _BLOCK))[:, 0]
    steps = within.cumsum(dim=-1, dtype=torch.float64)
    # Rounding may leave a remainder of a whole block, which belongs to its last token with a weight.
    last = (steps < steps[:, -1:]).sum(dim=-1, keepdim=True)
    place = torch.minimum(torch.searchsorted(steps, rest, right=True), last)
    return (block * _BLOCK + place)[:, 0]
