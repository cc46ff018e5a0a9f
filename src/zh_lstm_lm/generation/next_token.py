"""Next-token sampling: from a model's log-probabilities to one token for each text.

The order is that of Hugging Face's library: processors of the text so far (penalties, biases, then the user's), tokens
that would copy a passage of the book that is written like, temperature, cut-offs. The rules of punctuation come last:
what they forbid is left out, the rest is renormalised, and a paragraph end or the closing mark of an outer pair becomes
the closing mark that has to come before it. Every text takes one random number for each token, whatever the options
are, so a neutral option does not change a text.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zh_lstm_lm.errors import ConfigError, NonFiniteError
from zh_lstm_lm.generation import logits_processors
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.draft import Draft
from zh_lstm_lm.generation.forms.form import Form
from zh_lstm_lm.generation.forms.lines import Lines, Place
from zh_lstm_lm.generation.forms.names import Names
from zh_lstm_lm.generation.forms.tokens import FormTokens
from zh_lstm_lm.generation.forms.words import Required
from zh_lstm_lm.generation.like import Copies, PrimedModel
from zh_lstm_lm.generation.limits import Limits
from zh_lstm_lm.generation.logits_processors import LogitsProcessor
from zh_lstm_lm.generation.punctuation import PunctuationRules, Verdict
from zh_lstm_lm.generation.token_picker import TokenPicker
from zh_lstm_lm.models.base import LanguageModel
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["NextTokenSampler"]

# Natural logarithm of the smallest probability relative to the largest one.
_LARGEST_DIFFERENCE = 80.0
# Below, the likeliest token is certain; scores stay finite.
_LOWEST_TEMPERATURE = 1e-6


class NextTokenSampler:
    """Samples the next token of each text from log-probabilities of the whole vocabulary.

    `names` are those of the corpus and the writer's, `rules` those of punctuation, and `window` is the number of latest
    ids that processors look at; None for all.
    """

    @on_cpu_by_default
    def __init__(self, model: LanguageModel, config: SamplerConfig, processors: Sequence[LogitsProcessor] = ()) -> None:
        vocabulary = model.vocabulary
        self._vocabulary = vocabulary
        self.names: Names = Names(config.rename, vocabulary)  # type: ignore[arg-type]
        tokens = self.names.write(list(vocabulary.texts()))
        self._tokens, self._separator = tokens, vocabulary.separator
        self._paragraph_starts = (vocabulary.bos_id, vocabulary.paragraph_end_id)
        self.rules: PunctuationRules = PunctuationRules(
            tokens,
            separator=vocabulary.separator,
            balanced_pairs=config.balanced_pairs,
            tidy_paragraphs=config.tidy_paragraphs,
            banned=config.banned_words,
        )
        self.window: int | None = None if processors else config.history_window
        self._bos_id = vocabulary.bos_id
        self._lengths = torch.tensor([len(token) for token in tokens]).to(model.device)
        self._longest = int(self._lengths.max())
        self._bans = None
        if config.banned_words or config.rename:
            # Separators between words do not hide a banned word.
            words = [word.replace(vocabulary.separator, "") or word for word in config.banned_words]
            plain = [token.removeprefix(vocabulary.separator) for token in tokens]
            self._bans = logits_processors.both(
                logits_processors.banned_words(words, plain),
                logits_processors.banned_words(self.names.replaced, plain, inside=False),
            )
        self._processors = [
            *config.history_processors(vocabulary),
            *(logits_processors.checked(processor) for processor in processors),
        ]
        self._copies = Copies(model.book, tokens, vocabulary.separator) if isinstance(model, PrimedModel) else None
        self._temperature = config.temperature
        self._picker = TokenPicker(config.top_k, config.top_p, config.min_p)
        writable = torch.zeros(len(tokens)).masked_fill_(self._lengths.cpu() == 0, -math.inf)
        if self._bans is not None and bool((self._bans(torch.zeros(1, 0).long(), writable[None]) == -math.inf).all()):
            raise ConfigError("banned_words ban every token of the vocabulary, so nothing can be written; ban fewer")
        # Added to log-probabilities: 0 for tokens with a text, minus infinity for the others.
        self._writable = writable.to(model.device)
        self._form_tokens: FormTokens | None = None

    def form(self, limits: Limits, place: Place) -> Form | None:
        """Makes the form that limits ask for, at a place in a text; None for none. Raises ConfigError."""
        lengths, first = limits.line_lengths, limits.first_characters
        if lengths is None and first is None and not limits.required:
            return None
        if self._separator:
            raise ConfigError("line_lengths, first_characters and must_contain need a model of text without spaces")
        if self._form_tokens is None:
            self._form_tokens = self._make_form_tokens()
        normalize, tokens = self._vocabulary.normalize, self._form_tokens
        lines = None
        if lengths is not None or first is not None:
            lines = Lines(tokens, lengths, normalize_text(first or "", normalize), place.tail)
        words = []
        for word, within in limits.required:
            text = normalize_text(word, normalize)
            read = self.names.read(text)
            known = read in self._vocabulary
            ids = (self._vocabulary.token_to_id(read),) if known else tuple(self._vocabulary.encode(read))
            if "".join(self._tokens[token_id] for token_id in ids) != text or not tokens.usable[list(ids)].all():
                raise ConfigError(f"must_contain: {word!r} cannot be written with this vocabulary and these options")
            words.append(Required(text, ids, within))
        return Form(tokens, lines, words, place)

    @on_cpu_by_default
    def _make_form_tokens(self) -> FormTokens:
        writable = self._writable.cpu()
        if self._bans is not None:
            writable = self._bans(torch.zeros(1, 0).long(), writable[None])[0]
        return FormTokens(self._tokens, writable == 0)

    def text_after(self, last_id: int, token_id: int) -> str:
        """Returns the text of a token; the first word of a paragraph has no separator before it."""
        text = self._tokens[token_id]
        return text.removeprefix(self._separator) if last_id in self._paragraph_starts else text

    def sample(self, drafts: Sequence[Draft], log_probs: Tensor) -> list[int | None]:
        """Samples the next id of each text; None where every token that would fit is banned.

        The log-probabilities, **Shape:** (texts, vocab_size), are left unchanged; NaN or infinity among them raises
        NonFiniteError.
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

        **Shape:** (texts, vocab_size), before and after; minus infinity for tokens that must not follow.
        """
        fitting, processed = self._process(drafts, log_probs)
        fitting = fitting + self._writable
        verdicts = [draft.verdict() for draft in drafts]
        processed = self._without_copies(drafts, processed, verdicts)
        scores = (processed + self._writable).log_softmax(dim=-1)
        for row, (draft, verdict) in enumerate(zip(drafts, verdicts, strict=True)):
            token_id = self._forced(draft)
            if token_id is None:
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
        allowed = self._bans(torch.tensor(draft.ids), torch.zeros(len(self._tokens)))
        return token_id if allowed[token_id] == 0 else None

    def _process(self, drafts: Sequence[Draft], log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the log-probabilities of the tokens that fit and are not banned, and the scores of processors."""
        # What is kept here follows the model to its device.
        self._writable, self._lengths = self._writable.to(log_probs.device), self._lengths.to(log_probs.device)
        fitting = log_probs
        rooms = [min(draft.room_for_token, self._longest) for draft in drafts]
        if min(rooms) < self._longest:
            room = torch.tensor(rooms, device=log_probs.device)
            fitting = fitting.masked_fill(self._lengths > room[:, None], -math.inf)
        biases: list[tuple[int, int, float]] = []
        for row, draft in enumerate(drafts):
            if draft.form is not None:
                allowed, added = draft.form.follow(draft.place)
                fitting = fitting.clone() if fitting is log_probs else fitting
                fitting[row].masked_fill_(~allowed.to(fitting.device), -math.inf)
                biases += [(row, token_id, bias) for token_id, bias in added.items()]
        if not self._processors and self._bans is None and not biases:
            return fitting, fitting
        fitting = fitting + self._writable
        longest = max(len(draft.ids) for draft in drafts)
        # Shorter texts are padded on the left.
        history = [[self._bos_id] * (longest - len(draft.ids)) + draft.ids for draft in drafts]
        ids = torch.tensor(history, device=log_probs.device)
        if self._bans is not None:
            fitting = self._bans(ids, fitting)
        scores = fitting.clone() if biases else fitting
        for row, token_id, bias in biases:
            scores[row, token_id] += bias
        for process in self._processors:
            scores = process(ids, scores)
        return fitting, scores

    def _without_copies(self, drafts: Sequence[Draft], scores: Tensor, verdicts: Sequence[Verdict]) -> Tensor:
        """Leaves out tokens that would complete a copied passage, and those before which a mark would be put that does."""
        if self._copies is None:
            return scores
        completing = self._copies.completing([draft.tail for draft in drafts])
        scores = scores.clone() if any(completing) else scores
        for row, (ids, verdict) in enumerate(zip(completing, verdicts, strict=True)):
            scores[row, [*ids, *(source for source, mark in verdict.moved.items() if mark in ids)]] = -math.inf
        return scores

    def _pick(self, drafts: Sequence[Draft], log_probs: Tensor, uniforms: Sequence[float]) -> list[int | None]:
        """Picks a token for each text; the pick of a text does not depend on the others."""
        fitting, scores = self._process(drafts, log_probs)
        if not (log_probs.amax(dim=-1) < math.inf).all():
            raise NonFiniteError(
                "the model's log-probabilities are not finite: its weights are damaged; train it again or load another copy"
            )
        verdicts = [draft.verdict() for draft in drafts]
        scores = self._without_copies(drafts, scores, verdicts)
        if self._temperature == 0:
            picked = self._pick_greedily(scores, verdicts)
        else:
            picked = self._pick_at_random(scores, verdicts, uniforms)
        for row, verdict in enumerate(verdicts):
            token_id = picked[row]
            if token_id is None:
                token_id = picked[row] = self._likeliest(fitting[row] + self._writable, verdict)
            mark = None if token_id is None else verdict.moved.get(token_id)
            free = self._bans is None and drafts[row].form is None
            if mark is not None and (free or fitting[row, mark] > -math.inf):
                picked[row] = mark
        return picked

    def _pick_greedily(self, scores: Tensor, verdicts: Sequence[Verdict]) -> list[int | None]:
        """Takes the likeliest tokens; None where nothing is left."""
        scores = scores + self._writable
        for row, verdict in enumerate(verdicts):
            if verdict.forbidden:
                scores[row].masked_fill_(verdict.mask.to(scores.device), -math.inf)
        best = scores.max(dim=-1)
        left = (best.values > -math.inf).tolist()
        return [token_id if ok else None for token_id, ok in zip(best.indices.tolist(), left, strict=True)]

    def _pick_at_random(
        self, scores: Tensor, verdicts: Sequence[Verdict], uniforms: Sequence[float]
    ) -> list[int | None]:
        """Samples tokens; None where nothing is left."""
        temperature = min(max(self._temperature, _LOWEST_TEMPERATURE), 1e30)
        tempered = torch.add(self._writable, scores, alpha=1 / temperature)
        # Beside a score of 1e30, a difference of 80 would be lost in rounding.
        tempered -= tempered.amax(dim=-1, keepdim=True)
        # Probabilities below 1e-35 become 0: numbers that small are denormal, which slows the processor down a lot.
        probs = torch.threshold_(tempered, -_LARGEST_DIFFERENCE, -math.inf).softmax(dim=-1)
        return self._picker.pick(probs, [verdict.forbidden for verdict in verdicts], uniforms)

    @staticmethod
    def _likeliest(fitting: Tensor, verdict: Verdict) -> int | None:
        """Returns the likeliest token where processors and rules leave nothing; None if every token is banned."""
        # Rules that leave nothing are given up.
        for scores in (fitting.masked_fill(verdict.mask.to(fitting.device), -math.inf), fitting):
            highest, token_id = scores.max(dim=-1)
            if highest > -math.inf:
                return int(token_id)
        return None
