# Every target sets up what it needs. `make serve` and `make test` are all a newcomer has to know.
PYTHON ?= python3
VENV   := .venv
READY  := $(VENV)/.ready
RUN    := $(VENV)/bin/
ARGS   ?=
REPO   ?= .
AGENTS ?= 6

.PHONY: serve test check demo bench coverage lock clean

serve: $(READY)
	$(RUN)intermute serve $(ARGS)

test: $(READY)
	$(RUN)python -m pytest $(ARGS)

check: $(READY)
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy

demo: $(READY)
	$(RUN)python -m bench.demo --repo "$(REPO)" --agents $(AGENTS) $(ARGS)

bench: $(READY)
	$(RUN)python -m bench $(ARGS)

coverage: $(READY)
	$(RUN)coverage run -m pytest $(ARGS)
	$(RUN)coverage report --include='actors/*,intermute/domain/*,intermute/wire/*' --show-missing

# Rewrites the pins after pyproject.toml changed; the result is committed.
lock:
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(RUN)pip install --quiet --editable '.[dev]'
	$(RUN)pip freeze --exclude-editable > constraints.txt
	touch $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
