"""Many threads on one model, and memory over many generations.

    python benchmarks/reliability/load.py threads --times 8 --seconds 120
    python benchmarks/reliability/load.py memory --times 10000

All is drawn from `--seed`; the models are those of `tiny_runs.py`.
"""

import os
import threading
import time
from pathlib import Path

from tiny_runs import TEXTS, make_model, parser_of, prepare

from zh_lstm_lm import (
    Sampler,
    SamplerConfig,
    score,
)


def resident_memory() -> float:
    """What this process holds in memory now, in MB."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def threads(times: int, seed: int, seconds: float) -> None:
    """Threads that share one model, in training mode to make it harder, against each alone."""
    model = make_model(output="adaptive", cutoffs=(20, 60))
    model.train()
    prompts = [TEXTS[number % 3][: 5 + number] for number in range(times)]
    alone = [
        (Sampler(model, SamplerConfig(seed=seed + n)).generate(p, max_new_tokens=30), score(model, p).log_probs)
        for n, p in enumerate(prompts)
    ]
    calls, wrong, memory = [0] * times, [0] * times, [resident_memory()]
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        while time.monotonic() < end:
            text = Sampler(model, SamplerConfig(seed=seed + number)).generate(prompts[number], max_new_tokens=30)
            wrong[number] += (text, score(model, prompts[number]).log_probs) != alone[number]
            calls[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(times)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        time.sleep(min(5.0, seconds / 4))
        memory.append(resident_memory())
    assert sum(wrong) == 0, f"{sum(wrong)} of {sum(calls)} differ from those alone"
    assert model.training, "the model's mode was changed"
    middle = memory[len(memory) // 2]
    print(
        f"threads: {times} threads, {sum(calls):,} texts and scores equal to those alone; memory {middle:.0f} MB half way, {memory[-1]:.0f} MB at the end"
    )


def memory(times: int, seed: int) -> None:
    """Many short generations; memory grows by next to nothing."""
    sampler = Sampler(make_model(), SamplerConfig(seed=seed))
    for _ in range(100):
        sampler.generate("展昭", max_new_tokens=8)
    before = resident_memory()
    for _ in range(times):
        sampler.generate("展昭", max_new_tokens=8)
    grown = resident_memory() - before
    print(f"memory: {times:,} generations, memory grew by {grown:.1f} MB")
    assert grown < 10, "memory leaks"


if __name__ == "__main__":
    parser = parser_of(__doc__, ["threads", "memory"])
    parser.add_argument("--seconds", type=float, default=120.0, help="how long threads work")
    parsed = parser.parse_args()
    prepare()
    if parsed.what == "threads":
        threads(parsed.times, parsed.seed, parsed.seconds)
    else:
        memory(parsed.times, parsed.seed)
