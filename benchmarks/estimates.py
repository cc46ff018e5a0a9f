"""The estimate of training against what training then takes.

    python benchmarks/estimates.py CORPUS [--steps 200]

Five times in turn: `estimate_training`, then that many real updates with the same options. Printed is the time that they
took over the time that was estimated for them; the median should lie within 25 % of 1.
"""

import argparse
import statistics

from zh_lstm_lm import (
    LSTMLanguageModel,
    ModelConfig,
    TokenStream,
    Trainer,
    TrainerConfig,
    Vocabulary,
    estimate_training,
)

ROUNDS = 5


def main() -> None:
    """Estimates, trains, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    stream = TokenStream.from_files(options.corpus)
    vocabulary = Vocabulary.from_stream(stream, min_freq=3, max_size=60_000)
    sizes = ModelConfig()
    ratios = []
    for _ in range(ROUNDS):
        estimate = estimate_training(vocabulary, stream, sizes)
        trainer = Trainer(
            LSTMLanguageModel(vocabulary, sizes), stream, None, TrainerConfig(max_steps=options.steps), progress=False
        )
        trainer.fit()
        expected = estimate.seconds_per_epoch / trainer.state.steps_per_epoch * options.steps
        ratios.append(trainer.state.training_seconds / expected)
        print(f"{estimate}; {options.steps} updates took {ratios[-1]:.2f} of the time", flush=True)
    print(f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
