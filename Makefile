# `make` alone prints this help. Every long step says what it does before it does it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STITCH := $(BIN)/stitch
UV_VERSION := 0.13.9
# Debian has nginx and chroot, which tests run, where an ordinary user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/sbin
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
# uv has certificates of its own, but a company's are in the machine's store (with none at all, uv would stop).
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/* /etc/pki/tls/certs/* /System/Library/Keychains),true,false)
# Without its compiled files each of the many processes would compile all that it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## print this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

.PHONY: setup
setup: $(VENV)/.ready ## install everything into .venv and .cache (run by every other target)

$(VENV)/.ready: requirements.lock requirements-java.lock stitch/jars/jars.lock pyproject.toml setup.sh
	@PYTHON="$(PYTHON)" UV_VERSION="$(UV_VERSION)" ./setup.sh
	@touch $@

# Jars that were removed are fetched by the next set-up.
JARS := $(or $(STITCH_CACHE),.cache)/jars
ifneq (4,$(words $(wildcard $(patsubst %,$(JARS)/%/complete.txt,kafka cassandra spark web))))
.PHONY: $(VENV)/.ready
endif

.PHONY: lock
lock: setup ## resolve the dependencies into requirements.lock and jars.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-annotate --no-header -p 3.11 \
	  -o requirements.lock
	$(BIN)/uv pip compile tests/deploy/requirements.in --generate-hashes --no-annotate --no-header -p 3.11 \
	  -o tests/deploy/requirements.lock
	$(BIN)/python -m stitch.jars.lock

.PHONY: run
run: setup ## count the flights of 2013 through every part, on the local Kafka and Cassandra
	@$(STITCH) --config conf/flights.toml local flights

RATE ?= 50
.PHONY: demo
demo: setup ## an endless synthetic music service; RATE=50 events per second
	@STITCH_STREAMING__INGEST_WINDOW=1m $(STITCH) local music --rate $(RATE)

.PHONY: down
down: setup ## stop the jobs, the reader, Kafka and Cassandra; the data stays
	@$(STITCH) --config conf/flights.toml local down

.PHONY: reset
reset: setup ## stop all and remove its data
	@$(STITCH) --config conf/flights.toml local reset

.PHONY: test
test: setup ## unit, spark, integration, e2e and a part of the faults (starts a stack of its own, on free ports)
	@tests/debian.sh
	@$(MAKE) --no-print-directory --keep-going --jobs=2 test-services test-alone

# The two halves of `make test`, at once: what waits for Kafka and Cassandra, and what needs neither.
.PHONY: test-services test-alone
test-services:
	$(BIN)/pytest tests/integration tests/e2e tests/faults -m "not slow and not thorough" --durations=20

test-alone:
	STITCH_EXAMPLES=$${STITCH_EXAMPLES:-30} $(BIN)/pytest tests/unit tests/serving tests/deploy tests/spark tests/pages \
	  -m "not slow and not thorough" --durations=20

.PHONY: thorough
thorough: setup ## what CI runs beside `make test`: properties with more examples, longer walks on real parts
	@tests/debian.sh
	STITCH_EXAMPLES=$${STITCH_EXAMPLES:-200} $(BIN)/pytest tests/unit tests/serving -q --numprocesses auto
	$(BIN)/pytest tests/integration tests/e2e tests/faults -m "thorough and not slow" --durations=20

.PHONY: unit
unit: setup ## pure logic, in seconds
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync unit-models unit-others

# Two processes that each collect their own tests: xdist's workers would each collect all, a third of the time.
MODELS := $(addprefix tests/unit/test_,histories.py exactness.py lists_of_members.py trying.py arrow.py periods.py)
.PHONY: unit-models unit-others
unit-models:
	STITCH_EXAMPLES=$${STITCH_EXAMPLES:-30} $(BIN)/pytest $(MODELS) -q

unit-others:
	STITCH_EXAMPLES=$${STITCH_EXAMPLES:-30} $(BIN)/pytest tests/unit $(MODELS:%=--ignore=%) -q

.PHONY: serving
serving: setup ## the reader's answers, over layers in memory
	STITCH_EXAMPLES=$${STITCH_EXAMPLES:-30} $(BIN)/pytest tests/serving -q --numprocesses auto

.PHONY: spark
spark: setup ## the frames, in a local Spark session
	$(BIN)/pytest tests/spark -q

.PHONY: integration
integration: setup ## jobs and reader on a real Kafka and Cassandra
	@tests/debian.sh
	$(BIN)/pytest tests/integration -q

.PHONY: pages
pages: setup ## the pages in a browser, over layers in memory
	@tests/debian.sh
	$(BIN)/pytest tests/pages -q

.PHONY: e2e
e2e: setup ## from producer to HTTP
	@tests/debian.sh
	$(BIN)/pytest tests/e2e -q

.PHONY: faults
faults: setup ## every fault on real parts, and all other slow tests (minutes each); STITCH_SEED=n repeats a run
	@tests/debian.sh
	$(BIN)/pytest tests/faults tests/integration tests/e2e -m "slow or fault"

DEPLOY_TOOLS := .cache/deploy-test
$(DEPLOY_TOOLS)/.ready: tests/deploy/requirements.lock | setup
	@echo "[setup] Airflow and linters, in an environment of their own ($(DEPLOY_TOOLS))"
	@rm -rf $(DEPLOY_TOOLS) && $(BIN)/uv venv --quiet --python $(BIN)/python $(DEPLOY_TOOLS)
	@$(BIN)/uv pip install --quiet --python $(DEPLOY_TOOLS)/bin/python --compile-bytecode --require-hashes -r $<
	@touch $@

.PHONY: deploy-test
deploy-test: setup $(DEPLOY_TOOLS)/.ready ## what is in deploy/, in a real systemd and Airflow; the rest is linted
	@tests/debian.sh
	$(BIN)/pytest tests/deploy -m "slow or not slow"

.PHONY: check
check: setup ## ruff, oxlint (the scripts), mypy, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/oxlint --config .oxlintrc.json serving/static
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: setup ## let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: reference
reference: setup ## write what the documents take from the code: options, parameters of HTTP
	@$(BIN)/python -m release.reference

.PHONY: bench
bench: setup ## measure the jobs beside a plain consumer and DuckDB (bench/README.md); EVENTS=2000000
	@$(BIN)/python -m bench.bench --events $(or $(EVENTS),2000000)

.PHONY: bench-log
bench-log: setup ## measure what a log of many days costs (bench/README.md)
	@$(BIN)/python -m bench.log_growth

.PHONY: bench-nights
bench-nights: setup ## measure what a night of batch_totals costs after a year of days (bench/README.md); DAYS=365
	@$(BIN)/python -m bench.nights --days $(or $(DAYS),365)

.PHONY: bench-size
bench-size: setup ## measure the rows and bytes that events leave in each part (bench/README.md); EVENTS=1000000
	@$(BIN)/python -m bench.size --events $(or $(EVENTS),1000000)

.PHONY: bench-freshness
bench-freshness: setup ## measure how long an event takes to the reader's answer (bench/README.md); SECONDS=120
	@$(BIN)/python -m bench.freshness --seconds $(or $(SECONDS),120)

.PHONY: bench-start
bench-start: setup ## measure what a job without work takes (bench/README.md)
	@$(BIN)/python -m bench.start

.PHONY: bench-serving
bench-serving: setup ## measure the reader beside the raw driver doing the same reads (bench/README.md)
	@tests/debian.sh
	@$(BIN)/python -m bench.serving

.PHONY: bench-top
bench-top: setup ## measure the first ten of a key with a million members (bench/README.md); MEMBERS=1000000
	@MEMBERS=$(or $(MEMBERS),1000000) $(BIN)/python -m bench.top

.PHONY: wheel
wheel: setup ## the project as a wheel in dist/
	$(BIN)/uv build --quiet --wheel --out-dir dist .

INSTALLED := dist/installed
.PHONY: release
release: setup ## wheel, sdist, SBOM (CycloneDX) and checksums of a release in dist/
	@rm -rf dist/stitch_counts-* dist/SHA256SUMS $(INSTALLED)
	@$(BIN)/uv build --quiet --out-dir dist .
	@$(BIN)/uv venv --quiet --python $(BIN)/python $(INSTALLED)
	@$(BIN)/uv pip install --quiet --python $(INSTALLED)/bin/python -c requirements.lock -c requirements-java.lock \
	  "$$(ls dist/*.whl)[local]"
	@$(BIN)/python -m release.sbom $(INSTALLED)/bin/python \
	  > dist/$$(basename dist/*.whl -py3-none-any.whl).cdx.json
	@cd dist && sha256sum stitch_counts-* > SHA256SUMS && cat SHA256SUMS

PACKED := dist/environment
.PHONY: pack
pack: setup ## what executors of a cluster need in dist/stitch-environment.tar.gz, for --archives (docs/deploy.md)
	@rm -rf $(PACKED) && mkdir -p $(PACKED)
	@$(BIN)/uv pip freeze | grep -E '^(msgspec|pyarrow)==' > dist/environment.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target $(PACKED) -r dist/environment.txt .
	@tar -czf dist/stitch-environment.tar.gz -C $(PACKED) .
	@du -h dist/stitch-environment.tar.gz

.PHONY: pack-driver
pack-driver: setup ## what a driver in a container and its executors need in dist/stitch-driver.tar.gz (docs/deploy.md)
	@rm -rf dist/driver && mkdir -p dist/driver
	@$(BIN)/uv pip freeze --exclude-editable > dist/installed.txt
	@$(BIN)/uv pip compile --quiet --no-annotate --no-header -p 3.11 -c dist/installed.txt pyproject.toml --extra jobs \
	  | grep -vE '^(pyspark|py4j)==' > dist/driver.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target dist/driver -r dist/driver.txt .
	@tar -czf dist/stitch-driver.tar.gz -C dist/driver .
	@du -h dist/stitch-driver.tar.gz
