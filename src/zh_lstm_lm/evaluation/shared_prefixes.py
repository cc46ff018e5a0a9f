"""Log-probabilities of many short rows of ids, in which a prefix that several rows share is read once."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from zh_lstm_lm.models.base import Context, LanguageModel, rows_at_once, scores_per_target
from zh_lstm_lm.runtime.interruption import check_interruption

__all__ = ["sum_log_probs"]


def sum_log_probs(model: LanguageModel, rows: Sequence[Sequence[int]], *, batch_size: int) -> list[float]:
    """Computes the log-probability of each row from the start of a document, in nats; NaN where the model's are.

    The distinct prefixes of `batch_size` distinct rows form a tree, which is read level by level, so that a step reads
    one token after each prefix of a length. The two sentences of a minimal pair, and those made from one template,
    begin alike. No row is empty; equal rows have equal sums.
    """
    # In sorted order, rows with a common prefix are in one batch.
    distinct = sorted(set(map(tuple, rows)))
    sums: dict[tuple[int, ...], float] = {}
    with torch.inference_mode():
        for begin in range(0, len(distinct), batch_size):
            batch = distinct[begin : begin + batch_size]
            sums.update(zip(batch, _read_tree(model, batch), strict=True))
    return [sums[tuple(row)] for row in rows]


def _read_tree(model: LanguageModel, rows: Sequence[Sequence[int]]) -> list[float]:
    """Returns the log-probabilities of a batch of different rows."""
    sums = [0.0] * len(rows)
    context, state = model.read(torch.tensor([[model.vocabulary.bos_id]], device=model.device), None)
    # The rows behind each node of the level that was read last.
    level = [list(range(len(rows)))]
    for depth in range(max(map(len, rows))):
        check_interruption()
        children: dict[tuple[int, int], list[int]] = {}
        for node, behind in enumerate(level):
            for row in behind:
                children.setdefault((node, rows[row][depth]), []).append(row)
        parents, ids = torch.tensor(list(zip(*children, strict=True))).to(model.device)
        for log_prob, behind in zip(_target_log_probs(model, context, parents, ids), children.values(), strict=True):
            for row in behind:
                sums[row] += log_prob
        longer = [[row for row in behind if len(rows[row]) > depth + 1] for behind in children.values()]
        level = [behind for behind in longer if behind]
        if level:
            going_on = torch.tensor([number for number, behind in enumerate(longer) if behind], device=model.device)
            context, state = model.read(ids[going_on, None], state.rows(parents[going_on]))
    return sums


def _target_log_probs(model: LanguageModel, context: Context, parents: Tensor, ids: Tensor) -> list[float]:
    """Returns the log-probability of each id after the row of the context that `parents` has for it."""
    size = rows_at_once(scores_per_target(model))
    chunks = zip(torch.split(parents, size), torch.split(ids, size), strict=True)
    log_probs = [model.target_log_probs(context.rows(rows), targets).double().tolist() for rows, targets in chunks]
    return list(itertools.chain.from_iterable(log_probs))
