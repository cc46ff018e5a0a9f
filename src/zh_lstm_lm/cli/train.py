"""The command ``train``."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zh_lstm_lm.cli.common import (
    INTERRUPTED,
    add_reading,
    add_sets,
    at_least,
    check_sets,
    chosen_tokenizer,
    given,
    option,
    output_path,
    path,
    print_line,
    print_plan,
    print_reading,
    read_sets,
    text,
)
from zh_lstm_lm.errors import ConfigError

if TYPE_CHECKING:
    from zh_lstm_lm.corpus.token_stream import TokenStream
    from zh_lstm_lm.models.base import LanguageModel
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.models.lstm import LSTMLanguageModel
    from zh_lstm_lm.models.ngram import NGramLanguageModel
    from zh_lstm_lm.training.distributed import Ranks
    from zh_lstm_lm.training.state import TrainerState
    from zh_lstm_lm.training.trainer import Trainer

__all__ = ["add_train"]

# In a text of more tokens, n-grams that occur once are dropped from order 4 on.
_PRUNED_TOKENS = 1_000_000
_VOCABULARY = ("min_freq", "max_size", "unknown")
_SIZES = ("embedding_dim", "hidden_size", "num_layers", "dropout", "tie_weights")
_TRAINING = (
    *("max_epochs", "max_steps", "max_minutes", "batch_size", "bptt_len", "learning_rate", "max_grad_norm"),
    "eval_steps",
)


def add_train(train: argparse.ArgumentParser) -> None:
    """Adds the options of ``train``."""
    train.set_defaults(run=_train)
    add = train.add_argument
    add("paths", type=path, nargs="+", help="folders, files or glob patterns of text; - for stdin")
    add("--output", type=output_path, required=True, metavar="MODEL", help="folder for the model")
    add("--from", dest="base", type=path, metavar="MODEL", help="continue from this saved model (default: a new model)")
    add_reading(train)
    train.add_argument(
        "--document-ends",
        action="store_true",
        help="learn where documents end, for --stop document, as with poems: an empty paragraph ends each of them",
    )
    add_sets(train)
    add = train.add_argument_group("vocabulary and model (not with --from)").add_argument
    add("--min-freq", type=at_least(1), help="least frequency of a word in the vocabulary (default: 3)")
    add("--max-size", type=at_least(1), help="greatest size of the vocabulary (default: 60000)")
    add(
        "--unknown",
        choices=["characters", "unk"],
        help="form of other words: characters or <unk> (default: characters)",
    )
    add("--embedding-dim", type=int, help="width of the embedding (default: 192, or by --minutes)")
    add("--hidden-size", type=int, help="width of the LSTM layers (default: 384, or by --minutes)")
    add("--num-layers", type=int, help="number of LSTM layers (default: 1)")
    add("--dropout", type=float, help="dropout rate (default: 0.2, or by --minutes)")
    add(
        "--tie-weights",
        action=argparse.BooleanOptionalAction,
        help="share the vectors of words between embedding and output layer (default: with an adaptive softmax, or by "
        "--minutes)",
    )
    add("--softmax", dest="output_layer", choices=["auto", "full", "adaptive"], help="output layer (default: auto)")
    add = train.add_argument_group("n-gram model, counted first and mixed with the LSTM").add_argument
    add(
        "--order",
        type=int,
        choices=range(1, 9),
        default=4,
        metavar="N",
        help="highest order, 1 to 8 (default: %(default)s)",
    )
    add("--no-ngram", action="store_true", help="train and save the LSTM alone")
    add = train.add_argument_group("training", "The first budget that is used up ends the run.").add_argument
    add("--max-epochs", "--epochs", type=int, help="passes over the text (default: 3 without budget)")
    add("--max-steps", "--steps", type=int, help="number of updates (default: no limit)")
    add(
        "--max-minutes",
        "--minutes",
        type=float,
        help="time for n-grams, updates, validation and checkpoints; alone, it also chooses the model's size (default: no "
        "limit)",
    )
    add("--batch-size", type=int, help="batch rows (default: by the length of the text)")
    add("--bptt-len", type=int, help="length of BPTT segments in tokens (default: 35)")
    add("--learning-rate", type=float, help="peak learning rate (default: by the number of updates)")
    add("--max-grad-norm", type=float, help="norm to which gradients are clipped (default: 0.5)")
    add("--eval-steps", type=int, help="updates between evaluations (default: about ten evaluations in a run)")
    add(
        "--patience", type=int, help="stop after this many evaluations without a lower validation loss (default: never)"
    )
    add("--seed", type=int, help="seed of the first weights and of dropout (default: 0)")
    add("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--precision", help="of matrix products: auto, float32, tf32 or bfloat16 (default: auto)")
    add("--run-dir", type=output_path, help="folder for checkpoints and history (default: MODEL.run beside the output)")
    add(
        "--sample-prompt",
        type=text,
        metavar="TEXT",
        default="",
        help="start of the passage that is generated at every evaluation (default: the start of a document)",
    )
    add("--resume", action="store_true", help="resume from the last checkpoint of the run folder")


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
    check_sets(parsed)
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
        print_reading(parsed, tokenizer)
    with ranks.first_here_first():
        normalize = base.vocabulary.normalize if base is not None else parsed.normalize
        train, valid, test = read_sets(parsed, tokenizer, normalize)
    model = base if base is not None else _new_model(parsed, model_config, train, ranks)
    counting = _counting(parsed, train, valid)
    trainer = Trainer(model, train, valid, config, callbacks=[counting, samples], progress=not parsed.quiet)
    if first and not parsed.quiet:
        print_plan(trainer, test)
    trainer.fit(resume=parsed.resume)
    interrupted = trainer.state.stop_reason == "interrupted"
    if first:
        _save(parsed, trainer, counting.ngram, test, complete=not interrupted)
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
    """Checks that folders can be written; refuses a run folder that is in the way."""
    from zh_lstm_lm.storage.atomic import check_place
    from zh_lstm_lm.training.run_folder import RunFolder

    check_place(Path(parsed.output))
    check_place(Path(parsed.run_dir))
    if not parsed.resume and RunFolder(Path(parsed.run_dir), keep_last=1).holds_run():
        raise ConfigError(
            f"{parsed.run_dir}: holds a run already; continue it with --resume, or give another --run-dir or --output"
        )


def _sizes(parsed: argparse.Namespace) -> dict[str, Any]:
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
    # It is the same on all ranks; sums may differ in their last digits.
    model = LSTMLanguageModel(vocabulary, config, text=train if ranks.rank == 0 else None)
    ranks.copy_from_first(model.parameters())
    return model


def _counting(parsed: argparse.Namespace, train: "TokenStream", valid: "TokenStream") -> Any:
    """Returns a callback that counts the n-grams first, inside the time of the run, and saves them as a model."""
    from zh_lstm_lm.evaluation.evaluate import evaluate
    from zh_lstm_lm.evaluation.parts import describe_parts, metrics_line
    from zh_lstm_lm.models.ngram import NGramLanguageModel
    from zh_lstm_lm.training.callbacks import Callback

    class Counting(Callback):
        first_rank_only = True
        ngram: NGramLanguageModel | None = None

        def on_train_begin(self, state: "TrainerState", model: "LSTMLanguageModel") -> None:
            if parsed.no_ngram:
                return
            prune = (0, 0, 0, 1) if len(train) > _PRUNED_TOKENS else (0,)
            ngram = self.ngram = NGramLanguageModel.from_stream(train, model.vocabulary, parsed.order, prune=prune)
            # A model with an LSTM is not given up for one without.
            if state.step or Path(parsed.output, "config.json").exists():
                return
            if len(valid):
                result = evaluate(ngram, valid)
                ngram.training_summary = {"valid_parts": describe_parts(ngram, result)}
                if not parsed.quiet:
                    print(f"{ngram.name}  valid  {metrics_line(result)}")
            ngram.save_pretrained(parsed.output)
            if not parsed.quiet:
                print_line(f"{parsed.output} can be used already, as this n-gram model; the LSTM is trained next")

    return Counting()


def _save(
    parsed: argparse.Namespace,
    trainer: "Trainer",
    ngram: "NGramLanguageModel | None",
    test: "TokenStream",
    *,
    complete: bool,
) -> None:
    """Saves the model; at the end of a run with the metrics on the test set, which go into the history as well."""
    import datetime
    import math
    import warnings

    from zh_lstm_lm.evaluation.evaluate import evaluate
    from zh_lstm_lm.evaluation.parts import describe_parts, metrics_line, mix_models, parts_table
    from zh_lstm_lm.models.components import component_weights, part_weights
    from zh_lstm_lm.storage.safe_reading import read_json

    lstm, state, run_dir = trainer.model, trainer.state, Path(parsed.run_dir)
    summary = lstm.training_summary
    summary["date"] = datetime.date.today().isoformat()
    summary.update(read_json(run_dir / "run.json").get("chosen", {}))
    if state.curve:
        summary["learning_rate"] = float(f"{max(record['learning_rate'] for record in state.curve):.3g}")
    # What is trained is saved before anything else is tried.
    model: Any = lstm if ngram is None else mix_models(lstm, ngram)
    model.save_pretrained(parsed.output)
    if ngram is not None and not (complete and trainer.valid):
        weights = ", ".join(f"{weight:g}" for weight in component_weights(model))
        print_line(f"{[*part_weights(model)][-1]}: weights {weights}, not fitted on a validation set")
    if not complete:
        print_line(f"interrupted; the model so far is in {parsed.output}; --resume continues", file=sys.stderr)
        return
    if ngram is not None and trainer.valid:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = mix_models(lstm, ngram, trainer.valid)
        for warning in caught:
            print_line(f"warning: {warning.message}", file=sys.stderr)
        state.best_record["valid_parts"] = model.training_summary["valid_parts"]
    if len(test):
        result = evaluate(model, test)
        if result.parts:
            rows = describe_parts(model, result)
            state.best_record["test_parts"] = model.training_summary["test_parts"] = rows
            print(parts_table(rows))
        print(f"test  {metrics_line(result)}")
        metrics = {
            "test_loss": result.loss,
            "test_perplexity": result.perplexity if math.isfinite(result.perplexity) else None,
            "test_bits_per_character": result.bits_per_character,
        }
        state.best_record.update(metrics)
        summary.update({name: value and round(value, 4) for name, value in metrics.items() if name != "test_loss"})
    state.history.save(run_dir / "history.jsonl")
    summary["novelty"] = _novelty(model, trainer.train)
    model.save_pretrained(parsed.output)
    print_line(f"saved in {parsed.output}")


def _novelty(model: "LanguageModel", train: "TokenStream") -> str:
    """Returns how much of the model's writing was copied, for its card."""
    from zh_lstm_lm.evaluation.novelty import novelty
    from zh_lstm_lm.generation.sampler import Sampler

    texts = Sampler(model).generate([""], num_samples=20, max_new_tokens=200)
    found = novelty("\n".join(texts), train, num_passages=1)
    new = ", ".join(f"{n}: {proportion:.1%}" for n, proportion in enumerate(found.new_words[:4], 1))
    return f"longest copy {found.longest_copy} of {found.num_characters:,} characters; new n-grams of words {new}"
