"""The command ``train``."""

import argparse
import sys

from zh_lstm_lm.cli.common import (
    INTERRUPTED,
    AddCommand,
    add_reading,
    at_least,
    chosen_tokenizer,
    corpus_files,
    given,
    metrics_line,
    option,
    path,
    print_line,
    proportion,
    read_stream,
    text,
)
from zh_lstm_lm.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from zh_lstm_lm.corpus.token_stream import TokenStream
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.models.lstm import LSTMLanguageModel
    from zh_lstm_lm.tokenizers.base import LosslessTokenizer
    from zh_lstm_lm.training.distributed import Ranks
    from zh_lstm_lm.training.trainer import Trainer

__all__ = ["add_command"]

_VOCABULARY = ("min_freq", "max_size", "unknown")
_SIZES = ("embedding_dim", "hidden_size", "num_layers", "dropout", "tie_weights")
_TRAINING = (
    "max_epochs",
    "max_steps",
    "max_minutes",
    "batch_size",
    "bptt_len",
    "learning_rate",
    "max_grad_norm",
    "eval_steps",
)


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    train = add("train", _train, "Train a model on novels and save it.")
    train.add_argument("paths", type=path, nargs="+", help="folders, files or glob patterns of text; - for stdin")
    train.add_argument("--output", type=path, required=True, metavar="MODEL", help="folder for the model")
    train.add_argument(
        "--from", dest="base", type=path, metavar="MODEL", help="continue from this saved model (default: a new model)"
    )
    add_reading(train)
    for part in ("valid", "test"):
        about = f"proportion of every document for the {part}{'ation' * (part == 'valid')} set, 0 for none"
        train.add_argument(f"--{part}", type=proportion, default=0.05, help=f"{about} (default: %(default)s)")
    sizes = train.add_argument_group("vocabulary and model (not with --from)")
    sizes.add_argument("--min-freq", type=at_least(1), help="least frequency of a word in the vocabulary (default: 3)")
    sizes.add_argument("--max-size", type=at_least(1), help="greatest size of the vocabulary (default: 60000)")
    sizes.add_argument(
        "--unknown",
        choices=["characters", "unk"],
        help="form of other words: characters or <unk> (default: characters)",
    )
    sizes.add_argument("--embedding-dim", type=int, help="width of the embedding (default: 192, or by --minutes)")
    sizes.add_argument("--hidden-size", type=int, help="width of the LSTM layers (default: 384, or by --minutes)")
    sizes.add_argument("--num-layers", type=int, help="number of LSTM layers (default: 1)")
    sizes.add_argument("--dropout", type=float, help="dropout rate (default: 0.1, or by --minutes)")
    sizes.add_argument(
        "--tie-weights", action="store_true", default=None, help="share the weights of embedding and full softmax"
    )
    sizes.add_argument(
        "--softmax", dest="output_layer", choices=["auto", "full", "adaptive"], help="output layer (default: auto)"
    )
    training = train.add_argument_group("training", "The first budget that is used up ends the run.")
    training.add_argument("--max-epochs", "--epochs", type=int, help="passes over the text (default: 3 without budget)")
    training.add_argument("--max-steps", "--steps", type=int, help="number of updates (default: no limit)")
    training.add_argument(
        "--max-minutes",
        "--minutes",
        type=float,
        help="time for updates, validation and checkpoints; alone, it also chooses the model's size (default: no limit)",
    )
    training.add_argument("--batch-size", type=int, help="batch rows (default: by the length of the text)")
    training.add_argument("--bptt-len", type=int, help="length of BPTT segments in tokens (default: 35)")
    training.add_argument("--learning-rate", type=float, help="peak learning rate (default: by the number of updates)")
    training.add_argument("--max-grad-norm", type=float, help="norm to which gradients are clipped (default: 0.5)")
    training.add_argument(
        "--eval-steps", type=int, help="updates between evaluations (default: about ten evaluations in a run)"
    )
    training.add_argument(
        "--patience", type=int, help="stop after this many evaluations without a lower validation loss (default: never)"
    )
    training.add_argument("--seed", type=int, help="seed of the first weights and of dropout (default: 0)")
    training.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    training.add_argument("--precision", help="of matrix products: auto, float32, tf32 or bfloat16 (default: auto)")
    training.add_argument(
        "--run-dir", type=path, help="folder for checkpoints and history (default: MODEL.run beside the output)"
    )
    training.add_argument(
        "--sample-prompt",
        type=text,
        metavar="TEXT",
        default="",
        help="start of the passage that is generated at every evaluation (default: the start of a document)",
    )
    training.add_argument("--resume", action="store_true", help="resume from the last checkpoint of the run folder")


def _train(parsed: argparse.Namespace) -> int:
    import logging

    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.models.lstm import LSTMLanguageModel
    from zh_lstm_lm.runtime.devices import choose_device
    from zh_lstm_lm.studies.epoch_samples import EpochSamples
    from zh_lstm_lm.training.config import TrainerConfig
    from zh_lstm_lm.training.distributed import join_ranks
    from zh_lstm_lm.training.trainer import Trainer

    # Mistakes are reported before the long work of reading.
    _check_base(parsed)
    parsed.run_dir = parsed.run_dir or f"{parsed.output}.run"
    config = TrainerConfig(**given(parsed, *_TRAINING, "patience", "seed", "device", "precision", "run_dir"))
    model_config = ModelConfig(**_sizes(parsed))
    samples = EpochSamples(parsed.sample_prompt)
    choose_device(config.device)
    # With torchrun, the first process reads for those on its machine, prints and saves.
    ranks = join_ranks()
    first = ranks.rank == 0
    if first:
        _check_places(parsed)
    else:
        logging.getLogger("zh_lstm_lm").setLevel(logging.ERROR)
    base = LSTMLanguageModel.from_pretrained(parsed.base) if parsed.base is not None else None
    tokenizer = base.vocabulary.tokenizer if base is not None else chosen_tokenizer(parsed)
    if first and not parsed.quiet:
        _print_reading(parsed, tokenizer)
    with ranks.first_here_first():
        corpus = read_stream(parsed, tokenizer, base.vocabulary.normalize if base is not None else parsed.normalize)
    train, valid, test = corpus.split(valid=parsed.valid, test=parsed.test)
    model = base if base is not None else _new_model(parsed, model_config, train, ranks)
    trainer = Trainer(model, train, valid, config, callbacks=[samples], progress=not parsed.quiet)
    if first and not parsed.quiet:
        _print_plan(corpus, trainer, test)
    model = _fit(trainer, resume=parsed.resume)
    interrupted = trainer.state.stop_reason == "interrupted"
    if first:
        _save(parsed, model, trainer, test, complete=not interrupted)
    # torchrun ends the other processes when one has ended with another status than 0.
    ranks.wait_for_all()
    return INTERRUPTED if interrupted else 0


def _check_base(parsed: argparse.Namespace) -> None:
    """Refuses options that are settled by the model to continue from."""
    typed = given(parsed, "tokenizer", "user_dictionary", "separator", *_VOCABULARY, *_SIZES, softmax="output_layer")
    if parsed.normalize != "auto":
        typed["normalize"] = parsed.normalize
    if parsed.base is not None and typed:
        raise ConfigError(
            f"--from keeps the vocabulary, tokenizer and sizes of {parsed.base}; leave out "
            + ", ".join(map(option, typed))
        )


def _check_places(parsed: argparse.Namespace) -> None:
    """Checks that files can be read and folders written.

    Raises:
        ConfigError: The proportions leave nothing for training, or the run folder is in the way.
        DataError: A path holds no text files.
        CheckpointError: The model cannot be saved in its place.
    """
    from pathlib import Path

    from zh_lstm_lm.storage.atomic import check_place
    from zh_lstm_lm.training.run_folder import RunFolder

    if parsed.valid + parsed.test >= 1:
        raise ConfigError(
            f"--valid {parsed.valid:g} and --test {parsed.test:g} leave nothing for training; valid + test must be below 1"
        )
    corpus_files(parsed)
    check_place(Path(parsed.output))
    check_place(Path(parsed.run_dir))
    if not parsed.resume and RunFolder(Path(parsed.run_dir), keep_last=1).holds_run():
        raise ConfigError(
            f"{parsed.run_dir}: holds a run already; continue it with --resume, or give another --run-dir or --output"
        )


def _sizes(parsed: argparse.Namespace) -> "dict[str, Any]":
    return given(parsed, *_SIZES, "seed", output="output_layer")


def _new_model(
    parsed: argparse.Namespace, config: "ModelConfig", train: "TokenStream", ranks: "Ranks"
) -> "LSTMLanguageModel":
    """Makes the vocabulary of the training part and a model of the given sizes, or of those that suit ``--minutes``."""
    from zh_lstm_lm.corpus.vocabulary import Vocabulary
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.models.lstm import LSTMLanguageModel

    vocabulary = Vocabulary.from_stream(train, **{"min_freq": 3, "max_size": 60_000, **given(parsed, *_VOCABULARY)})
    only_minutes = parsed.max_minutes and not parsed.max_epochs and not parsed.max_steps
    sizes = _sizes(parsed)
    if only_minutes and "embedding_dim" not in sizes and "hidden_size" not in sizes:
        device = parsed.device or "auto"
        # Processes measure different rates, and need one model.
        chosen = ranks.by_first(
            lambda: ModelConfig.for_budget(
                train, vocabulary, minutes=parsed.max_minutes, device=device, **sizes
            ).to_dict()
        )
        config = ModelConfig.from_dict(chosen)
    return LSTMLanguageModel(vocabulary, config)


def _print_reading(parsed: argparse.Namespace, tokenizer: "LosslessTokenizer") -> None:
    """Prints the number of files to read and the time that it takes."""
    from zh_lstm_lm.corpus.stream_reading import estimate_reading

    files = corpus_files(parsed)
    seconds = estimate_reading(files, tokenizer, encoding=parsed.encoding, workers=parsed.workers)
    megabytes = sum(file.path.stat().st_size for file in files) / 1e6
    duration = f": about {_duration(seconds)}, or at once from the cache" if seconds is not None else ""
    print(f"reading {len(files):,} files, {megabytes:,.1f} MB{duration}", flush=True)


def _print_plan(corpus: "TokenStream", trainer: "Trainer", test: "TokenStream") -> None:
    """Prints the sizes of the corpus and of the model, and the time that training and the final test take."""
    import torch

    from zh_lstm_lm.models.config import seconds_per_token
    from zh_lstm_lm.runtime.devices import choose_device

    model, config = trainer.model, trainer.config
    sizes = model.config
    print(
        f"{corpus.num_documents} documents, {corpus.num_characters:,} characters, {len(corpus):,} tokens; "
        f"vocabulary {len(model.vocabulary):,}; {model.num_parameters:,} weights (embedding "
        f"{sizes.embedding_dim}, hidden {sizes.hidden_size}, {sizes.output} softmax)"
    )
    each = seconds_per_token(
        sizes.embedding_dim,
        sizes.hidden_size,
        torch.tensor(model.vocabulary.counts),
        full=sizes.output == "full",
        device=choose_device(config.device),
    )
    epoch = each * (len(trainer.train) + len(trainer.valid or ()) / 3)
    epochs = config.max_epochs or (None if config.max_steps or config.max_minutes else 3)
    budgets = [f"{epochs} epoch{'s' * (epochs > 1)}, about {_duration(epochs * epoch)}"] if epochs else []
    budgets += [f"{config.max_steps:,} updates"] if config.max_steps else []
    budgets += [f"{config.max_minutes:g} minutes"] if config.max_minutes else []
    covered = "--minutes covers updates, validation and checkpoints, neither reading nor the final test; "
    print(
        f"training: {', or '.join(budgets)}; {covered if config.max_minutes else ''}final test: about "
        f"{_duration(each / 3 * len(test))}",
        flush=True,
    )


def _duration(seconds: float) -> str:
    """Returns a duration as text."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:,.0f} minutes" if seconds < 6000 else f"{seconds / 3600:,.1f} hours"


def _fit(trainer: "Trainer", *, resume: bool) -> "LSTMLanguageModel":
    """Trains; returns the model to test and to save."""
    trainer.fit(resume=resume)
    return trainer.model


def _save(
    parsed: argparse.Namespace, model: "LSTMLanguageModel", trainer: "Trainer", test: "TokenStream", *, complete: bool
) -> None:
    """Saves the model; at the end of a run with the metrics on the test set, which go into the history as well."""
    import datetime
    import math
    from pathlib import Path

    from zh_lstm_lm.evaluation.evaluate import evaluate
    from zh_lstm_lm.storage.safe_reading import read_json

    summary, state, run_dir = model.training_summary, trainer.state, Path(parsed.run_dir)
    summary["date"] = datetime.date.today().isoformat()
    summary.update(read_json(run_dir / "run.json").get("chosen", {}))
    if state.curve:
        summary["learning_rate"] = float(f"{max(record['learning_rate'] for record in state.curve):.3g}")
    # What is trained is saved before anything else is tried.
    model.save_pretrained(parsed.output)
    if not complete:
        print_line(f"interrupted; the model so far is in {parsed.output}; --resume continues", file=sys.stderr)
        return
    if len(test):
        result = evaluate(model, test)
        print(f"test  {metrics_line(result)}")
        metrics = {
            "test_loss": result.loss,
            "test_perplexity": result.perplexity if math.isfinite(result.perplexity) else None,
            "test_bits_per_character": result.bits_per_character,
        }
        state.best_record.update(metrics)
        state.history.save(run_dir / "history.jsonl")
        summary.update({name: value and round(value, 4) for name, value in metrics.items() if name != "test_loss"})
    summary["novelty"] = _novelty(model, trainer.train)
    model.save_pretrained(parsed.output)
    print_line(f"saved in {parsed.output}")


def _novelty(model: "LSTMLanguageModel", train: "TokenStream") -> str:
    """Returns how much of the model's writing was copied, for its card."""
    from zh_lstm_lm.evaluation.novelty import novelty
    from zh_lstm_lm.generation.sampler import Sampler

    texts = Sampler(model).generate([""], num_samples=20, max_new_tokens=200)
    found = novelty("\n".join(texts), train, num_passages=1)
    new = ", ".join(f"{n}: {proportion:.1%}" for n, proportion in enumerate(found.new_words[:4], 1))
    return f"longest copy {found.longest_copy} of {found.num_characters:,} characters; new n-grams of words {new}"
