# Every target sets up what it needs. `make serve` and `make test` are all a newcomer has to know.
PYTHON ?= python3
VENV   := .venv
READY  := $(VENV)/.ready
RUN    := $(VENV)/bin/
PIN    := $(RUN)pip install --quiet --disable-pip-version-check --constraint constraints.txt
ARGS   ?=
REPO   ?= .
AGENTS ?= 6
TOWNS  ?= 3000

# Without bytecode each worker and each server that a test starts would compile everything anew.
test proof nightly: export PYTHONDONTWRITEBYTECODE =

.PHONY: serve test proof nightly check demo bench coverage tmux lock clean

serve: $(READY)
	$(RUN)intermute serve $(ARGS)

# One worker for each processor; `make test ARGS='-n 0 -x tests/domain'` runs in one process.
test: $(READY) tmux
	$(RUN)python -m pytest -n auto --dist worksteal $(ARGS)

# The long run, an hour at most: what `make test` does in part, as far as it goes. It tells each test as
# it ends; a failing seed is printed with the variable that makes it happen again.
proof: $(READY) tmux
	INTERMUTE_PROOF=1 $(RUN)python -m pytest -vv -n auto --dist worksteal -o faulthandler_timeout=1800 \
	  tests/faults tests/simulation tests/hostile tests/planted tests/bench \
	  tests/properties tests/domain/test_deadlock.py $(ARGS)

# So many simulated towns with seeds of their own, a second or two of processor time each.
nightly: $(READY)
	SIMULATION_TOWNS=$(TOWNS) $(RUN)python -m pytest -vv -n auto --dist worksteal -o faulthandler_timeout=3600 \
	  tests/simulation/test_whole_app.py $(ARGS)

check: $(READY)
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)mypy

demo: $(READY)
	$(RUN)python -m bench.demo --repo "$(REPO)" --agents $(AGENTS) $(ARGS)

bench: $(READY)
	$(RUN)python -m bench $(ARGS)

coverage: $(READY) tmux
	$(RUN)coverage run -m pytest $(ARGS)
	$(RUN)coverage report --include='actors/*,intermute/domain/*,intermute/wire/*' --show-missing

# The tests of live delivery run a tmux server of their own. Where it cannot be installed from here,
# they fail and say so.
tmux:
	@command -v tmux >/dev/null || { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] \
	  && apt-get update -qq >/dev/null \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq tmux </dev/null >/dev/null; } \
	  || echo 'tmux is missing and cannot be installed from here: the tests that need it will fail' >&2

# Rewrites the pins after pyproject.toml changed; the result is committed.
lock:
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(RUN)pip install --quiet --editable '.[dev]'
	$(RUN)pip freeze --all --exclude pip --exclude-editable > constraints.txt
	touch $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIN) setuptools
	$(PIN) --no-build-isolation --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	  .fuzz .coverage htmlcov
