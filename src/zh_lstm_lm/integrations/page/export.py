"""The public function `export_html`: a model as one HTML page that writes without a network."""

import base64
import hashlib
import html
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from zh_lstm_lm._config import check_text, check_type
from zh_lstm_lm.errors import ConfigError, DataError
from zh_lstm_lm.generation.config import SamplerConfig
from zh_lstm_lm.generation.like import sampling_model
from zh_lstm_lm.integrations.page.ngram_packing import pack_ngrams
from zh_lstm_lm.integrations.page.quantisation import QuantisedModel, quantise_model
from zh_lstm_lm.models.base import LanguageModel, check_model
from zh_lstm_lm.models.components import nested_models
from zh_lstm_lm.models.continuous_cache import ContinuousCache
from zh_lstm_lm.models.lstm import LSTMLanguageModel
from zh_lstm_lm.models.mixture import Mixture
from zh_lstm_lm.models.ngram import NGramLanguageModel
from zh_lstm_lm.models.saved_mixture import describe_model
from zh_lstm_lm.runtime.control_characters import control_pictures
from zh_lstm_lm.runtime.devices import on_cpu_by_default
from zh_lstm_lm.storage.user_files import check_file, is_special, write_file

__all__ = ["MAX_BYTES", "Page", "export_html", "make_page"]

MAX_BYTES = 25_000_000
"""Size of the largest page."""
NGRAM_BYTES = 2_500_000
"""Bytes of a page that n-gram models may take."""

# About what the code of a page takes, and a word besides its weights: scales, biases and its text.
_CODE_BYTES, _WORD_BYTES = 120_000, 25

_FORMS = ("error", "tokens", "lines", "words", "form", "names", "options")
WORKER_SCRIPTS = (
    *("kernels.mjs", "lstm.mjs", "mixture.mjs", "punctuation.mjs", "draft.mjs"),
    *(f"forms/{name}.mjs" for name in _FORMS),
    *("sampling.mjs", "segment.mjs", "worker.mjs"),
)
"""The scripts of the worker; each comes after those that it needs."""
PAGE_SCRIPTS = ("sentences.mjs", "panel.mjs", "page.mjs")
"""Those of the page itself."""

# The sampling options of a model that a page has.
_OPTIONS = ("temperature", "top_k", "top_p", "min_p", "cache_weight", "rename", "seed")


@dataclass(frozen=True)
class Page:
    """A page that has not been written yet.

    Attributes:
        html: The page.
        sizes: The bytes that its parts take.
        rounded: The model with weights of 8 bits.
        model: The model that is in it, with weights of 8 bits and pruned n-grams.
        num_ngrams: The n-grams above order 1, before and after pruning.
        left_out: Sampling options of the model that a page does not have.
    """

    html: bytes
    sizes: dict[str, int]
    rounded: LanguageModel
    model: LanguageModel
    num_ngrams: tuple[int, int]
    left_out: tuple[str, ...]


def export_html(model: LanguageModel, path: str | PathLike[str], *, title: str = "", overwrite: bool = False) -> Path:
    """Writes a model as one HTML page that writes: without installation, without a network, on any computer.

    The weights are rounded to 8 bits. Of n-gram models, those n-grams are in the page that predict most, as many as
    2.5 MB hold. A text that its reader types is divided into the likeliest words of the vocabulary, which are not
    always those of the model's tokenizer.

    Args:
        model: An LSTM, or a mixture or cache with one.
        path: The file to write.
        title: The title of the page; empty for the file's name.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The file.

    Raises:
        ConfigError: The model is too large for a page, or has not one LSTM.
        DataError: The file is there already, or cannot be written.
    """
    check_type("path", path, str, PathLike)
    check_text("title", title)
    check_type("overwrite", overwrite, bool)
    check_target(Path(path), overwrite=overwrite)
    write_file(path, make_page(model, title=title or Path(path).stem).html)
    return Path(path)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Checks that a page can be written, before long work.

    Raises:
        DataError: The file exists already, or cannot be written.
    """
    check_file(target)
    if target.exists() and not overwrite and not is_special(target):
        raise DataError(f"{target}: exists already; give another file, or overwrite=True")


@on_cpu_by_default
def make_page(model: LanguageModel, *, title: str) -> Page:
    """Makes the page of a model; see `export_html`."""
    check_model("model", model)
    check_type("title", title, str)
    leaves = {id(each): each for each in nested_models(model) if not isinstance(each, (Mixture, ContinuousCache))}
    lstms = [each for each in leaves.values() if isinstance(each, LSTMLanguageModel)]
    ngrams = [each for each in leaves.values() if isinstance(each, NGramLanguageModel)]
    if len(lstms) != 1 or len(ngrams) != len(leaves) - 1:
        found = ", ".join(type(each).__name__ for each in leaves.values())
        raise ConfigError(f"a page holds one LSTMLanguageModel, alone or mixed with n-gram models, got {found}")
    lstm = lstms[0]
    beside = _CODE_BYTES + (NGRAM_BYTES if ngrams else 0)
    words = _WORD_BYTES * len(lstm.vocabulary)
    if (least := _encoded(_num_weights(lstm)) + beside + words) > MAX_BYTES:
        _refuse_size(least, lstm, beside)
    quantised = quantise_model(lstm)
    packed = [pack_ngrams(each, NGRAM_BYTES * 3 // 4 // len(ngrams)) for each in ngrams]
    options = SamplerConfig.from_dict(getattr(model, "generation_config", {}))
    description = {
        **_describe(quantised),
        "model": describe_model(model, ngrams),
        "topK": options.top_k,
        "writing": describe_model(sampling_model(model, options.cache_weight), ngrams),
        "ngrams": [each.description for each in packed],
    }
    values = {
        "title": html.escape(control_pictures(title)),
        "style": _read("page.css"),
        "description": json.dumps(description, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        "weights": base64.b64encode(_weights(quantised)).decode(),
        "ngrams": " ".join(base64.b64encode(each.data).decode() for each in packed),
        "worker": "".join(map(_script, WORKER_SCRIPTS)),
        "script": "".join(map(_script, PAGE_SCRIPTS)),
    }
    checksum = base64.b64encode(hashlib.sha256(values["script"].encode()).digest()).decode()
    values["hash"] = f"sha256-{checksum}"
    values |= {name: f"{getattr(options, name):g}" for name in ("temperature", "top_p", "min_p")}
    values["names"] = html.escape("\n".join(f"{old}={new}" for old, new in dict(options.rename).items()))
    page = re.sub(r"\{\{(\w+)\}\}", lambda name: values[name[1]], _read("page.html")).encode()
    if len(page) > MAX_BYTES:
        _refuse_size(len(page), lstm, beside)
    parts = {"weights": "weights", "n-grams": "ngrams", "vocabulary": "description"}
    sizes = {name: len(values[value].encode()) for name, value in parts.items() if values[value]}
    sizes["code"] = len(page) - sum(sizes.values())
    left = [each.model for each in packed]
    rounded, inside = (
        _rebuilt(model, {id(lstm): quantised.model, **dict(zip(map(id, ngrams), own, strict=True))})
        for own in (ngrams, left)
    )
    neutral = SamplerConfig()
    left_out = [name for name in SamplerConfig.option_names() if getattr(options, name) != getattr(neutral, name)]
    return Page(
        page,
        sizes,
        rounded,
        inside,
        (_num_ngrams(ngrams), _num_ngrams(left)),
        tuple(name for name in left_out if name not in _OPTIONS),
    )


def _rebuilt(model: Any, parts: Mapping[int, LanguageModel]) -> LanguageModel:
    """Returns a model with other models in the places of its parts, which are given by their identity."""
    if isinstance(model, Mixture):
        return Mixture([_rebuilt(each, parts) for each in model.models], model.weights)
    if isinstance(model, ContinuousCache):
        return model.around(_rebuilt(model.model, parts))
    return parts[id(model)]


def _num_ngrams(models: Iterable[NGramLanguageModel]) -> int:
    return sum(sum(each.num_ngrams[1:]) for each in models)


def _num_weights(model: LSTMLanguageModel) -> int:
    """Counts the weights of a page, which has one vector for each word."""
    own = sum(each.numel() for each in model.embedding.parameters())
    return model.num_parameters - own + len(model.vocabulary) * model.config.embedding_dim


def _encoded(num_bytes: int) -> int:
    """Returns the length of bytes in Base64."""
    return num_bytes * 4 // 3


def _refuse_size(size: int, model: LSTMLanguageModel, beside: int) -> None:
    """Refuses a page of this size, of which some bytes stay, with a vocabulary and with layers that would fit."""
    layers = _encoded(sum(each.numel() for layer in model.layers for each in layer.parameters()))
    words = _WORD_BYTES * len(model.vocabulary)
    weights = size - layers - beside - words
    # Layers grow with the square of their sizes, the other weights in proportion to them.
    room = max(0.95 * MAX_BYTES - beside, 1.0)
    factor = 2 * max(room - words, 1.0) / (weights + math.sqrt(weights**2 + 4 * layers * max(room - words, 1.0)))
    sizes = (max(1, int(factor * each)) for each in (model.config.embedding_dim, model.config.hidden_size))
    fits = "embedding_dim={} and hidden_size={}".format(*sizes)
    if (number := int(len(model.vocabulary) * (room - layers) / (weights + words))) > 1000:
        fits = f"a vocabulary of about {number:,} words (--max-size), or {fits},"
    raise ConfigError(
        f"the page of this model would take {size / 1e6:,.0f} MB, and at most {MAX_BYTES / 1e6:.0f} MB open well: "
        f"{fits} would fit"
    )


def _describe(quantised: QuantisedModel) -> dict[str, Any]:
    """Returns all of a model but its weights as JSON values."""
    model, vocabulary = quantised.model, quantised.model.vocabulary
    found = {token: token_id for token_id, token in enumerate(vocabulary.own_tokens, vocabulary.num_special)}
    return {
        "tokens": list(vocabulary.texts()),
        "bytes": [found.get(byte, -1) for byte in range(256)],
        "bos": vocabulary.bos_id,
        "newline": vocabulary.paragraph_end_id,
        "unk": vocabulary.unk_id,
        "separator": vocabulary.separator,
        "normalize": vocabulary.normalize,
        "hidden": model.config.hidden_size,
        "layers": model.config.num_layers,
        "cutoffs": None if model.config.output == "full" else [*(model.config.cutoffs or ()), len(vocabulary)],
        "biases": [(name, len(bias)) for name, bias in quantised.biases.items()],
        "matrices": [(name, *values.shape) for name, (values, _) in quantised.matrices.items()],
    }


def _weights(quantised: QuantisedModel) -> bytes:
    """Returns the biases, the scales, and then the weights, one after another."""
    floats = [*quantised.biases.values(), *(scales for _, scales in quantised.matrices.values())]
    return b"".join([*_bytes(floats), *_bytes(values for values, _ in quantised.matrices.values())])


def _bytes(tensors: Iterable[Tensor]) -> Iterable[bytes]:
    for tensor in tensors:
        data = save({"": tensor.detach().contiguous().clone()})
        yield data[8 + int.from_bytes(data[:8], "little") :]


def _read(name: str) -> str:
    return resources.files("zh_lstm_lm.integrations.page").joinpath(name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    """Returns a module as a part of one script, without its imports and exports."""
    return re.sub(r"^(import .*\n|export )", "", _read(name), flags=re.MULTILINE)
