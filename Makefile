# Two commands set everything up on a fresh machine: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
TESTERS ?= 3

# Containers often set it; each of the many processes below would then compile the package and the tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test slow trials lint docs site notebook bench lock clean

setup: $(VENV)/.installed

# The lock file is a constraint: pip takes exactly the pinned versions, and torch's CPU build where one is offered.
# Compiled at once, no module is compiled where a disk is full: Python would keep what fitted, and fail on it later.
$(VENV)/.installed: pyproject.toml requirements.lock
	@echo "installing into $(VENV); two to three minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	$(BIN)/python -m compileall -q src
	touch $@

demo: setup
	$(BIN)/ssast demo --exp_dir $(DEMO)

# TESTERS processes share the tests; one that is through takes over from the end of what another has left. Tests wait now
# and then for the disk, a socket or another process, so three keep two cores busy. Each takes 1 to 2.5 GB.
test: setup
	$(BIN)/pytest -m 'not slow' -n $(TESTERS) --dist worksteal

slow: setup
	$(BIN)/pytest -m slow -n 2 --dist worksteal

# The slow tests that draw their moments by chance, twenty times instead of once; an hour.
trials: setup
	SSAST_TIMES=20 $(BIN)/pytest -m slow -n 2 --dist worksteal tests/runs/test_killed.py tests/runs/test_killed_on_shards.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The page and the picture that are generated from the code.
docs: setup
	$(BIN)/python -m ssast.help > docs/options.md
	$(BIN)/python docs/rooms.py > docs/rooms.svg

# All pages as a site in site/; a link that leads nowhere ends it.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The tutorial with new outputs; about two minutes.
notebook: setup
	$(BIN)/python docs/notebook.py run.ipynb run.ipynb

bench: setup
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/padding.py
	$(BIN)/python benchmarks/step_ways.py
	$(BIN)/torchrun --nproc_per_node 2 benchmarks/distributed.py
	$(BIN)/python benchmarks/frozen.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/bounds.py
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/busy.py
	$(BIN)/python benchmarks/startup.py

# After a change of pyproject.toml: resolve anew in a clean environment, with the pinned torch, and write down what came out.
lock:
	rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'torch==2.13.0' && $(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock
	$(MAKE) requirements.txt
	touch $(VENV)/.installed

# The direct dependencies at their pinned versions, for those who install without this Makefile.
requirements.txt: requirements.lock pyproject.toml
	$(BIN)/python -c "import re, tomllib; \
	names = [re.split('[<>=]', need)[0].lower() for need in tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']]; \
	print(*(pin for pin in open('requirements.lock').read().split() if pin.split('==')[0].lower() in names), sep='\n')" > $@

clean:
	rm -rf $(VENV) $(DEMO) site
