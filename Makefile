# The two commands a fresh machine needs: `make demo` and `make test`. Both make .venv first, once.
PYTHON ?= python3
PIP := .venv/bin/pip --disable-pip-version-check --quiet
# Idle OpenMP threads sleep soon instead of spinning: on a machine with other work, spinning costs a factor of three.
export GOMP_SPINCOUNT ?= 1000
# The tests start many processes: each would compile all modules again where a machine does not keep compiled ones.
unexport PYTHONDONTWRITEBYTECODE
# How many tests run at once, each on one thread; one after the other with WORKERS=0.
WORKERS ?= 2

.PHONY: demo test lint types layers pytest docs bench clean

demo: .venv/demo.stamp
	.venv/bin/certify demo --out demo

# Everything CI runs, cheapest first.
test: lint types layers pytest

lint: .venv/test.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/test.stamp
	.venv/bin/mypy

layers: .venv/test.stamp
	.venv/bin/lint-imports

pytest: .venv/test.stamp
	OMP_NUM_THREADS=1 .venv/bin/pytest --numprocesses $(WORKERS) --dist worksteal

# The documentation site, in site/: any broken link or unknown name fails it. The variable silences an advertisement.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

bench: .venv/bench.stamp
	.venv/bin/python benchmarks/smoothing.py

clean:
	rm -rf .venv demo site .mypy_cache .ruff_cache .pytest_cache

# A stamp is newer than what it was installed from, so a second call installs nothing.
.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/%.stamp: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP) install --constraint constraints.txt --editable '.[$*]'
	touch $@
