# The contributor's commands; CI runs the same. Everything happens in a virtual environment of the checkout's own.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The first release that knows dependency groups.
PIP := 'pip>=25.1'
# A folder of novels for the benchmarks: make bench CORPUS=novels/
CORPUS = $(error name a folder of novels, as in: make bench CORPUS=novels/)

# For test-lowest. On Linux the lowest PyTorch brings 3 GB of CUDA libraries; TORCH=2.13.0 keeps all others at their lowest.
TORCH = 2.6.0
TESTS = tests

.PHONY: install demo test test-lowest check types docs bench bench-long clean

# The environment is made anew when what it depends on changes.
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade $(PIP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fast,progress,hub,onnx,serve,toml]' --group dev
	touch $@

install: $(BIN)/.installed

demo: install
	$(BIN)/python -m zh_lstm_lm demo

# One process for each processor, so one thread in each.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --upgrade $(PIP)
	sed 's/^torch==.*/torch==$(TORCH)/' constraints-lowest.txt > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet -c $(VENV)-lowest/constraints.txt -e '.[fast,progress]' --group test
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -n auto $(TESTS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

types: install
	. $(BIN)/activate && pyright && pyright --ignoreexternal --verifytypes zh_lstm_lm  # of the python on the path

docs: install
	$(BIN)/python -m pip install --quiet -c constraints.txt --group docs
	$(BIN)/python -m sphinx -W -n docs docs/_build/html
	$(BIN)/python -m sphinx -W -n -c docs -D language=zh_CN docs/zh docs/_build/html/zh
	$(BIN)/python docs/demo_page.py docs/_build/html/demo.html

bench: install
	$(BIN)/python benchmarks/training_step.py $(CORPUS)
	$(BIN)/python benchmarks/training.py $(CORPUS) --seconds 120
	$(BIN)/python benchmarks/training.py $(CORPUS) --seconds 60 --min-freq 1 --max-size 1000000
	$(BIN)/python benchmarks/generation.py $(CORPUS)

bench-long: install
	$(BIN)/python benchmarks/time_to_quality.py $(CORPUS) --minutes 10
	$(BIN)/python benchmarks/time_to_quality.py $(CORPUS) --minutes 30

clean:
	rm -rf $(VENV) $(VENV)-lowest demo docs/_build build dist
