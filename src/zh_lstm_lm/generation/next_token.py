"""The next token of each text: what may come, what the processors make of the scores, and the draw.

The order is Hugging Face's: what looks at the words so far (penalties, bans, biases, then the user's processors),
temperature, cut-offs. The rules of punctuation come last: a token is drawn as if there were none, and where they
forbid it, another one is drawn from the rest; a paragraph end, or the closing mark of an outer pair, becomes the closing
mark that has to come before it. That is the distribution after the cut-offs, without the forbidden tokens
and renormalised; it costs nothing where nothing is forbidden. Where nothing is left, the likeliest token that may come
stays.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zh_lstm_lm.errors import ConfigError, NonFiniteError
from zh_lstm_lm.generation.adaptive_sampling import AdaptiveSampler, draw_from
from zh_lstm_lm.generation.config import SamplerConfig, cutoff_processors, history_processors, history_window
from zh_lstm_lm.generation.decoder import SingleSteps, captured_steps
from zh_lstm_lm.generation.draft import WrittenText
from zh_lstm_lm.generation.logits_processors import LogitsProcessor
from zh_lstm_lm.generation.punctuation import PunctuationRules
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.output_layers import AdaptiveSoftmax
from zh_lstm_lm.runtime.batch_invariant import RowwiseLinear
from zh_lstm_lm.runtime.cuda_graphs import CapturedFunction

__all__ = ["TokenDrawer"]

_REDRAWS = 4
_DAMAGED = "the model's {} are not numbers (NaN); its weights are damaged: load or train it anew"


class TokenDrawer:
    """Draws tokens with a model.

    Args:
        model: The model.
        config: How they are drawn.
        processors: The user's processors.

    Attributes:
        tokens: The text of each id; empty for what is never drawn.
        rules: The rules of punctuation, over the model's vocabulary.
        window: How many of the latest ids the processors look at; None for all.
        steps: The model's steps.
    """

    def __init__(
        self, model: LSTMLanguageModel, config: SamplerConfig, processors: Sequence[LogitsProcessor] = ()
    ) -> None:
        for name, parameter in model.named_parameters():
            if not parameter.isfinite().all():
                raise NonFiniteError(
                    f"the model's {name} holds values that are not finite; train it anew or load a copy"
                )
        self.model = model
        vocabulary = model.vocabulary
        self.tokens = tokens = list(vocabulary.texts())
        self._lengths = torch.tensor([len(token) for token in tokens])  # 0 for what is never drawn
        self._undrawable = (self._lengths == 0).to(model.device)
        self._longest = int(self._lengths.max())
        self.rules = PunctuationRules(
            tokens,
            balanced_pairs=config.balanced_pairs,
            tidy_paragraphs=config.tidy_paragraphs,
            banned=config.banned_words,
        )
        own = history_processors(config, vocabulary, tokens)
        self.window = history_window(config, own_processors=bool(processors))
        self._history_processors = [*own, *(_checked(processor) for processor in processors)]
        self._cutoffs = cutoff_processors(config)
        self._greedy = config.temperature == 0
        both = config.min_p and (config.top_k or config.top_p < 1)
        plain = not (both or config.epsilon_cutoff or config.eta_cutoff or config.typical_p < 1 or config.top_h < 1)
        self._linear = RowwiseLinear()
        self.steps = SingleSteps(model, self._linear, captured_steps(model))
        if model.device.type == "cpu":  # what takes time at the first use is done here
            with torch.inference_mode():
                model.scores(model.init_state(1)[0].new_zeros(1, model.output.hidden_size), linear=self._linear)
        self._captured: CapturedFunction | None = None
        self._adaptive: AdaptiveSampler | None = None
        freely = not self._history_processors
        if freely and model.device.type == "cuda":  # all scores at once take less time there than asking for some
            self._captured = CapturedFunction(self._draw_captured, list(model.parameters()))
        elif freely and plain and not self._greedy and isinstance(model.output, AdaptiveSoftmax):
            self._adaptive = AdaptiveSampler(
                model.output,
                ~self._undrawable,
                temperature=config.temperature,
                top_k=config.top_k,
                top_p=config.top_p,
                min_p=config.min_p,
                linear=self._linear,
            )

    def begin(self) -> SingleSteps:
        """The model's steps, for texts that are begun, with the weights that it has now."""
        self._linear.refresh()
        self.steps.begin()
        return self.steps

    def draw(self, texts: Sequence[WrittenText], hidden: Tensor) -> list[int]:
        """Draws the next id of each text.

        Args:
            texts: The texts.
            hidden: The last layer's states. **Shape:** (texts, hidden_size).

        Raises:
            NonFiniteError: The model's states or scores are not numbers.
        """
        if self._captured is None and math.isnan(hidden.sum().item()):  # they lie between -1 and 1
            raise NonFiniteError(_DAMAGED.format("states"))
        closing = [text.must_close() for text in texts]
        drawn = [token_id if token_id is not None else -1 for token_id in closing]
        rows = [row for row, token_id in enumerate(closing) if token_id is None]
        concerned = self.rules.concerned
        for attempt in itertools.count():
            if not rows:
                break
            free = [attempt < _REDRAWS and self._is_free(texts[row]) for row in rows]
            again = []
            for freely in (True, False):  # each text in its own way, whatever the others need
                some = [row for row, is_free in zip(rows, free, strict=True) if is_free is freely]
                if not some:
                    continue
                among, states = [texts[row] for row in some], hidden if len(some) == len(texts) else hidden[some]
                by_rules = not freely and attempt > 0
                proposed = self._propose_freely(among, states) if freely else self._propose(among, states, by_rules)
                for row, token_id in zip(some, proposed, strict=True):
                    drawn[row] = token_id
                    if token_id in concerned:
                        drawn[row] = texts[row].in_place_of(token_id)
                        if not by_rules and texts[row].forbids(drawn[row]):
                            again.append(row)
            rows = sorted(again)
        return drawn

    def scores(self, texts: Sequence[WrittenText], hidden: Tensor) -> Tensor:
        """Log-probabilities after penalties, bans, biases, the user's processors and the rules, before temperature.

        This is what beam search adds up. What must not come has minus infinity.

        Args:
            texts: The texts.
            hidden: **Shape:** (texts, hidden_size).

        Returns:
            **Shape:** (texts, vocab_size).
        """
        allowed = self._allowed_scores(texts, hidden)
        logits, _ = self._after_history(texts, allowed)
        ruled = self._without_forbidden(texts, logits.log_softmax(dim=-1))
        for row, text in enumerate(texts):
            token_id = text.must_close()
            if token_id is not None:
                ruled[row] = -math.inf
                ruled[row, token_id] = 0.0
        return self._best_stays(ruled, self._without_forbidden(texts, allowed))

    def log_probs(self, hidden: Tensor, ids: Tensor) -> list[float]:
        """The model's own log-probabilities, in nats.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            ids: A token for each row. **Shape:** (rows,).
        """
        values: list[float] = self.model.log_probs_after(hidden, ids, linear=self._linear).tolist()
        return values

    def _is_free(self, text: WrittenText) -> bool:
        """Whether every word may come: nothing depends on the text, and it has room for the longest."""
        if self._adaptive is None and self._captured is None:
            return False
        room = text.room_for_word
        return room is None or room >= self._longest

    def _propose_freely(self, texts: Sequence[WrittenText], hidden: Tensor) -> list[int]:
        """Draws an id for each text, where every word may come."""
        if self._adaptive is not None:
            return self._adaptive.draw(hidden, lambda rows: [texts[row].random() for row in rows])
        assert self._captured is not None
        drawn: list[int] = self._captured(hidden, self._numbers(texts))[0].tolist()
        if min(drawn) < 0:
            raise NonFiniteError(_DAMAGED.format("scores"))
        return drawn

    def _numbers(self, texts: Sequence[WrittenText]) -> Tensor:
        """A random number of each text's; 0 where none is needed. **Shape:** (texts,), float64."""
        numbers = [0.0 if self._greedy else text.random() for text in texts]
        return torch.tensor(numbers, dtype=torch.float64, device=self.model.device)

    def _propose(self, texts: Sequence[WrittenText], hidden: Tensor, by_rules: bool) -> list[int]:
        """Draws an id for each text from all scores; unless `by_rules`, those of punctuation are not asked."""
        numbers = self._numbers(texts)
        allowed = self._allowed_scores(texts, hidden)
        logits, ids = self._after_history(texts, allowed)
        for process in () if self._greedy else self._cutoffs:
            logits = process(ids, logits)
        if by_rules:
            logits, allowed = self._without_forbidden(texts, logits), self._without_forbidden(texts, allowed)
        return self._pick(logits, allowed, numbers).tolist()

    def _after_history(self, texts: Sequence[WrittenText], allowed: Tensor) -> tuple[Tensor, Tensor]:
        """The scores after what looks at the words so far, and those words. **Shape:** (texts, vocab_size)."""
        logits, ids = allowed, self._history(texts)
        for process in self._history_processors:
            logits = process(ids, logits)
        return self._best_stays(logits, allowed), ids

    def _draw_captured(self, hidden: Tensor, numbers: Tensor) -> tuple[Tensor]:
        """Draws where nothing depends on the texts, without a look at any value.

        Args:
            hidden: **Shape:** (rows, hidden_size).
            numbers: Random numbers in [0, 1). **Shape:** (rows,), float64.

        Returns:
            Ids; -1 where the scores are not numbers. **Shape:** (rows,).
        """
        scores = self.model.scores(hidden)
        allowed = logits = scores.masked_fill(self._undrawable, -math.inf)
        for process in () if self._greedy else self._cutoffs:
            logits = process(hidden.new_zeros(len(hidden), 1, dtype=torch.int64), logits)
        return (self._pick(logits, allowed, numbers).masked_fill(scores.isnan().any(dim=-1), -1),)

    def _pick(self, logits: Tensor, allowed: Tensor, numbers: Tensor) -> Tensor:
        """The likeliest of what is left, or one drawn from it. **Shape:** (rows, vocab_size), twice, and (rows,)."""
        logits = self._best_stays(logits, allowed)
        return logits.argmax(dim=-1) if self._greedy else draw_from(logits, numbers)

    def _allowed_scores(self, texts: Sequence[WrittenText], hidden: Tensor) -> Tensor:
        """The model's scores of the words that fit. **Shape:** (texts, vocab_size)."""
        rooms = [text.room_for_word for text in texts]
        room = torch.tensor([self._longest if room is None else room for room in rooms])
        allowed = (self._lengths > 0) & (self._lengths <= room[:, None])  # (texts, vocab_size)
        scores = self.model.scores(hidden, linear=self._linear)
        if scores.isnan().any():
            raise NonFiniteError(_DAMAGED.format("scores"))
        return scores.masked_fill(~allowed.to(hidden.device), -math.inf)

    @staticmethod
    def _without_forbidden(texts: Sequence[WrittenText], logits: Tensor) -> Tensor:
        logits = logits.clone()
        for row, text in enumerate(texts):
            forbidden = text.forbidden_ids()
            for token_id in forbidden:
                instead = text.in_place_of(token_id)
                if instead != token_id:
                    logits[row, instead] = torch.logaddexp(logits[row, instead], logits[row, token_id])
            logits[row, forbidden] = -math.inf
        return logits

    @staticmethod
    def _best_stays(logits: Tensor, allowed: Tensor) -> Tensor:
        """Where nothing is left, the likeliest of what may come."""
        nothing_left = (logits == -math.inf).all(dim=-1, keepdim=True)
        best = torch.full_like(logits, -math.inf).scatter(-1, allowed.argmax(dim=-1, keepdim=True), 0.0)
        return torch.where(nothing_left, best, logits)

    def _history(self, texts: Sequence[WrittenText]) -> Tensor:
        """The ids so far, shorter texts filled up with ``<bos>`` on the left. **Shape:** (texts, longest)."""
        longest = max(len(text.ids) for text in texts)
        bos = [self.model.vocabulary.bos_id]
        return torch.tensor([bos * (longest - len(text.ids)) + text.ids for text in texts], device=self.model.device)


def _checked(processor: LogitsProcessor) -> LogitsProcessor:
    """A processor of the user's, held to its shape and to numbers."""
    if not callable(processor):
        raise ConfigError(f"processors must be functions of (ids, logits), got {processor!r}")
    name = getattr(processor, "__name__", repr(processor))

    def process(ids: Tensor, logits: Tensor) -> Tensor:
        result = processor(ids, logits.clone())  # the model's own scores stay what they are
        if not isinstance(result, Tensor) or result.shape != logits.shape:
            found = tuple(result.shape) if isinstance(result, Tensor) else result
            raise ConfigError(f"processor {name} must return logits of the shape {tuple(logits.shape)}, got {found!r}")
        if result.isnan().any():
            raise ConfigError(f"processor {name} returned logits that are not numbers (NaN)")
        return result

    return process
