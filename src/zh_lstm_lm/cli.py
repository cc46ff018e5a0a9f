"""The command line: the library's own calls, with a few lines around each. Nothing heavy is imported before it is needed."""

import argparse
import difflib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from zh_lstm_lm._version import __version__
from zh_lstm_lm.errors import ZhLstmLmError

if TYPE_CHECKING:
    from zh_lstm_lm.model import LSTMLanguageModel, ModelConfig
    from zh_lstm_lm.token_stream import TokenStream
    from zh_lstm_lm.vocabulary import Vocabulary

__all__ = ["main"]

_INTERRUPTED = 130
_SAMPLING_NUMBERS = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
)
_SAMPLING_INTEGERS = ("top_k", "penalty_window", "no_repeat_ngram_size", "seed")


class _Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest option for one that there is not."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuses unknown options here, where this command's own are known."""
        parsed, unknown = super().parse_known_args(args, namespace)
        for option in unknown:
            matches = difflib.get_close_matches(option.split("=")[0], self._option_string_actions, n=1, cutoff=0.5)
            self.error(f"no such option: {option}" + (f"; did you mean {matches[0]}?" if matches else ""))
        return parsed, []

    def error(self, message: str) -> NoReturn:
        """Two lines and exit status 2."""
        self.exit(2, f"{self.prog}: error: {message}\n{self.prog} --help shows what there is\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What was typed after the program's name; None takes it from the process.

    Returns:
        The exit status: 0, 2 for bad input, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # rare characters print on a console of any encoding
    parsed = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("zh_lstm_lm").setLevel(logging.WARNING if parsed.quiet else logging.INFO)
    try:
        status: int = parsed.run(parsed)
    except ZhLstmLmError as error:
        print(f"zh-lstm-lm: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zh-lstm-lm: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="zh-lstm-lm", description="Word-level LSTM language models of Chinese text.")
    parser.add_argument("--version", action="version", version=f"zh-lstm-lm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        command.add_argument("--quiet", action="store_true", help="print results and warnings only")
        return command

    train = add("train", _train, "Train a model on novels and save it.")
    train.add_argument("paths", nargs="+", help="folders, files or glob patterns of text")
    train.add_argument("--output", required=True, metavar="MODEL", help="folder to save the model in")
    train.add_argument(
        "--from", dest="base", metavar="MODEL", help="go on from this saved model, on the text given here"
    )
    _add_reading(train)
    train.add_argument("--valid", type=float, default=0.05, help="share of every document held out for validation")
    train.add_argument("--test", type=float, default=0.05, help="share of every document held out for the final test")
    sizes = train.add_argument_group("vocabulary and model (not with --from)")
    sizes.add_argument("--min-freq", type=int, default=3, help="leave out words that occur less often")
    sizes.add_argument("--max-size", type=int, default=60_000, help="most entries of the vocabulary")
    sizes.add_argument(
        "--unknown", choices=["characters", "unk"], default="characters", help="what becomes of other words"
    )
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
    training.add_argument("--run-dir", help="folder for checkpoints and history (MODEL.run beside the output)")
    training.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")

    evaluate = add("evaluate", _evaluate, "Measure a model on text: bits per character and perplexity.")
    evaluate.add_argument("model", help="folder of a saved model")
    evaluate.add_argument("paths", nargs="+", help="folders, files or glob patterns of text")
    _add_reading(evaluate, tokenizer=False)
    evaluate.add_argument("--batch-size", type=int, default=64)

    score = add("score", _score, "Print the surprisal of every token of a text.")
    score.add_argument("model", help="folder of a saved model")
    score.add_argument("text", help="the text itself; - reads it from standard input")

    generate = add("generate", _generate, "Write text with a model.")
    generate.add_argument("model", help="folder of a saved model")
    generate.add_argument("--prompt", default="", help="what the text begins with")
    generate.add_argument("--max-new-tokens", type=int, help="words to write (200 where no limit is given)")
    generate.add_argument("--max-characters", type=int, help="length of the text, prompt included")
    generate.add_argument("--stop", action="append", help="end with this string; may be given several times")
    for name in _SAMPLING_NUMBERS:
        generate.add_argument(_option(name), type=float)
    for name in _SAMPLING_INTEGERS:
        generate.add_argument(_option(name), type=int)
    generate.add_argument("--ban", dest="banned_words", action="append", help="never write this; may be repeated")
    generate.add_argument("--output", metavar="FILE", help="write into this file in place of the screen")

    info = add("info", _info, "Tell what a saved model is.")
    info.add_argument("model", help="folder of a saved model")

    inspect = add("inspect", _inspect, "Look at novels before training: what would be read, removed and covered.")
    inspect.add_argument("paths", nargs="+", help="folders, files or glob patterns of text")
    _add_reading(inspect)
    inspect.add_argument("--changes", type=int, default=3, help="changes of each kind to show for each file")
    inspect.add_argument("--files-only", action="store_true", help="do not segment: no coverage, no estimate")
    inspect.add_argument("--min-freq", type=int, default=3, help="leave out words that occur less often")
    inspect.add_argument("--max-size", type=int, default=60_000, help="most entries of the vocabulary")
    inspect.add_argument("--embedding-dim", type=int, help="size to estimate training for")
    inspect.add_argument("--hidden-size", type=int, help="size to estimate training for")
    inspect.add_argument("--num-layers", type=int, help="size to estimate training for")

    cache = add("cache", _cache, "Tell where segmented text is kept and how large it is, or clear it.")
    cache.add_argument("--cache-dir", help="another cache folder")
    cache.add_argument("--clear", action="store_true", help="remove what is in it")
    return parser


def _add_reading(command: argparse.ArgumentParser, *, tokenizer: bool = True) -> None:
    reading = command.add_argument_group("reading")
    if tokenizer:
        reading.add_argument("--tokenizer", default=None, help="jieba (the default), rjieba, characters or pkuseg")
        reading.add_argument(
            "--user-dictionary", metavar="FILE", help="words of your own for jieba or rjieba: word [frequency] a line"
        )
    reading.add_argument("--encoding", default="auto", help="auto, or the encoding of all files")
    reading.add_argument("--clean", default="novel", help="novel, or none for the text as it is")
    if tokenizer:
        reading.add_argument(
            "--normalize", default="auto", help="nfc, width, nfkc, simplified, joined by +; none; auto is nfc+width"
        )
    reading.add_argument("--cache-dir", help="where to keep segmented text")
    reading.add_argument("--workers", type=int, help="processes to segment with")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _given(parsed: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """The options that were typed, by the name that the library has for them."""
    pairs = [*((name, name) for name in names), *renamed.items()]
    return {name: getattr(parsed, typed) for name, typed in pairs if getattr(parsed, typed) is not None}


def _tokenizer(parsed: argparse.Namespace) -> Any:
    from zh_lstm_lm.tokenizers.registry import get_tokenizer

    return get_tokenizer(parsed.tokenizer or "jieba", **_given(parsed, "user_dictionary"))


def _read(parsed: argparse.Namespace, tokenizer: Any, normalize: str) -> "TokenStream":
    from zh_lstm_lm.token_stream import TokenStream

    return TokenStream.from_files(
        parsed.paths,
        tokenizer=tokenizer,
        encoding=parsed.encoding,
        clean=parsed.clean,
        normalize=normalize,
        cache_dir=parsed.cache_dir,
        workers=parsed.workers,
    )


def _train(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation import evaluate
    from zh_lstm_lm.model import LSTMLanguageModel, ModelConfig
    from zh_lstm_lm.storage import check_place
    from zh_lstm_lm.trainer import Trainer, TrainerConfig
    from zh_lstm_lm.vocabulary import Vocabulary

    names = ("max_epochs", "max_steps", "max_minutes", "batch_size", "bptt_len", "learning_rate", "max_grad_norm")
    run_dir = parsed.run_dir or f"{parsed.output.rstrip('/')}.run"
    config = TrainerConfig(run_dir=run_dir, **_given(parsed, *names, "patience", "seed", "device"))
    sizes = _given(
        parsed, "embedding_dim", "hidden_size", "num_layers", "dropout", "tie_weights", "seed", output="output_layer"
    )
    checked = ModelConfig(**sizes)  # before the long work of reading
    check_place(Path(parsed.output))
    if parsed.base is None:
        corpus = _read(parsed, _tokenizer(parsed), parsed.normalize)
        train, valid, test = corpus.split(valid=parsed.valid, test=parsed.test)
        vocabulary = Vocabulary.from_stream(
            train, min_freq=parsed.min_freq, max_size=parsed.max_size, unknown=parsed.unknown
        )
        model = LSTMLanguageModel(vocabulary, _sizes(parsed, checked, sizes, train, vocabulary))
    else:
        model = LSTMLanguageModel.from_pretrained(parsed.base)
        corpus = _read(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize)
        train, valid, test = corpus.split(valid=parsed.valid, test=parsed.test)
    print(
        f"{corpus.num_documents} documents, {corpus.num_characters:,} characters, {len(corpus):,} tokens; "
        f"vocabulary {len(model.vocabulary):,}; {model.num_parameters:,} weights (embedding "
        f"{model.config.embedding_dim}, hidden {model.config.hidden_size}, {model.config.output} softmax)",
        flush=True,
    )
    trainer = Trainer(model, train, valid, config, progress=not parsed.quiet)
    trainer.fit(resume=parsed.resume)
    model.save_pretrained(parsed.output)
    if trainer.state.stop_reason == "interrupted":
        print(f"interrupted; the model so far is in {parsed.output}, and --resume goes on", file=sys.stderr)
        return _INTERRUPTED
    if len(test):
        result = evaluate(model, test)
        print(f"test  {_figures(result)}")
    print(f"saved in {parsed.output}")
    return 0


def _sizes(
    parsed: argparse.Namespace,
    checked: "ModelConfig",
    sizes: dict[str, Any],
    train: "TokenStream",
    vocabulary: "Vocabulary",
) -> "ModelConfig":
    """The model's config: as asked, or chosen for the time there is where only minutes were given."""
    only_minutes = parsed.max_minutes and not parsed.max_epochs and not parsed.max_steps
    if not only_minutes or "embedding_dim" in sizes or "hidden_size" in sizes:
        return checked
    return type(checked).for_budget(train, vocabulary, minutes=parsed.max_minutes, **sizes)


def _load(path: str) -> "LSTMLanguageModel":
    from zh_lstm_lm.model import LSTMLanguageModel

    return LSTMLanguageModel.from_pretrained(path)


def _figures(result: Any) -> str:
    bits = result.bits_per_character
    told = f"{result.num_characters:,} characters  {bits:.4f} bits/character" if bits is not None else ""
    unknown = "" if bits is not None else f"unknown {result.unknown_rate:.2%}"
    return f"{told}{unknown}  perplexity {result.perplexity:,.2f} per token  {result.num_tokens:,} tokens"


def _evaluate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation import evaluate

    model = _load(parsed.model)
    stream = _read(parsed, model.vocabulary.tokenizer, model.vocabulary.normalize)
    result = evaluate(model, stream, batch_size=parsed.batch_size)
    print(f"{_figures(result)}  clean={result.clean}")
    return 0


def _score(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.evaluation import score

    text = _standard_input() if parsed.text == "-" else parsed.text
    result = score(_load(parsed.model), text)
    print("token\tbits")
    for token, bits in zip(result.tokens, result.surprisals, strict=True):
        print(f"{token!r}\t{bits:.3f}" if token.isspace() else f"{token}\t{bits:.3f}")
    print(f"# {_figures(result)}")
    return 0


def _standard_input() -> str:
    from zh_lstm_lm.text.decoding import decode, normalize_line_ends

    buffer: IO[bytes] = sys.stdin.buffer
    return normalize_line_ends(decode(buffer.read(), name="standard input").text)


def _generate(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.sampler import Sampler, SamplerConfig

    config = SamplerConfig(**_given(parsed, *_SAMPLING_NUMBERS, *_SAMPLING_INTEGERS, "banned_words"))
    limits = _given(parsed, "max_new_tokens", "max_characters", "stop")
    sampler = Sampler(_load(parsed.model), config)
    if parsed.output:
        path = sampler.write(parsed.output, prompt=parsed.prompt, **limits)
        print(f"{len(path.read_text(encoding='utf-8')):,} characters in {path}")
        return 0
    for piece in sampler.stream(parsed.prompt, **limits):
        print(piece, end="", flush=True)
    print()
    return 0


def _info(parsed: argparse.Namespace) -> int:
    model = _load(parsed.model)
    vocabulary = model.vocabulary
    print(f"model       {parsed.model}, {model.num_parameters:,} weights")
    print(f"vocabulary  {len(vocabulary):,} tokens, unknown={vocabulary.unknown}")
    print(f"tokenizer   {vocabulary.tokenizer.fingerprint}")
    print(f"normalize   {vocabulary.normalize}")
    for title, values in (("config", model.config.to_dict()), ("training", model.training_summary)):
        for name, value in values.items():
            print(f"{title:<11} {name}={value}")
    return 0


def _inspect(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.inspection import inspect_files

    inspections = inspect_files(parsed.paths, encoding=parsed.encoding, clean=parsed.clean)
    for inspection in inspections:
        print("\n".join(inspection.lines(max_changes=parsed.changes)), flush=True)
    broken = sum(inspection.error is not None for inspection in inspections)
    if broken:
        print(f"zh-lstm-lm: error: {broken} of {len(inspections)} files cannot be read", file=sys.stderr)
        return 2
    if parsed.files_only:
        return 0
    from zh_lstm_lm.estimates import estimate_training
    from zh_lstm_lm.model import ModelConfig
    from zh_lstm_lm.vocabulary import Vocabulary

    config = ModelConfig(**_given(parsed, "embedding_dim", "hidden_size", "num_layers"))
    corpus = _read(parsed, _tokenizer(parsed), parsed.normalize)
    vocabulary = Vocabulary.from_stream(corpus, min_freq=parsed.min_freq, max_size=parsed.max_size)
    print(f"\nvocabulary {len(vocabulary):,}: {vocabulary.report(corpus)}")
    print(f"training at these sizes: {estimate_training(vocabulary, corpus, config)}")
    return 0


def _cache(parsed: argparse.Namespace) -> int:
    from zh_lstm_lm.storage import clear_cache, user_cache_dir

    folder = Path(parsed.cache_dir) if parsed.cache_dir else user_cache_dir()
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    if parsed.clear:
        clear_cache(folder)
        print(f"{folder}: cleared, {size:,.1f} MB")
    else:
        print(f"{folder}: {size:,.1f} MB in {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
