# make demo   the whole thing on this machine: mails, training, evaluation
# make test   the tests, without those that kill, deploy or start clusters and browsers
# make test-all   all of them, as CI does
PYTHON ?= python3
VENV ?= .venv
NAME ?= demo
BIN := $(VENV)/bin
# CUDA packages that PyPI's torch names; a machine with a GPU gets them from requirements-gpu.txt.
NO_CUDA := $(shell for p in cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile \
	curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx; do \
	echo --no-emit-package nvidia-$$p; done) --no-emit-package triton \
	--no-emit-package cuda-bindings --no-emit-package cuda-pathfinder --no-emit-package cuda-toolkit

.PHONY: help demo test test-all lint bench lock check-locks clean

help:
	@sed -n 's/^# make/make/p' Makefile
	@echo 'make lint   format check, ruff, mypy, oxlint'
	@echo 'make bench  the benchmarks behind the figures in the README'
	@echo 'make lock   new requirements*.txt from the *.in files (needs uv)'
	@echo 'make check-locks   do the locks still resolve as the *.in files say?'

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)) and "Python 3.11 or 3.12 is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python run.py --pipeline all --name $(NAME)

# Two workers, each with the tests of whole files; a worker computes on one thread.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.installed-dev
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/oxlint web service/page

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.rl_step
	$(BIN)/python -m benchmarks.email_db
	$(BIN)/python -m benchmarks.kill_resume
	$(BIN)/python -m benchmarks.seeds

# Where the locks are written; check-locks writes them elsewhere and compares.
LOCKS ?= .
COMPILE = uv pip compile --quiet --python-version 3.11 --python-platform linux --no-header \
	--annotation-style line
lock:
	for name in requirements requirements-tinker; do \
		$(COMPILE) $$name.in -o $(LOCKS)/$$name.txt $(NO_CUDA) && \
		sed -i.bak '/^# The following packages were excluded/,$$d' $(LOCKS)/$$name.txt && \
		rm $(LOCKS)/$$name.txt.bak || exit 1; done
	$(COMPILE) requirements-dev.in -o $(LOCKS)/requirements-dev.txt
	$(COMPILE) requirements-gpu.in -o $(LOCKS)/requirements-gpu.txt

# A resolver dry run: metadata only, no package is downloaded. Valid pins are kept, so a difference
# means that a lock no longer resolves, or is not what its *.in file says.
check-locks: $(VENV)/.installed-dev
	rm -rf .locks && mkdir .locks && cp requirements*.txt .locks
	PATH="$(abspath $(BIN)):$$PATH" $(MAKE) --no-print-directory lock LOCKS=.locks
	for lock in .locks/*.txt; do diff -u $${lock#.locks/} $$lock || exit 1; done
	rm -rf .locks

clean:
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*
