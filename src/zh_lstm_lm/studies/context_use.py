"""How much of what it has read a trained model uses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["context_used", "loss_by_context", "loss_by_position"]

_ROWS = 64
_TOLERANCE = 0.01  # nats
_MAX_SCORES = 1 << 23  # numbers in the scores over the whole vocabulary that are there at once


def loss_by_position(model: LSTMLanguageModel, ids: Tensor, *, length: int, num_pieces: int = 512) -> list[float]:
    """Mean loss after 1, 2, 3 … tokens read since the state was zero, in nats a token.

    Args:
        model: The model.
        ids: The text. **Shape:** (number of ids,).
        length: Tokens read in a piece.
        num_pieces: Pieces, evenly spaced; they may overlap.
    """
    starts = torch.linspace(0, len(ids) - 1 - length, num_pieces, dtype=torch.float64).long()
    total = torch.zeros(length, dtype=torch.float64)
    counted = torch.zeros(length, dtype=torch.int64)
    for rows in torch.split(starts, _ROWS):
        windows = ids[rows[:, None] + torch.arange(length + 1)].long()  # (rows, length + 1)
        losses = _losses(model, windows, last_only=False)  # (rows, length)
        is_target = windows[:, 1:] != model.vocabulary.bos_id
        total += losses.masked_fill(~is_target, 0.0).sum(0)
        counted += is_target.sum(0)
    return (total / counted.clamp(min=1)).tolist()


def loss_by_context(
    model: LSTMLanguageModel, ids: Tensor, *, context_tokens: Sequence[int], num_places: int = 512
) -> list[float]:
    """Mean loss when only the last so many tokens are seen, in nats a token; the same places for each.

    Args:
        model: The model.
        ids: The text. **Shape:** (number of ids,).
        context_tokens: How many tokens are seen, rising.
        num_places: Predicted tokens, evenly spaced.
    """
    places = torch.linspace(context_tokens[-1], len(ids) - 1, num_places, dtype=torch.float64).long()
    places = places[ids[places] != model.vocabulary.bos_id]
    means = []
    for seen in context_tokens:
        total = 0.0
        for rows in torch.split(places, _ROWS):
            windows = ids[rows[:, None] + torch.arange(-seen, 1)].long()  # (rows, seen + 1)
            total += float(_losses(model, windows, last_only=True).sum())
        means.append(total / len(places))
    return means


def context_used(context_tokens: Sequence[int], losses: Sequence[float]) -> int:
    """The fewest tokens with which the loss is within 0.01 nats of the lowest."""
    enough = min(losses) + _TOLERANCE
    return next(seen for seen, loss in zip(context_tokens, losses, strict=True) if loss <= enough)


def _losses(model: LSTMLanguageModel, windows: Tensor, *, last_only: bool) -> Tensor:
    """Losses of the tokens of windows after those before them, read from the zero state. **Shape:** (rows, time)."""
    windows = windows.to(model.device)
    targets = windows[:, -1:] if last_only else windows[:, 1:]
    with torch.inference_mode():
        context, _ = model.read(windows[:, :-1])
        time = windows.shape[1] - 1
        rows = torch.arange(len(context), device=model.device).view(-1, time)[:, time - targets.shape[1] :].flatten()
        chunk = max(1, _MAX_SCORES // len(model.vocabulary))
        parts = zip(torch.split(rows, chunk), torch.split(targets.flatten(), chunk), strict=True)
        log_probs = torch.cat([model.target_log_probs(context.rows(part), following) for part, following in parts])
        return -log_probs.view_as(targets).double().cpu()
