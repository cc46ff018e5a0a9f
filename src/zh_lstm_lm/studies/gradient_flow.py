"""How much gradient arrives how far back, exactly."""

import torch
from torch import Tensor

from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["gradient_by_distance"]


def gradient_by_distance(
    model: LSTMLanguageModel, ids: Tensor, *, max_distance: int, num_places: int = 32
) -> tuple[list[float], list[float]]:
    """Norms of d loss(t) / d h(t - k) and d loss(t) / d c(t - k) for k from 1 to `max_distance`.

    The model reads one token at a time, so that the state between any two tokens is a value of its own to
    differentiate by. Dropout is off, and no window cuts the way back.

    Args:
        model: The model; it is given back in its mode, without gradients.
        ids: The text. **Shape:** (number of ids,).
        max_distance: The largest k, in tokens.
        num_places: Places t, evenly spaced; the norms are averaged over them.

    Returns:
        The two lists, k = 1 first.
    """
    places = torch.linspace(max_distance + 1, len(ids) - 1, num_places, dtype=torch.float64).long()
    places = places[ids[places] != model.vocabulary.bos_id]  # what is never predicted has no loss
    windows = ids[places[:, None] + torch.arange(-max_distance - 1, 1)].long().to(model.device)  # (places, k + 2)
    was_training = model.training
    model.eval()
    try:
        # cuDNN has no backward pass in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            state = model.initial_state(len(places))
            states = []
            for token_ids in torch.split(windows[:, :-1], 1, dim=1):
                context, state = model.read(token_ids, state)
                states.append(state)
            loss = -model.target_log_probs(context, windows[:, -1].contiguous()).sum()
            before = states[-2::-1]  # the state at t - 1 first
            gradients = torch.autograd.grad(loss, [h for h, _ in before] + [c for _, c in before])
    finally:
        model.train(was_training)
    norms = [float(gradient.norm(dim=(0, 2)).mean()) for gradient in gradients]  # of (layers, places, hidden_size)
    return norms[:max_distance], norms[max_distance:]
