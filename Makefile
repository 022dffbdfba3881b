# make env    build .venv (nothing to do when it is up to date)
# make test   run the tests            make lint    style, types, layers
# make run    the whole analysis       make bench   timings
# make results  the same, with selective reporting and published pools
# make clean  caches and builds        make distclean  .venv as well
# make calibrate  simulation-based calibration of every model (resumes; about an hour on two cores)

.DEFAULT_GOAL := help
.PHONY: help env test run results lint format bench calibrate clean distclean

# Any Python from 3.8 on will do here, if it runs: tools/make_env.py finds the one for .venv.
BOOTSTRAP ?= $(shell for p in python3 python /usr/bin/python3 python3.13 python3.12 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1 && echo $$p && break; \
	done)
BIN := .venv/bin
PYTEST_ARGS ?= -n 2
OUT ?= results
CALIBRATE_ARGS ?=

export MPLBACKEND ?= Agg
ifdef NSSI_META_PYTHON
export NSSI_META_PYTHON
endif

help:
	@sed -n 's/^# //p' Makefile | head -6

env:
	@test -n "$(BOOTSTRAP)" || { echo "env: no Python 3.8 or newer on PATH to start with" >&2; exit 1; }
	@$(BOOTSTRAP) tools/make_env.py

test: env
	$(BIN)/python -m pytest $(PYTEST_ARGS)

results: env
	$(BIN)/nssi-meta run data/effects.csv --out $(OUT) --robustness

run: env
	$(BIN)/nssi-meta run data/effects.csv --out $(OUT)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: env
	@for script in benchmarks/bench_*.py; do \
		echo "== $$script"; $(BIN)/python $$script || exit 1; \
	done

calibrate: env
	$(BIN)/python tools/calibrate.py $(CALIBRATE_ARGS)

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . \( -name .venv -o -name .tools -o -name .git \) -prune -o \
		-name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .tools
