"""The log-probability of one class for each row under a softmax over a linear layer, with its gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zh_lstm_lm.corpus.batches import IGNORED
from zh_lstm_lm.runtime.devices import autocast_dtype
from zh_lstm_lm.runtime.processor import linear

__all__ = ["target_log_probs"]

# Types with too few digits for sums.
_NARROW = (torch.bfloat16, torch.float16)


class _TargetLogProbs(torch.autograd.Function):
    """The log-probability of one class for each row of a linear layer's softmax.

    Equal to `cross_entropy` over `linear` with fewer passes over the logits, which are most of the memory traffic of
    training: each logit is exponentiated once, in a softmax whose result serves the backward pass as well. On CUDA, where
    kernel launches dominate, it is a single log-softmax.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        chosen, ctx.logs, narrow = targets[:, None], hidden.is_cuda, hidden.dtype in _NARROW
        if hidden.is_cuda:
            logits = linear(hidden, weight, bias.to(hidden.dtype))  # (rows, classes)
            sums = torch.float32 if narrow else logits.dtype
            log_probs = logits.log_softmax(1, dtype=sums)
            ctx.save_for_backward(hidden, weight, targets, log_probs)
            return log_probs.gather(1, chosen).squeeze(1)
        # The biases of rare classes are far from 0, where bfloat16 has steps of 0.06, so they are added in float32.
        logits = linear(hidden, weight).float().add_(bias) if narrow else linear(hidden, weight, bias)
        probs = logits.softmax(1)
        ctx.save_for_backward(hidden, weight, targets, probs)
        # Relative to the likeliest class, since the probability of the chosen one may be too small for its type.
        return (logits.gather(1, chosen) - logits.amax(1, keepdim=True)).squeeze(1) + probs.amax(1).log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight, targets, saved = ctx.saved_tensors
        probs = saved.exp() if ctx.logs else saved
        of_logits = probs * -gradient[:, None]  # g · (one-hot − p), (rows, classes)
        of_logits.scatter_add_(1, targets[:, None], gradient[:, None])
        of_bias = of_logits.sum(0)
        of_logits = of_logits.to(hidden.dtype)
        return linear(of_logits, weight.t()), linear(of_logits.t(), hidden.t()), of_bias, None


def target_log_probs(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, all_counted: bool = False
) -> Tensor:
    """Computes the log-probability of one class for each row, in nats; 0 where the target is `IGNORED`.

    Inside `torch.autocast` the matrix products use its dtype, everything else float32. `all_counted` says that no
    target is `IGNORED`, which saves the check. **Shape:** (rows, width), (classes, width), (classes,) and (rows,) to
    (rows,).
    """
    low = autocast_dtype(hidden.device)
    if low is not None:
        # Converted here, so that the products of the backward pass use the narrow dtype as well.
        hidden, weight = hidden.to(low), weight.to(low)
    counted = None if all_counted else targets != IGNORED
    classes = targets if counted is None else targets * counted
    apply: Callable[..., Tensor] = _TargetLogProbs.apply  # untyped in some versions of PyTorch
    log_probs = apply(hidden, weight, bias, classes)
    return log_probs if counted is None else log_probs * counted
