# `make` alone prints this help. Every long step says what it does before it does it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STITCH := $(BIN)/stitch
UV_VERSION := 0.13.9
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip

.PHONY: help
help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

.PHONY: setup
setup: $(VENV)/.ready ## install everything into .venv and .cache (run by every other target)

$(VENV)/.ready: requirements.lock requirements-java.lock pyproject.toml setup.sh
	@PYTHON="$(PYTHON)" UV_VERSION="$(UV_VERSION)" ./setup.sh
	@touch $@

.PHONY: lock
lock: setup ## resolve the dependencies anew into requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-annotate --no-header -p 3.11 -o requirements.lock
