# Result Aggregator Service: everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
EMULATOR_VENV := .venv-emulator
AUDIT_VENV := .venv-audit
LOCALSTACK_VENV := .venv-localstack
MUTATION_VENV := .venv-mutation
BIN := $(VENV)/bin
UV := $(BIN)/uv
CDK := node_modules/.bin/cdk
SETUP := $(VENV)/.stamp-dev $(EMULATOR_VENV)/.stamp node_modules/.stamp

# jsii warns in a box about Node releases past their end of life (the value lists them); the stack runs on Node 20.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 18,20

# LocalStack and Apache Kafka in Docker. The file says that they were started from here: only then is Docker asked.
COMPOSE := docker compose --file localstack/docker-compose.yml
CONTAINERS := .local/containers
# The functions' containers first: LocalStack takes its time for them, and without them the network can go.
CONTAINERS_DOWN := if [ -e $(CONTAINERS) ]; then \
	docker ps --all --quiet --filter network=result-aggregator_default --filter name=-lambda- | xargs -r docker rm --force > /dev/null; \
	$(COMPOSE) down --volumes --remove-orphans && rm -f $(CONTAINERS); fi
# However what follows fails, by Ctrl-C or a closed terminal too, they are stopped. A signal that ends the shell would leave 0 in
# `$?`, so it is told by a code, once the command has ended that the shell waits for.
CONTAINERS_UP := set -e; docker compose version > /dev/null 2>&1 || { echo "LocalStack and Kafka in containers need Docker with its compose plugin"; exit 1; }; docker ps --quiet > /dev/null; trap 'exit 143' HUP INT TERM; trap 'code=$$?; trap "" HUP INT TERM; [ $$code = 0 ] || { $(CONTAINERS_DOWN); }; exit $$code' EXIT; \
	mkdir -p $(dir $(CONTAINERS)); touch $(CONTAINERS); $(COMPOSE) up --detach --wait
ON_CONTAINERS := RAS_EMULATOR=http://127.0.0.1:$(or $(RAS_EMULATOR_PORT),4566) RAS_BROKER=127.0.0.1:$(or $(RAS_KAFKA_PORT),9092)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: demo
demo: $(SETUP) ## run the whole service on this machine with sample events, query it, stop it (OPEN=1: look at it first)
	@$(BIN)/ras demo $(if $(OPEN),--open)

.PHONY: up
up: $(SETUP) ## start the stack on this machine; writes .local/stack.json (BACKEND=localstack: on LocalStack and Kafka in Docker)
ifeq ($(BACKEND),localstack)
	@# Where the signal reached the shell alone, the stack has come up by the time that it is heard.
	@$(CONTAINERS_UP); trap '$(BIN)/ras down; exit 143' HUP INT TERM; $(ON_CONTAINERS) $(BIN)/ras up
else ifeq ($(BACKEND),)
	@$(BIN)/ras up
else
	$(error BACKEND=$(BACKEND) is unknown: leave it out, or say localstack)
endif

.PHONY: down
down: $(SETUP) ## stop what `make up` started, containers too
	@$(BIN)/ras down
	@$(CONTAINERS_DOWN)

.PHONY: dashboard
dashboard: $(SETUP) ## show batches, ingest health and dead letters in the browser (STAGE=dev: of a stage in AWS)
	@$(BIN)/ras dashboard --open $(if $(STAGE),--stage $(STAGE))

.PHONY: screenshots
screenshots: $(SETUP) ## take the README's pictures of the dashboard again (needs Chromium)
	CI=true $(BIN)/pytest tests/dashboard/test_browser.py -k screenshots
	cp $(addprefix .build/dashboard/,batch-light.png ingest-dark.png letter-light.png batch-phone.png) docs/images/

.PHONY: check
check: $(SETUP) ## what to run before each commit (a minute): lint, types but for the stacks, and the tests that need no server
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(MAKE) --no-print-directory --keep-going --jobs=2 check-types check-tests

# Types of what builds on the CDK take a minute by themselves where mypy has no cache yet: `make lint` checks them.
.PHONY: check-types
check-types: $(SETUP)
	@$(BIN)/mypy $(QUICK_TYPES)

.PHONY: check-tests
check-tests: $(SETUP)
	@$(BIN)/pytest -q -m quick --numprocesses=2 $(QUICK_TESTS)

QUICK_TESTS := $(addprefix tests/,bad_input client contract fuzz handlers local ops store unit)
QUICK_TYPES := benchmarks functions layers/client layers/shared/python localstack ops $(QUICK_TESTS) \
  $(addprefix tests/,chaos convergence dashboard integration)

# A group of tests stays in one worker, with the servers that it needs. Three for two cores: the tests wait for a third of their time.
WORKERS := --numprocesses=3

.PHONY: test
test: $(SETUP) localstack-free fetch-servers ## run everything that guards a change (a quarter of an hour on two cores)
	$(BIN)/pytest $(WORKERS) $(ARGS)

.PHONY: test-long
test-long: $(SETUP) localstack-free fetch-servers ## run the large numbers and every combination of backends (7 minutes); nightly
	$(BIN)/pytest $(WORKERS) -m long
	$(BIN)/python -m benchmarks.scale --events 100000

# Before the tests, which would otherwise be timed while one of them builds a server. What cannot be had is theirs to report.
.PHONY: fetch-servers
fetch-servers: $(SETUP)
	-@$(BIN)/python -m ras_local.servers.fetch

.PHONY: test-localstack
test-localstack: $(SETUP) ## run the end-to-end tests on LocalStack and Apache Kafka in Docker, which are stopped again
	@test ! -e $(CONTAINERS) || { echo "LocalStack runs already: make down"; exit 1; }
	@$(CONTAINERS_UP); $(ON_CONTAINERS) $(BIN)/pytest tests/e2e $(ARGS); $(CONTAINERS_DOWN)

.PHONY: soak
soak: $(SETUP) ## generate histories for FOR=600 seconds and hold every answer against the fold
	$(BIN)/python -m tests.convergence soak --seconds $(or $(FOR),600)

.PHONY: history
history: $(SETUP) ## run a history that a failing test wrote (FILE=…)
	$(BIN)/python -m tests.convergence run $(FILE)

.PHONY: fuzz
fuzz: $(SETUP) ## look for records that break the decoder for FOR=600 seconds, or read one again that did (FILE=…)
	$(BIN)/python -m tests.fuzz $(if $(FILE),run $(FILE),for $(or $(FOR),600))

.PHONY: mutation
mutation: $(SETUP) $(MUTATION_VENV)/.stamp ## change the service's code in SAMPLE=400 places drawn by SEED=1 and see which changes no test notices (docs/mutation.md; ARGS="--help")
	@PYTHONPATH=localstack:ops $(MUTATION_VENV)/bin/python -m tests.mutation --sample $(or $(SAMPLE),400) --seed $(or $(SEED),1) $(ARGS)

.PHONY: load
load: $(SETUP) ## drive the local API at rising concurrency, then overload it (ARGS="--help")
	$(BIN)/python -m benchmarks.load $(ARGS)

# Cost computes with what the others measured, so it comes last.
BENCHMARKS := ingest query units cold-start listing flood cost
.PHONY: bench
bench: $(SETUP) ## run every benchmark, one after the other (6 minutes); `python -m benchmarks.render_docs` puts them into docs/
	@missed=; for name in $(BENCHMARKS); do echo "== $$name"; $(MAKE) --no-print-directory bench-$$name || missed="$$missed $$name"; done; \
	  test -z "$$missed" || { echo "failed, or over a budget:$$missed"; exit 1; }

.PHONY: bench-ingest
bench-ingest: $(SETUP) ## measure ingest beside two baselines (ARGS="--help")
	$(BIN)/python -m benchmarks.ingest $(ARGS)

.PHONY: bench-query
bench-query: $(SETUP) ## measure status answers beside two baselines, and through the local API
	$(BIN)/python -m benchmarks.query $(ARGS)

.PHONY: bench-units
bench-units: $(SETUP) ## count calls and request units per event and per query
	$(BIN)/python -m benchmarks.request_units $(ARGS)

.PHONY: bench-cold-start
bench-cold-start: $(SETUP) ## measure each handler's imports and a first dead letter as deployed, with byte code and without
	$(BIN)/python -m benchmarks.cold_start $(ARGS)

.PHONY: bench-listing
bench-listing: $(SETUP) ## measure the listing of users with few and very many batches
	$(BIN)/python -m benchmarks.listing $(ARGS)

.PHONY: bench-flood
bench-flood: $(SETUP) ## measure a flood of poison beside good records
	$(BIN)/python -m benchmarks.poison_flood

.PHONY: bench-cost
bench-cost: $(SETUP) ## dollars per million results and queries, from what was measured last
	$(BIN)/python -m benchmarks.cost $(ARGS)

.PHONY: scale
scale: $(SETUP) ## bring EVENTS=1000000 through the local stack and watch memory and throughput
	$(BIN)/python -m benchmarks.scale --events $(or $(EVENTS),1000000) $(ARGS)

.PHONY: lint
lint: $(SETUP) ## check format, lint rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Every one is asked about before any of them fails; no answer is a failure too.
LOCKS = $(wildcard layers/*/requirements.txt requirements/*.txt)
.PHONY: audit
audit: $(AUDIT_VENV)/.stamp ## ask OSV and npm's registry for published advisories about the Python and npm pins (needs a network)
	@failed=; for lock in $(LOCKS); do echo "== $$lock"; \
	  $(AUDIT_VENV)/bin/pip-audit --vulnerability-service osv $(AUDIT_OPTIONS) --disable-pip --progress-spinner off --requirement $$lock \
	    || failed="$$failed $$lock"; done; \
	  echo "== package-lock.json"; npm audit --package-lock-only || failed="$$failed package-lock.json"; \
	  test -z "$$failed" || { echo "a published advisory, or no answer:$$failed"; exit 1; }

.PHONY: format
format: $(SETUP) ## rewrite files in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(SETUP) ## make a page of docs/openapi.yaml: .build/api.html
	@$(BIN)/python docs/page.py

# Where it only matters which stacks there are, and staging and prod have to say some cluster.
ANY_CLUSTER = $(or $(ARGS),$(if $(filter staging prod,$(STAGE)),-c new_cluster=serverless))

# Where nothing is uploaded, it may be missing. What ARGS says comes later, and counts.
ANY_BYTE_CODE = -c byte_code=optional

# Said in one place, so that nothing is deployed, or destroyed, of another stage than the one that is read first.
ONE_STAGE = -c stage=$(if $(filter stage=% "stage=% 'stage=% --context=stage=%,$(ARGS)),$(error say the stage by STAGE alone, not in ARGS),$(or $(STAGE),$(UNLESS_SAID),$(error say which STAGE)))

.PHONY: synth
synth: UNLESS_SAID = dev
synth: $(SETUP) ## synthesise the CDK stacks (STAGE=dev, ARGS="-c <setting>=<value>", no credentials needed; staging and prod without ARGS: new_cluster=serverless)
	$(CDK) synth --quiet $(ONE_STAGE) $(ANY_BYTE_CODE) $(ANY_CLUSTER)

.PHONY: diff
diff: $(SETUP) ## say what a deployment would change in AWS, by reading its templates (STAGE, ARGS)
	$(CDK) diff --method=template $(ONE_STAGE) $(ARGS)

.PHONY: deploy
deploy: $(SETUP) ## deploy a stage to AWS (STAGE, ARGS)
	$(CDK) deploy --all $(ONE_STAGE) $(ARGS)

# One that others need takes them along: the command line lists what it would destroy, and asks.
.PHONY: destroy
destroy: $(SETUP) ## destroy a stage's stack in AWS, or all of them (STAGE, STACK=operations or STACK=all, ARGS)
	$(CDK) destroy $(if $(STACK),$(if $(filter all,$(STACK)),--all,ras-$(STAGE)-$(STACK)),$(error say which STACK, or STACK=all)) \
	  $(ONE_STAGE) $(ANY_BYTE_CODE) $(ANY_CLUSTER)

.PHONY: setup
setup: $(SETUP) ## install everything, start nothing

.PHONY: lock
lock: $(VENV)/.stamp-uv ## resolve the pinned requirements again
	for name in requirements/bootstrap layers/dependencies/requirements layers/client/requirements requirements/emulator requirements/localstack requirements/audit requirements/runtime requirements/dev requirements/mutation; do \
	  extra=; [ $$name = requirements/dev ] && extra="-c layers/dependencies/requirements.txt -c layers/client/requirements.txt"; \
	  [ $$name = requirements/mutation ] && extra="-c requirements/dev.txt"; \
	  $(UV) pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    $$extra $$name.in -o $$name.txt; \
	done

.PHONY: localstack-free
localstack-free: $(LOCALSTACK_VENV)/.stamp ## install LocalStack's free edition from PyPI, which `make test` does by itself

.PHONY: servers
servers: $(SETUP) ## fetch Apache Kafka and build dynoxide, which the tests do by themselves (needs a JDK, Maven and Rust)
	@$(BIN)/python -m ras_local.servers.fetch

.PHONY: lock-servers
lock-servers: $(SETUP) ## write the hashes of the servers' jars again, after a change of their pom.xml
	@$(BIN)/python -m ras_local.servers.fetch --lock

.PHONY: clean
clean: ## remove everything that can be made again
	@if [ -x $(BIN)/ras ]; then $(BIN)/ras down; fi
	@$(CONTAINERS_DOWN)
	rm -rf $(VENV) $(EMULATOR_VENV) $(AUDIT_VENV) $(LOCALSTACK_VENV) $(MUTATION_VENV) node_modules .build .local cdk.out .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.stamp-uv: requirements/bootstrap.txt
	@echo "setup: Python environment"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found %s" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-uv requirements/dev.txt pyproject.toml layers/client/pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . --editable layers/client
	@touch $@

$(EMULATOR_VENV)/.stamp: $(VENV)/.stamp-uv requirements/emulator.txt
	@echo "setup: AWS emulator"
	@$(PYTHON) -m venv --without-pip $(EMULATOR_VENV)
	@$(UV) pip install --quiet --python $(EMULATOR_VENV)/bin/python --require-hashes -r requirements/emulator.txt
	@touch $@

$(LOCALSTACK_VENV)/.stamp: $(VENV)/.stamp-uv requirements/localstack.txt
	@echo "setup: LocalStack"
	@$(PYTHON) -m venv --without-pip $(LOCALSTACK_VENV)
	@$(UV) pip install --quiet --python $(LOCALSTACK_VENV)/bin/python --require-hashes -r requirements/localstack.txt
	@touch $@

$(MUTATION_VENV)/.stamp: $(VENV)/.stamp-uv requirements/mutation.txt
	@echo "setup: mutation testing"
	@$(PYTHON) -m venv --without-pip $(MUTATION_VENV)
	@$(UV) pip install --quiet --python $(MUTATION_VENV)/bin/python --require-hashes -r requirements/mutation.txt
	@touch $@

$(AUDIT_VENV)/.stamp: $(VENV)/.stamp-uv requirements/audit.txt
	@$(PYTHON) -m venv --without-pip $(AUDIT_VENV)
	@$(UV) pip install --quiet --python $(AUDIT_VENV)/bin/python --require-hashes -r requirements/audit.txt
	@touch $@

node_modules/.stamp: package.json package-lock.json
	@echo "setup: CDK command line"
	@npm ci --silent --no-audit --no-fund
	@touch $@
