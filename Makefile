# One command each. A fresh machine needs Python 3.11+ and make; everything else goes into .venv.
#   make demo    set up, play a shipped script through a real server, write out/demo.mp4 and out/demo.png
#   make test    set up, run every test
#   make check   format, lint, types, proto lint and drift, import table

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CODE := proto model server clients/python tests benchmarks
TYPED := proto/cutscene_proto model/cutscene_model server/cutscene_server clients/python/cutscene_client benchmarks tests
PROTOS := $(wildcard proto/cutscene_proto/v1/*.proto)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test check format proto clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The stamps are younger than what they were made from, so nothing is installed twice.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another with make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.setup: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Setting up $(VENV): client and server (a few minutes the first time, PyTorch is large)"
	$(PIP) -e '.[client,server]'
	@touch $@

$(VENV)/.setup-dev: $(VENV)/.setup
	@echo "Setting up $(VENV): tests, checks and the training stage"
	$(PIP) -e '.[client,server,training,dev]'
	@touch $@

setup: $(VENV)/.setup ## client and server in .venv
setup-dev: $(VENV)/.setup-dev ## with what tests, checks and training need

demo: setup ## play a shipped script: out/demo.mp4, out/demo.png
	$(BIN)/python -m cutscene_client.demo

test: setup-dev ## every test, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup-dev ## format, lint, types, proto lint and drift, import table
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(TYPED)
	$(BIN)/buf lint
	$(BIN)/python -m pytest tests/test_proto.py tests/test_import_table.py

format: setup-dev ## put the code into shape
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

proto: setup-dev ## generate the Python code of the contract anew
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTOS)

clean: ## forget the environment and everything made
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis
