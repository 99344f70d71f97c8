# make demo   a federation on this machine: a real Kafka broker, one server, ten clients
# make test   every test, real brokers included
# make stress the same federation over Kafka and over gRPC, measured in a short form: report and plots
# Needs Python 3.11 or newer and nothing else. Everything goes into .venv, hash-checked from requirements.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin/python
READY := $(VENV)/.ready
# Tests wait as much as they compute: more of them at a time than cores.
WORKERS ?= 3
TIMES ?= 3

# Tests and measurements start hundreds of processes: none compiles again what another has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fuzz faults stress lint audit format lock environment clean

demo: $(READY)
	$(BIN) -m fdstream demo $(DEMO)

test: $(READY)
	-$(BIN) -m kafka_cluster.make_archive
	$(BIN) -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

# TIMES runs of every case of the fault matrix, with random timing; the first line that it prints names the seed.
faults: $(READY)
	$(BIN) -m tests.faults --times $(TIMES) --labs $(WORKERS) $(if $(SEED),--seed $(SEED)) \
		--record .faults.jsonl --report results/faults.md $(FAULTS)

# A million hostile inputs for the decoders and for whole servers; prints its seed. FUZZ='--seed N' does it again.
fuzz: $(READY)
	$(BIN) -m tests.fuzz $(FUZZ)

stress: $(READY)
	$(BIN) -m fdstream stress --clients 20 --rounds 3 --repeat 1 --out results/stress $(STRESS)

lint: $(READY)
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -m mypy

# Offline: every library is pinned with its hashes. Online: none has a vulnerability that a public database knows.
audit:
	@$(PYTHON) -c 'import re, sys; text = open("requirements.lock").read().replace("\\\n", " "); lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]; bad = [line for line in lines if not re.match(r"[\w.\[\]-]+==\S+.*--hash=sha256:", line)]; sys.exit("not pinned with a hash: " + "; ".join(bad) if bad else 0)'
	@echo "every library in requirements.lock is pinned with its hashes"
	@test -x .venv-audit/bin/pip-audit || { $(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit; } || \
		{ echo "pip-audit cannot be installed: nobody was asked about known vulnerabilities"; exit 1; }
	@.venv-audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off || \
		{ echo "either a library above is vulnerable, or the database could not be reached and nobody was asked: see the last lines"; exit 1; }

format: $(READY)
	$(BIN) -m ruff check --fix .
	$(BIN) -m ruff format .

environment: $(READY)

# The stamp is written last, so that an interrupted installation is done again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fdstream needs Python 3.11 or newer, and $(PYTHON) is %d.%d: run make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	@echo "making the environment in $(VENV), once: this downloads much and takes a minute or more"
	$(PYTHON) -m venv $(VENV)
	$(BIN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Needs uv. Pins what pyproject.toml asks for, for every platform and Python at once.
lock:
	uv pip compile -q pyproject.toml --all-extras --group dev --universal --generate-hashes \
		--no-annotate --no-header --python-version 3.11 -o requirements.lock

clean:
	rm -rf $(VENV) .venv-audit .pytest_cache .mypy_cache .ruff_cache .hypothesis
