# Two commands set everything up on a fresh machine: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: setup demo test slow lint docs bench lock clean

setup: $(VENV)/.installed

# The lock file is a constraint: pip then takes exactly the pinned versions, torch's CPU build among them where one is offered.
$(VENV)/.installed: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/ssast demo --exp_dir $(DEMO)

test: setup
	$(BIN)/pytest -m 'not slow' -n auto --dist loadfile

slow: setup
	$(BIN)/pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m ssast.options > docs/options.md

bench: setup
	$(BIN)/python benchmarks/run.py

lock:
	./scripts-lock

clean:
	rm -rf $(VENV) $(DEMO)
