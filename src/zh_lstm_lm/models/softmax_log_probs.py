"""The log-probability of one class a row under a softmax over a linear layer, and its gradient."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from zh_lstm_lm.corpus.batches import IGNORED
from zh_lstm_lm.runtime.batch_invariant import row_sums
from zh_lstm_lm.runtime.devices import autocast_dtype

__all__ = ["Linear", "target_log_probs"]

Linear = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""What multiplies, called as `torch.nn.functional.linear` is, with rows, weight and bias."""

_NARROW = (torch.bfloat16, torch.float16)  # too few digits for sums


class _TargetLogProbs(torch.autograd.Function):
    """Log-probability of one class a row of a linear layer's softmax.

    What `cross_entropy` over `linear` gives, with fewer passes over the logits, which are most of the memory traffic of
    training: each is exponentiated once, and the probabilities take the place of the logits, since a second tensor of
    such a size would be fresh pages of memory in every step. On CUDA, where memory is kept and launches cost more than
    small work, it is one kernel's log-softmax.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - PyTorch gives them by place
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, linear: Linear
    ) -> Tensor:
        logits = linear(hidden, weight, bias.to(hidden.dtype))  # (rows, classes)
        chosen, ctx.logs = targets[:, None], logits.is_cuda
        if logits.is_cuda:
            sums = torch.float32 if logits.dtype in _NARROW else logits.dtype
            log_probs = logits.log_softmax(1, dtype=sums)
            ctx.save_for_backward(hidden, weight, targets, log_probs)
            return log_probs.gather(1, chosen).squeeze(1)
        if logits.dtype in _NARROW:
            logits = logits.float()
        highest, of_chosen = logits.amax(1, keepdim=True), logits.gather(1, chosen)
        probs = logits.sub_(highest).exp_()
        total = row_sums(probs)[:, None]
        ctx.save_for_backward(hidden, weight, targets, probs.div_(total))
        return (of_chosen - highest - total.log()).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        hidden, weight, targets, saved = ctx.saved_tensors
        probs = saved.exp() if ctx.logs else saved
        of_logits = probs * -gradient[:, None]  # g · (one-hot − p), (rows, classes)
        of_logits.scatter_add_(1, targets[:, None], gradient[:, None])
        of_bias = of_logits.sum(0)
        of_logits = of_logits.to(hidden.dtype)
        return of_logits @ weight, of_logits.t() @ hidden, of_bias, None, None


def target_log_probs(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    *,
    linear: Linear = functional.linear,
    all_counted: bool = False,
) -> Tensor:
    """Log-probability of one class a row under a softmax over a linear layer; 0 where the target is `IGNORED`.

    Inside `torch.autocast` the matrix products are in its type, all else in float32.

    Args:
        hidden: **Shape:** (rows, width).
        weight: **Shape:** (classes, width).
        bias: **Shape:** (classes,).
        targets: **Shape:** (rows,).
        linear: What multiplies.
        all_counted: Whether none of them is `IGNORED`, which saves asking.

    Returns:
        In nats. **Shape:** (rows,).
    """
    low = autocast_dtype(hidden.device)
    if low is not None:
        hidden, weight = hidden.to(low), weight.to(low)  # here, so that the gradient's products are in it too
    counted = None if all_counted else targets != IGNORED
    classes = targets if counted is None else targets * counted
    log_probs: Tensor = _TargetLogProbs.apply(hidden, weight, bias, classes, linear)  # type: ignore[no-untyped-call]
    return log_probs if counted is None else log_probs * counted
