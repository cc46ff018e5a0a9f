# The contributor's commands; CI runs the same. Everything happens in a virtual environment of the checkout's own.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORPUS ?= ../shared/data/wuxia

.PHONY: install demo test check docs bench clean

# The environment is made anew when what it depends on changes.
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fast,progress,dev]'
	touch $@

install: $(BIN)/.installed

demo: install
	$(BIN)/python examples/jinyong.py --output demo

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -W -b html docs docs/_build

bench: install
	$(BIN)/python benchmarks/training.py $(CORPUS)

clean:
	rm -rf $(VENV) demo docs/_build build dist
