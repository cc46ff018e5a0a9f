"""The API by usage: this script runs as it is written, without a ``__main__`` guard."""

import re
import subprocess
import sys
from pathlib import Path

from zh_lstm_lm import LSTMLanguageModel, sample_novel

SCRIPT = """
from zh_lstm_lm import (
    LSTMLanguageModel, ModelConfig, Sampler, SamplerConfig, TokenStream, Trainer, TrainerConfig, Vocabulary,
    evaluate, score,
)

corpus = TokenStream.from_files("novels/")          # a folder, a file, a glob, or a list of them
train, valid, test = corpus.split(valid=0.05, test=0.05)          # the tail of every document
vocabulary = Vocabulary.from_stream(train, min_freq=3, max_size=60_000)
model = LSTMLanguageModel(vocabulary, ModelConfig(embedding_dim=192, hidden_size=384))   # or ModelConfig.for_budget(...)
trainer = Trainer(model, train, valid, TrainerConfig(max_epochs=3, run_dir="runs/wuxia", seed=0))
history = trainer.fit(resume=True)                  # resume=True: carry on from run_dir if it holds a checkpoint
model.save_pretrained("wuxia-lstm")

model = LSTMLanguageModel.from_pretrained("wuxia-lstm")           # one folder holds everything
result = evaluate(model, test)                      # .perplexity .bits_per_character .loss .num_tokens .num_characters
print(score(model, "话说展爷大喜。").bits_per_character)          # also .tokens .log_probs .log_prob .perplexity
sampler = Sampler(model, SamplerConfig(temperature=0.8, top_p=0.95, seed=0))
print(sampler.generate("话说", max_new_tokens=200))
for piece in sampler.stream("只见", max_new_tokens=50):
    print(piece, end="", flush=True)
sampler.write("novel.txt", prompt="话说", max_characters=10_000)  # the text goes into the file as it is made
"""


def run_script(folder: Path, script: str) -> str:
    (folder / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "script.py"], cwd=folder, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def hold_its_promises(folder: Path, output: str, epochs: int) -> None:
    perplexities = [float(shown.replace(",", "")) for shown in re.findall(r"valid perplexity ([\d,.]+)", output)]
    assert len(perplexities) == epochs
    assert perplexities == sorted(perplexities, reverse=True)
    assert "bits/character" in output
    text = (folder / "novel.txt").read_text(encoding="utf-8")
    assert len(text) == 10_000
    assert text.startswith("话说")
    assert "\ufffd" not in text
    assert (folder / "runs" / "wuxia" / "history.jsonl").is_file()
    assert {"config.json", "model.safetensors", "vocabulary.json", "README.md"} <= {
        file.name for file in (folder / "wuxia-lstm").iterdir()
    }
    assert LSTMLanguageModel.from_pretrained(folder / "wuxia-lstm").config.hidden_size == 384


def write_novels(folder: Path) -> None:
    folder.mkdir()
    chapters = re.split(r"(?=^第.{1,3}回)", sample_novel(), flags=re.MULTILINE)
    for number in range(4):
        text = "".join(chapters[1 + 4 * number : 5 + 4 * number])
        (folder / f"{number}.txt").write_text(text, encoding="gb18030")


def test_script_runs_as_written_on_the_bundled_novel(tmp_path: Path) -> None:
    write_novels(tmp_path / "novels")
    output = run_script(tmp_path, SCRIPT)
    hold_its_promises(tmp_path, output, epochs=3)
    again = run_script(tmp_path, SCRIPT)  # resume=True: the finished run is loaded, not trained again
    assert again == output[output.index(again[:10]) :]


def test_script_runs_on_real_novels(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "novels").mkdir()
    for name in ("争春园", "仙侠五花剑", "杨家将传"):
        (tmp_path / "novels" / f"{name}.txt").write_bytes((shared_data / "wuxia" / f"{name}.txt").read_bytes())
    output = run_script(tmp_path, SCRIPT.replace("max_epochs=3", "max_epochs=1"))
    hold_its_promises(tmp_path, output, epochs=1)
