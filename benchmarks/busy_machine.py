"""Training and writing beside busy processes, with the threads of the command line and with fixed ones.

    python benchmarks/busy_machine.py [--seconds 10] [--rounds 3] [--other SRC]

The sides take turns, each in a process of its own: ``command`` is what the command line sets, ``one`` has one thread,
``passive`` has one for each processor that waits passively, and ``untouched`` is what PyTorch does by itself. The
``command`` side of another checkout, given by its folder of sources, is ``other``. Printed are medians: training tokens/s
on the bundled novella (embedding 96, hidden 192), and the processor time of writing 500 characters, with no, one and
three busy processes per processor beside it. Close everything else before you measure.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
FIXED = {"one": {"OMP_NUM_THREADS": "1"}, "passive": {"OMP_WAIT_POLICY": "passive"}, "untouched": {}}
OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
BUSY = "while True: pass"


def work(what: str, side: str, seconds: float) -> float:
    """Trains or writes in this process; returns tokens/s, or processor seconds."""
    if side in ("command", "other"):
        try:
            from zh_lstm_lm.runtime.threads import settle_threads  # noqa: PLC0415
        except ImportError:  # an older checkout has none
            pass
        else:
            settle_threads(one=what == "write")
    from zh_lstm_lm import (  # noqa: PLC0415
        Callback,
        LSTMLanguageModel,
        ModelConfig,
        Sampler,
        TokenStream,
        Trainer,
        TrainerConfig,
        TrainerState,
        Vocabulary,
        sample_novel,
    )

    stream = TokenStream.from_texts([sample_novel()])
    model = LSTMLanguageModel(Vocabulary.from_stream(stream), ModelConfig(embedding_dim=96, hidden_size=192))
    if what == "write":
        Sampler(model).generate("话说", max_characters=20)
        began = time.process_time()
        Sampler(model).generate("话说", max_characters=500)
        return time.process_time() - began

    class Watch(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, state: TrainerState, model: LSTMLanguageModel) -> None:
            self.times.append(time.perf_counter())
            if self.times[-1] - self.times[0] > seconds:
                state.request_stop("enough")

    watch = Watch()
    config = TrainerConfig(max_epochs=10**6, batch_size=32)
    Trainer(model, stream, None, config, callbacks=[watch], progress=False).fit()
    times = watch.times[len(watch.times) // 10 :]
    return (len(times) - 1) * config.bptt_len * 32 / (times[-1] - times[0])


def measure(what: str, side: str, source: Path, seconds: float) -> float:
    """Runs `work` in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in OPENMP}
    environment |= FIXED.get(side, {}) | {"PYTHONPATH": str(source)}
    command = [sys.executable, __file__, "--work", what, side, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measures all sides under all loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        what, side = options.work
        print(json.dumps(work(what, side, options.seconds)))
        return
    sides = {"command": SOURCE, **dict.fromkeys(FIXED, SOURCE), **({"other": options.other} if options.other else {})}
    processors = os.cpu_count() or 1
    for per_processor in (0, 1, 3):
        busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(per_processor * processors)]
        try:
            for what, unit in (("train", "tokens/s"), ("write", "processor seconds")):
                found: dict[str, list[float]] = {side: [] for side in sides}
                for _ in range(options.rounds):
                    for side, source in sides.items():
                        found[side].append(measure(what, side, source, options.seconds))
                medians = "  ".join(f"{side} {statistics.median(values):,.1f}" for side, values in found.items())
                print(f"{per_processor} busy per processor, {what}, {unit}: {medians}", flush=True)
        finally:
            for process in busy:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
