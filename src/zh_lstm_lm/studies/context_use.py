"""The number of preceding tokens that a trained model makes use of."""

from collections.abc import Sequence

import torch
from torch import Tensor

from zh_lstm_lm.models.base import rows_at_once
from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["context_used", "loss_by_context", "loss_by_position"]

_ROWS = 64
# In nats per token.
_TOLERANCE = 0.01


def loss_by_position(model: LSTMLanguageModel, ids: Tensor, *, length: int, num_segments: int = 512) -> list[float]:
    """Returns the mean loss in nats after 1, 2, 3 … tokens read from the zero state, of evenly spaced segments."""
    starts = torch.linspace(0, len(ids) - 1 - length, num_segments, dtype=torch.float64).long()
    total = torch.zeros(length, dtype=torch.float64)
    counted = torch.zeros(length, dtype=torch.int64)
    for rows in torch.split(starts, _ROWS):
        segments = ids[rows[:, None] + torch.arange(length + 1)].long()  # (rows, length + 1)
        losses = _losses(model, segments, last_only=False)  # (rows, length)
        is_target = segments[:, 1:] != model.vocabulary.bos_id
        total += losses.masked_fill(~is_target, 0.0).sum(0)
        counted += is_target.sum(0)
    return (total / counted.clamp(min=1)).tolist()


def loss_by_context(
    model: LSTMLanguageModel, ids: Tensor, *, context_tokens: Sequence[int], num_positions: int = 512
) -> list[float]:
    """Returns the mean loss in nats for several lengths of context, which rise, at the same positions for each."""
    positions = torch.linspace(context_tokens[-1], len(ids) - 1, num_positions, dtype=torch.float64).long()
    positions = positions[ids[positions] != model.vocabulary.bos_id]
    means = []
    for length in context_tokens:
        total = 0.0
        for rows in torch.split(positions, _ROWS):
            segments = ids[rows[:, None] + torch.arange(-length, 1)].long()  # (rows, length + 1)
            total += float(_losses(model, segments, last_only=True).sum())
        means.append(total / len(positions))
    return means


def context_used(context_tokens: Sequence[int], losses: Sequence[float]) -> int:
    """Returns the shortest context whose loss is within 0.01 nats of the lowest."""
    enough = min(losses) + _TOLERANCE
    return next(length for length, loss in zip(context_tokens, losses, strict=True) if loss <= enough)


def _losses(model: LSTMLanguageModel, segments: Tensor, *, last_only: bool) -> Tensor:
    """Returns the losses of the tokens of segments read from the zero state. **Shape:** (rows, time)."""
    segments = segments.to(model.device)
    targets = (segments[:, -1:] if last_only else segments[:, 1:]).contiguous()
    with torch.inference_mode():
        context, _ = model.read(segments[:, :-1])
        time = segments.shape[1] - 1
        rows = torch.arange(len(context), device=model.device).view(-1, time)[:, time - targets.shape[1] :].flatten()
        chunk = rows_at_once(model.scores_per_target)
        parts = zip(torch.split(rows, chunk), torch.split(targets.flatten(), chunk), strict=True)
        log_probs = torch.cat([model.target_log_probs(context.rows(part), following) for part, following in parts])
        return -log_probs.view_as(targets).double().cpu()
