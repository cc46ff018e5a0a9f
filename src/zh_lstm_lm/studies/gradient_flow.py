"""Exact gradients of the loss with respect to earlier states."""

import torch
from torch import Tensor

from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["gradient_by_distance"]


def gradient_by_distance(
    model: LSTMLanguageModel, ids: Tensor, *, max_distance: int, num_positions: int = 32
) -> tuple[list[float], list[float]]:
    """Computes the norms of d loss(t) / d h(t - k) and d loss(t) / d c(t - k) for k from 1 to `max_distance`.

    The model reads one token at a time, so that the state between any two tokens is a tensor of its own to
    differentiate by. Dropout is off, and no segment truncates the backward pass.

    Args:
        model: The model. Its training mode and gradients are left unchanged.
        ids: The text. **Shape:** (number of ids,).
        max_distance: The largest k, in tokens.
        num_positions: Number of evenly spaced positions t that the norms are averaged over.

    Returns:
        The norms for hidden state and cell state, from k = 1.
    """
    positions = torch.linspace(max_distance + 1, len(ids) - 1, num_positions, dtype=torch.float64).long()
    # <bos> is never predicted and has no loss.
    positions = positions[ids[positions] != model.vocabulary.bos_id]
    segments = ids[positions[:, None] + torch.arange(-max_distance - 1, 1)].long()  # (positions, k + 2)
    segments = segments.to(model.device)
    was_training = model.training
    model.eval()
    try:
        # cuDNN has no backward pass in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            state = model.initial_state(len(positions))
            states = []
            for token_ids in torch.split(segments[:, :-1], 1, dim=1):
                context, state = model.read(token_ids, state)
                states.append(state)
            loss = -model.target_log_probs(context, segments[:, -1].contiguous()).sum()
            # From the state at t - 1 backwards.
            earlier = states[-2::-1]
            gradients = torch.autograd.grad(loss, [h for h, _ in earlier] + [c for _, c in earlier])
    finally:
        model.train(was_training)
    norms = [float(gradient.norm(dim=(0, 2)).mean()) for gradient in gradients]  # of (layers, positions, hidden_size)
    return norms[:max_distance], norms[max_distance:]
