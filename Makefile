# Every command sets up what it needs. `make` alone lists them.
PYTHON ?= python3
PY := .venv/bin/python
# Told not to keep what it compiles, Python would compile everything anew in every process that is started here.
export PYTHONDONTWRITEBYTECODE :=
LIBS := libs/contract libs/runtime libs/provider
CLIENT := libs/client
SERVICES := services/ingestion services/projection services/training services/webhooks services/gateway services/all_in_one
PROVIDERS := services/inference/echo services/inference/rules services/inference/spacy services/inference/remote
APART := services/inference/sklearn services/inference/huggingface # run in environments of their own (WITH=…), tested in this one
PACKAGES := $(LIBS) $(CLIENT) $(SERVICES) $(PROVIDERS)
EDITABLE = $(foreach package,$(1),-e $(package))
SOURCES := libs services deploy tests

.DEFAULT_GOAL := help
.PHONY: help run torch demo servers test test-torch check golden bench bench-learning locks clean

##@ Use it

run: .state/run $(if $(WITH),.state/with-$(WITH)) ## Everything in one process on SQLite, with a sample project: WITH=<provider> gives one an environment of its own
	$(if $(WITH),PRELABEL_INFERENCE_ENVIRONMENTS='{"$(WITH)": "$(CURDIR)/.venvs/$(WITH)/bin/python"}') .venv/bin/prelabel up

torch: .state/torch ## torch and transformers for the provider huggingface, in .venvs/huggingface: 5.4 GB

demo: .state/$(if $(REAL),dev,run) ## The main job, unattended, shown: 3,000 texts, two models, a page of results, and a model that learns from corrections. REAL=1: on Kafka, every service a process; LOOP=0: nobody corrects
	$(if $(REAL),@sh deploy/local/tools.sh java mvn)
	$(PY) -m deploy.demo $(if $(REAL),--real) $(if $(filter 0,$(LOOP)),--no-loop)

servers: .state/$(if $(SECURE),dev,run) ## Apache Kafka and a MongoDB-wire server on loopback: DO=up (default), stop, wipe, logs, status; H2=1 keeps the data on disk; SECURE=1 with users, TLS and rights
	@sh deploy/local/tools.sh java mvn
	$(PY) -m deploy.local $(or $(DO),up) $(if $(H2),--h2) $(if $(SECURE),--secure)

##@ Change it

test: .state/dev ## All tests, on real servers, two files at a time: T=path picks some
	@sh deploy/local/tools.sh --or-docker java mvn
	@sh deploy/local/tools.sh chromium javac kcat node npm
	$(PY) -m pytest $(or $(T),-n 2 --dist loadfile --no-loadscope-reorder)

test-torch: .state/torch ## The transformers provider's tests on torch, in .venvs/huggingface
	.venvs/huggingface/bin/python -m pip install -q --disable-pip-version-check pytest pytest-asyncio pytest-timeout hypothesis
	OMP_NUM_THREADS=1 .venvs/huggingface/bin/python -m pytest services/inference/huggingface

check: .state/dev ## Style, types, import directions, golden files
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy libs/*/src services/*/src services/inference/*/src deploy tests
	.venv/bin/lint-imports
	$(PY) -m deploy.golden --check

golden: .state/dev ## Write the golden files anew: schemas, samples, OpenAPI, settings
	.venv/bin/ruff check --fix -q $(SOURCES)
	.venv/bin/ruff format -q $(SOURCES)
	$(PY) -m deploy.golden

bench: .state/dev ## What Prelabel does beside the models alone, in one run: QUICK=1 takes under 5 minutes, PEERS=1 measures other programs too
	@sh deploy/local/tools.sh java mvn
	$(PY) -m tests.benchmarks $(if $(QUICK),--quick) $(if $(PEERS),--peers) $(if $(ONLY),--only $(ONLY))

bench-learning: .state/dev ## How many annotations models need and what the gate lets through, over seeds: QUICK=1, ONLY="digits gate", FILE=labelled.jsonl
	$(PY) -m tests.benchmarks.learning $(if $(QUICK),--quick) $(if $(FILE),--file $(FILE)) $(if $(ONLY),--only $(ONLY))

locks: .state/venv ## Resolve the dependencies anew
	$(PY) -m pip install -q uv
	$(PY) -m deploy.locks

clean: ## Remove environments and what was built; data/ stays
	rm -rf .venv .venvs .state .servers out

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -------------------------------------------------------------------------------- environments, made once

.state/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Prelabel needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@mkdir -p .state && touch $@

.state/run: .state/venv requirements/run.lock $(wildcard $(addsuffix /pyproject.toml,$(PACKAGES)))
	@echo "setting up, once (about 30 seconds)"
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/run.lock
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation $(call EDITABLE,$(PACKAGES))
	@touch $@

.state/dev: .state/run requirements/dev.lock $(wildcard $(addsuffix /pyproject.toml,$(APART)))
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation $(call EDITABLE,$(APART) tests/rig/ledger_provider)
	@touch $@

.state/torch: .state/with-huggingface
	@echo "torch and transformers: 2.6 GB to download, 5.4 GB on disk"
	.venvs/huggingface/bin/python -m pip install -q --disable-pip-version-check $(call EDITABLE,$(LIBS)) -e 'services/inference/huggingface[torch,hub]'
	@touch $@

.state/with-%: services/inference/%/pyproject.toml
	$(PYTHON) -m venv .venvs/$*
	.venvs/$*/bin/python -m pip install -q --disable-pip-version-check $(call EDITABLE,$(LIBS) services/inference/$*)
	@mkdir -p .state && touch $@
