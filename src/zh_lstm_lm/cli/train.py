"""The command ``train``."""

import argparse
import math
import sys

from zh_lstm_lm.cli.common import (
    INTERRUPTED,
    AddCommand,
    add_reading,
    chosen_tokenizer,
    figures,
    given,
    option,
    read_stream,
    tell,
)
from zh_lstm_lm.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from zh_lstm_lm.corpus.token_stream import TokenStream
    from zh_lstm_lm.corpus.vocabulary import Vocabulary
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.models.lstm import LSTMLanguageModel

__all__ = ["add_command"]

_SETTLED = (
    "tokenizer",
    "user_dictionary",
    "min_freq",
    "max_size",
    "unknown",
    "embedding_dim",
    "hidden_size",
    "num_layers",
    "dropout",
    "tie_weights",
)


def add_command(add: AddCommand) -> None:
    """Adds the command."""
    train = add("train", _train, "Train a model on novels and save it.")
    train.add_argument("paths", nargs="+", help="folders, files or glob patterns of text")
    train.add_argument("--output", required=True, metavar="MODEL", help="folder to save the model in")
    train.add_argument(
        "--from", dest="base", metavar="MODEL", help="go on from this saved model, on the text given here"
    )
    add_reading(train)
    train.add_argument("--valid", type=float, default=0.05, help="share of every document held out for validation")
    train.add_argument("--test", type=float, default=0.05, help="share of every document held out for the final test")
    sizes = train.add_argument_group("vocabulary and model (not with --from)")
    sizes.add_argument("--min-freq", type=int, help="leave out words that occur less often (3)")
    sizes.add_argument("--max-size", type=int, help="most entries of the vocabulary (60000)")
    sizes.add_argument("--unknown", choices=["characters", "unk"], help="what becomes of other words (characters)")
    sizes.add_argument("--embedding-dim", type=int)
    sizes.add_argument("--hidden-size", type=int)
    sizes.add_argument("--num-layers", type=int)
    sizes.add_argument("--dropout", type=float)
    sizes.add_argument("--tie-weights", action="store_true", default=None)
    sizes.add_argument("--softmax", dest="output_layer", choices=["auto", "full", "adaptive"])
    training = train.add_argument_group("training")
    training.add_argument("--max-epochs", "--epochs", type=int)
    training.add_argument("--max-steps", "--steps", type=int)
    training.add_argument(
        "--max-minutes", "--minutes", type=float, help="with this alone, it also chooses the model's size"
    )
    training.add_argument("--batch-size", type=int)
    training.add_argument("--bptt-len", type=int)
    training.add_argument("--learning-rate", type=float)
    training.add_argument("--max-grad-norm", type=float)
    training.add_argument("--patience", type=int, help="stop after this many evaluations without a lower held-out loss")
    training.add_argument("--seed", type=int, help="for the first weights and for dropout")
    training.add_argument("--device", help="auto, cpu, cuda …")
    training.add_argument("--precision", help="auto, float32, tf32 or bfloat16: what matrices are multiplied in")
    training.add_argument("--run-dir", help="folder for checkpoints and history (MODEL.run beside the output)")
    training.add_argument("--sample-prompt", metavar="TEXT", default="", help="how the passage of every epoch begins")
    training.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")


def _train(parsed: argparse.Namespace) -> int:
    import logging
    from pathlib import Path

    from zh_lstm_lm.corpus.vocabulary import Vocabulary
    from zh_lstm_lm.evaluation.evaluate import evaluate
    from zh_lstm_lm.models.config import ModelConfig
    from zh_lstm_lm.models.lstm import LSTMLanguageModel
    from zh_lstm_lm.storage.atomic import check_place
    from zh_lstm_lm.studies.epoch_samples import EpochSamples
    from zh_lstm_lm.training.config import TrainerConfig
    from zh_lstm_lm.training.torchrun import join_ranks
    from zh_lstm_lm.training.trainer import Trainer

    names = ("max_epochs", "max_steps", "max_minutes", "batch_size", "bptt_len", "learning_rate", "max_grad_norm")
    _check_base(parsed)
    run_dir = parsed.run_dir or f"{Path(parsed.output)}.run"
    config = TrainerConfig(run_dir=run_dir, **given(parsed, *names, "patience", "seed", "device", "precision"))
    sizes = given(
        parsed, "embedding_dim", "hidden_size", "num_layers", "dropout", "tie_weights", "seed", output="output_layer"
    )
    checked = ModelConfig(**sizes)  # before the long work of reading
    samples = EpochSamples(parsed.sample_prompt)
    ranks = join_ranks()  # with torchrun; the first one reads for those on its machine, prints and saves
    first = ranks.rank == 0
    if first:
        check_place(Path(parsed.output))
    else:
        logging.getLogger("zh_lstm_lm").setLevel(logging.ERROR)
    if parsed.base is None:
        with ranks.first_here_first():
            corpus = read_stream(parsed, chosen_tokenizer(parsed), parsed.normalize)
        train, valid, test = corpus.split(valid=parsed.valid, test=parsed.test)
        chosen = {"min_freq": 3, "max_size": 60_000, **given(parsed, "min_freq", "max_size", "unknown")}
        vocabulary = Vocabulary.from_stream(train, **chosen)
        settled = ranks.by_first(lambda: _sizes(parsed, checked, sizes, train, vocabulary).to_dict())
        model = LSTMLanguageModel(vocabulary, ModelConfig.from_dict(settled))
    else:
        model = LSTMLanguageModel.from_pretrained(parsed.base)
        with ranks.first_here_first():
            corpus = read_stream(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize)
        train, valid, test = corpus.split(valid=parsed.valid, test=parsed.test)
    if first:
        print(
            f"{corpus.num_documents} documents, {corpus.num_characters:,} characters, {len(corpus):,} tokens; "
            f"vocabulary {len(model.vocabulary):,}; {model.num_parameters:,} weights (embedding "
            f"{model.config.embedding_dim}, hidden {model.config.hidden_size}, {model.config.output} softmax)",
            flush=True,
        )
    trainer = Trainer(model, train, valid, config, callbacks=[samples], progress=not parsed.quiet)
    trainer.fit(resume=parsed.resume)
    interrupted = trainer.state.stop_reason == "interrupted"
    if first:
        model.save_pretrained(parsed.output)
        if interrupted:
            tell(f"interrupted; the model so far is in {parsed.output}, and --resume goes on", file=sys.stderr)
        else:
            if len(test):
                result = evaluate(model, test)
                print(f"test  {figures(result)}")
                measured = {
                    "test_perplexity": result.perplexity if math.isfinite(result.perplexity) else None,
                    "test_bits_per_character": result.bits_per_character,
                }
                trainer.state.best_record.update(test_loss=result.loss, **measured)
                trainer.state.history.save(Path(run_dir) / "history.jsonl")
                model.training_summary.update({name: value and round(value, 4) for name, value in measured.items()})
            model.training_summary["novelty"] = _novelty(model, train)
            model.save_pretrained(parsed.output)
            tell(f"saved in {parsed.output}")
    ranks.wait_for_all()  # torchrun ends the others when one has ended with another status than 0
    return INTERRUPTED if interrupted else 0


def _check_base(parsed: argparse.Namespace) -> None:
    """Refuses what a model to go on from has settled already."""
    typed = given(parsed, *_SETTLED, softmax="output_layer")
    if parsed.normalize != "auto":
        typed["normalize"] = parsed.normalize
    if parsed.base is not None and typed:
        raise ConfigError(
            f"--from goes on with the vocabulary, tokenizer and sizes of {parsed.base}; leave out "
            + ", ".join(map(option, typed))
        )


def _sizes(
    parsed: argparse.Namespace,
    checked: "ModelConfig",
    sizes: "dict[str, Any]",
    train: "TokenStream",
    vocabulary: "Vocabulary",
) -> "ModelConfig":
    """The model's config: as asked, or chosen for the time there is where only minutes were given."""
    only_minutes = parsed.max_minutes and not parsed.max_epochs and not parsed.max_steps
    if not only_minutes or "embedding_dim" in sizes or "hidden_size" in sizes:
        return checked
    device = parsed.device or "auto"
    return type(checked).for_budget(train, vocabulary, minutes=parsed.max_minutes, device=device, **sizes)


def _novelty(model: "LSTMLanguageModel", train: "TokenStream") -> str:
    """What of the model's writing was copied, for its card."""
    from zh_lstm_lm.evaluation.novelty import novelty
    from zh_lstm_lm.generation.sampler import Sampler

    texts = Sampler(model).generate([""], num_samples=20, max_new_tokens=200)
    found = novelty("\n".join(texts), train, num_passages=1)
    shares = ", ".join(f"{n}: {share:.1%}" for n, share in enumerate(found.new_words[:4], 1))
    return f"longest copy {found.longest_copy} of {found.num_characters:,} characters; new n-grams of words {shares}"
