"""What the choices of the default recipe are worth: each changed alone, everything else equal.

    python benchmarks/recipes.py CORPUS [--tokens 1120000] [--variants "default | learning_rate=0.002"]

Every variant trains on the same number of tokens and is measured on the held-out part, in a process of its own. Two
seeds of one variant differ by about 0.01 bits per character, so smaller differences say nothing. `ratio` is the tokens
a second over those of the first variant; it means something on a quiet machine only.
"""

import argparse
import ast
import json
import subprocess
import sys
from dataclasses import fields
from typing import Any

from zh_lstm_lm import LSTMLanguageModel, ModelConfig, TokenStream, Trainer, TrainerConfig, Vocabulary, evaluate

VARIANTS = """
    default | seed=1 | text=False | schedule='cosine'
    learning_rate=0.0015 | learning_rate=0.005 | learning_rate=0.008 | schedule='constant' | warmup_steps=0
    warmup_steps=200 | betas=(0.9,0.99) | betas=(0.8,0.999) | max_grad_norm=0.25 | max_grad_norm=1.0 | max_grad_norm=5.0
    batch_size=16 | batch_size=64 | bptt_len=20 | bptt_len=70
    dropout=0.0 | dropout=0.05 | dropout=0.2 | num_layers=2 | embedding_dim=128,hidden_size=256
    embedding_dim=256,hidden_size=512 | embedding_dim=384
    div_value=1.0 | div_value=2.5 | cutoffs=(1000,5000,25000) | cutoffs=(2000,10000) | output='full'
"""
MODEL_OPTIONS = {field.name for field in fields(ModelConfig)}


def parsed(variant: str) -> dict[str, Any]:
    """The options that a variant's name spells out."""
    if variant == "default":
        return {}
    call = ast.parse(f"f({variant})", mode="eval").body
    assert isinstance(call, ast.Call)
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


def run(variant: str, corpus: str, tokens: int) -> dict[str, float]:
    """Trains and measures one variant."""
    options = parsed(variant)
    stream = TokenStream.from_files(corpus, clean="indents+empty_lines", normalize="none")
    train, valid, _ = stream.split(valid=0.02, test=0.05)
    vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
    text = train if options.pop("text", True) else None
    sizes = ModelConfig(**{k: v for k, v in options.items() if k in MODEL_OPTIONS})
    model = LSTMLanguageModel(vocabulary, sizes, text=text)
    training = {"batch_size": 32, "bptt_len": 35, **{k: v for k, v in options.items() if k not in MODEL_OPTIONS}}
    steps = round(tokens / (training["batch_size"] * training["bptt_len"]))
    history = Trainer(model, train, None, TrainerConfig(max_steps=steps, **training), progress=False).fit()
    bits = evaluate(model, valid).bits_per_character
    assert bits is not None
    return {"bits_per_character": bits, "tokens_per_second": history[-1]["tokens_per_second"]}


def main() -> None:
    """Runs the variants in turn; one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--tokens", type=int, default=1_120_000)
    parser.add_argument("--variants", default=VARIANTS.replace("\n", "|"), help="separated by |")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run(options.one, options.corpus, options.tokens)))
        return
    first = 0.0
    for variant in filter(None, map(str.strip, options.variants.split("|"))):
        command = [sys.executable, __file__, options.corpus, "--tokens", str(options.tokens), "--one", variant]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        first = first or result["tokens_per_second"]
        ratio = result["tokens_per_second"] / first
        print(f"{variant:<36}{result['bits_per_character']:8.3f} bits/character{ratio:8.2f} ratio", flush=True)


if __name__ == "__main__":
    main()
