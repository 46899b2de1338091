# make demo   the embedded study, from set-up to report
# make test   set-up and every test, style and type check that needs no long run
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: demo test test-slow test-faults test-slurm check documents lock clean

$(VENV)/.ready: envs/lock.txt pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), "Python 3.11 to 3.13 is needed, this is " + sys.version'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement envs/lock.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: $(VENV)/.ready
	$(BIN)/snakemake all --cores $(CORES) --quiet rules
	@printf '\nReport   results/embedded/report.html\nFigures  results/figures/embedded/\nTables   results/embedded/summary.csv, results/statistics/embedded/\n\n'
	@fold -s -w 100 results/embedded/findings.txt

# a thread each for the two workers: more of them would wait for each other, busily
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not real and not faults and not slurm"

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -m "slow or real"

test-faults: $(VENV)/.ready
	$(BIN)/python -m pytest -m faults

# installs and starts a Slurm on this machine where it can, and ends it
test-slurm: $(VENV)/.ready
	timeout --kill-after 10 300 tests/slurm/install.sh
	timeout --signal INT --kill-after 60 900 $(BIN)/python -m pytest -m slurm tests/slurm

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

documents: $(VENV)/.ready
	$(BIN)/python -m medtransfer.documents

lock:
	envs/update.sh

clean:
	rm -rf results logs .snakemake
