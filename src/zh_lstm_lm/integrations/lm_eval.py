"""The model class ``zh-lstm-lm`` of lm-evaluation-harness (extra ``eval``).

    lm_eval --model zh-lstm-lm --model_args pretrained=wuxia-lstm --tasks …

The harness finds it by the entry point group ``lm_eval.models`` in releases after 0.4.13; for 0.4.13,
``python -m zh_lstm_lm.integrations.lm_eval`` in place of ``lm_eval`` registers it first.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from zh_lstm_lm._config import check_integer, shown
from zh_lstm_lm.errors import ConfigError
from zh_lstm_lm.evaluation.score import check_log_probs, read_values
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.sampler import Sampler
from zh_lstm_lm.models.base import LanguageModel, check_model
from zh_lstm_lm.models.saved_mixture import from_pretrained
from zh_lstm_lm.runtime.devices import choose_device, on_cpu_by_default
from zh_lstm_lm.runtime.optional import require
from zh_lstm_lm.text.normalization import normalize_text

__all__ = ["HarnessModel", "main"]

NAME = "zh-lstm-lm"
_BATCH_SIZE = 256
_NEW_TOKENS = 256
# The model alone decides: nothing is cut off, and no rule of punctuation interferes.
_PLAIN: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "balanced_pairs": False, "tidy_paragraphs": False}


class HarnessModel:
    """The three kinds of requests of the harness; `ZhLSTMLM` of this module is its subclass of the harness's `LM`.

    A continuation is scored as ``log p(context + continuation) - log p(context)``, each text segmented as a whole. Where
    the words of the context are also the first words of the whole, this is the sum over the tokens of the continuation.
    Where a word lies across the border, the two texts differ in their last tokens, and the difference, which may then be
    above 0, still ranks the continuations of a context as the log-probabilities of the whole texts do. No text is
    truncated.

    Args:
        pretrained: The folder of a saved model, or any `LanguageModel`.
        batch_size: Number of texts read in a batch; None or ``"auto"`` for `max_batch_size`.
        max_batch_size: None for 256.
        device: Name of the device; None for that of the model, and so is CUDA, the harness's default, where there is none.
        **unknown: Refused, by name.

    Raises:
        ConfigError: An argument is unknown, out of range or of the wrong type, or there is no such device.
        CheckpointError: The folder is missing, foreign or damaged.
    """

    def __init__(
        self,
        pretrained: Any = None,
        *,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **unknown: object,
    ) -> None:
        super().__init__()
        if unknown:
            raise ConfigError(f"{NAME} has no model argument {shown(next(iter(unknown)))}; give pretrained=FOLDER")
        if pretrained is None:
            raise ConfigError("pretrained must be the folder of a saved model; give --model_args pretrained=FOLDER")
        size = (max_batch_size or _BATCH_SIZE) if batch_size is None or batch_size == "auto" else batch_size
        if isinstance(size, str) and size.isdecimal():
            size = int(size)
        check_integer("batch_size", size, minimum=1)
        self._batch_size = int(size)
        is_path = isinstance(pretrained, (str, PathLike, int, float))
        self.model: LanguageModel = from_pretrained(str(pretrained)) if is_path else pretrained
        check_model("pretrained", self.model)
        if device is None or (str(device).startswith("cuda") and not torch.cuda.is_available()):
            return
        if (wanted := choose_device(str(device))) != self.model.device:
            if not hasattr(self.model, "to"):
                raise ConfigError(f"a {type(self.model).__name__} stays on its device, got device={device!r}")
            self.model.to(wanted)

    @on_cpu_by_default
    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Scores continuations: log-probability in nats, and whether each token is the likeliest one in its place."""
        pairs = [request.args for request in requests]
        contexts = [self._ids(context) for context, _ in pairs]
        wholes = [self._ids(context + continuation) for context, continuation in pairs]
        kept = [_common(*both) for both in zip(contexts, wholes, strict=True)]
        # The context is read by itself only where a word lies across the border.
        alone = [ids if common < len(ids) else [] for ids, common in zip(contexts, kept, strict=True)]
        read = self._read([*wholes, *alone])
        results = []
        for whole, context, common in zip(read[: len(pairs)], read[len(pairs) :], kept, strict=True):
            added, taken = whole[0, common:].tolist(), context[0, common:].tolist()
            log_prob = math.fsum(check_log_probs([*added, *(-value for value in taken)]))
            results.append((log_prob, bool(whole[1, common:].all())))
        return results

    @on_cpu_by_default
    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Scores whole texts from the start of a document: log-probability in nats."""
        read = self._read([self._ids(request.args[0]) for request in requests])
        return [math.fsum(check_log_probs(values[0].tolist())) for values in read]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continues contexts, greedily unless ``do_sample`` is set, up to the first of the strings ``until``.

        Generation options are those of the harness and of `SamplerConfig`. Equal requests get different samples.
        """
        harness = require("lm_eval.models.utils", extra="eval")
        groups: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for number, request in enumerate(requests):
            options = request.args[1]
            groups.setdefault(repr(options), (options, []))[1].append(number)
        texts = [""] * len(requests)
        for given, numbers in groups.values():
            options = dict(harness.normalize_gen_kwargs(given, _NEW_TOKENS))
            until, limit, sampled = (options.pop(name) for name in ("until", "max_gen_toks", "do_sample"))
            if not sampled:
                options["temperature"] = 0.0
            sampler = Sampler(self.model, SamplerConfig.from_dict({**_PLAIN, **options}))
            counts = Counter(requests[number].args[0] for number in numbers)
            samples = max(counts.values()) if sampled else 1
            written = sampler.generate(
                list(counts),
                num_samples=samples,
                return_results=True,
                max_new_tokens=limit,
                stop=[string for string in until if string],
            )
            by_context = {
                context: itertools.cycle(written[start * samples : (start + 1) * samples])
                for start, context in enumerate(counts)
            }
            for number in numbers:
                text = "".join(next(by_context[requests[number].args[0]]).tokens)
                texts[number] = harness.postprocess_generated_text(text, until, None)
        return texts

    def _ids(self, text: str) -> list[int]:
        vocabulary = self.model.vocabulary
        return vocabulary.encode(normalize_text(text, vocabulary.normalize))

    def _read(self, rows: Sequence[list[int]]) -> list[Tensor]:
        """Returns log-probability and greediness of each id of some rows, which may be empty. **Shape:** (2, ids)."""

        def predict(context: Any, targets: Tensor) -> Tensor:
            log_probs = self.model.log_probs(context)
            own = log_probs.gather(1, targets[:, None])[:, 0]
            return torch.stack([own, (own == log_probs.amax(dim=-1)).to(own.dtype)])

        full = [row for row in rows if row]
        read = iter(read_values(self.model, full, batch_size=self._batch_size, predict=predict))
        return [next(read)[0] if row else torch.empty(2, 0) for row in rows]


def _common(some: Sequence[int], others: Sequence[int]) -> int:
    """Returns the number of first ids that two texts share."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((position for position, (one, other) in pairs if one != other), min(len(some), len(others)))


def __getattr__(name: str) -> Any:
    if name != "ZhLSTMLM":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _model_class()


@cache
def _model_class() -> Any:
    """Returns the class that the harness makes its model of."""
    return type("ZhLSTMLM", (HarnessModel, require("lm_eval.api.model", extra="eval").LM), {"__module__": __name__})


def main() -> None:
    """Registers the model class, and runs the command line of the harness."""
    harness = require("lm_eval.__main__", extra="eval")
    # The names that the harness has itself come first, as it looks for them only where there is none.
    require("lm_eval.models", extra="eval")
    registry = require("lm_eval.api.registry", extra="eval").model_registry
    if NAME not in registry:
        registry.register(NAME, target="zh_lstm_lm.integrations.lm_eval:ZhLSTMLM")
    harness.cli_evaluate()


if __name__ == "__main__":
    main()
