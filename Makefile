# Everything a developer or an operator types. Needs python3 >= 3.11 with pip, and make; the rest goes into .venv.

PYTHON ?= python3
VENV := .venv
# -P: the checkout is not on the path, so `import server` cannot make a second copy of penstock.server.
RUN := $(VENV)/bin/python -P
READY := $(VENV)/.ready
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
SOURCES = $(shell find server storage protocol tests -name '*.py')

# Cleanup that is shielded and bounded (102, 120), async generators that cannot lose a cancel scope (119, 900),
# no endless loop without a checkpoint (913). Not 910 and 911, which want a checkpoint in every async function:
# reads and writes that need not wait are fast because they do not.
ASYNC_RULES := ASYNC102,ASYNC119,ASYNC120,ASYNC900,ASYNC913

.DEFAULT_GOAL := help
.PHONY: help setup serve test check acceptance crash fuzz soak interop bench conformance docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv; does nothing if nothing changed

$(READY): pyproject.toml constraints.txt src/penstock/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Penstock needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3 setup" >&2; exit 1; }
	@# Debian's python3 has no ensurepip without python3-venv; its pip can still fill an environment.
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV) || \
		{ $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(VENV) install pip; }
	@echo "Installing into $(VENV) …"
	@$(PIP) install -c constraints.txt hatchling editables
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

serve: setup ## start the gateway; options: make serve ARGS="--port 9000"
	@exec $(VENV)/bin/penstock serve $(ARGS)

test: setup ## run all tests; options: make test ARGS="-k settings"
	@$(RUN) -m pytest $(ARGS)

check: setup ## style, async rules, types, import layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@echo $(VENV)/bin/flake8-async --enable=$(ASYNC_RULES) …
	@$(VENV)/bin/flake8-async --enable=$(ASYNC_RULES) $(SOURCES)
	$(VENV)/bin/mypy
	$(RUN) -m pytest -q tests/test_layers.py

# The same tests at full size: gigabytes, a thousand watchers, twenty kills, every step and every system call.
FULL_SIZE := ACCEPTANCE_SIZE=full $(RUN) -m pytest -v --override-ini faulthandler_timeout=1800 \
	--override-ini log_cli=true --log-cli-level=INFO --log-cli-format='%(message)s'
BROKEN := tests/powercut tests/storage tests/faults/test_crash.py tests/faults/test_store_faults*.py \
	tests/server/test_cut_commands.py tests/server/test_cut_connections.py \
	tests/server/uploads/test_invariants.py tests/server/uploads/test_resource_cuts.py \
	tests/acceptance/test_restart.py
# `tests` is no package that is installed.
OWN := PYTHONPATH=$(CURDIR) $(RUN)

acceptance: setup ## full-size acceptance tests: big files, pauses, cancels, a crowd; ARGS as for test
	@$(FULL_SIZE) tests/acceptance $(ARGS)

crash: setup ## full-size: power cuts, kills, faults and cancels at every step, and seeded bugs; ARGS as for test
	@$(FULL_SIZE) $(BROKEN) $(ARGS)
	@$(OWN) -m tests.mutants

fuzz: setup ## random bytes for every parser; options: make fuzz ARGS="envelope --seconds 60", or --help
	@$(OWN) -m tests.fuzz $(ARGS)

soak: setup ## half an hour of mixed uploads, kills and faults; ARGS="--minutes 5", or --help
	@$(OWN) -m tests.soak $(ARGS)

interop: setup ## full-size tests with clients that are not ours, over networks that break; ARGS as for test
	@$(FULL_SIZE) tests/interop tests/faults/test_tus_through_faults.py $(ARGS)

bench: setup ## measure us and our peers side by side; options: make bench ARGS="one:size=1GiB --rounds 9", or --help
	@$(RUN) -m bench $(ARGS)

conformance: setup ## the protocols' tests against Penstock and other servers: docs/conformance.md
	@$(OWN) -m tests.conformance.peers

docs: setup ## write what is generated: docs/settings.md, protocol/events.schema.json
	@$(RUN) -m penstock.server.presentation
	@$(RUN) -m penstock.protocol.schema > protocol/events.schema.json

clean: ## remove what can be made again; not your data directory
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
