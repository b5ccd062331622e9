# demo: see it · test: check it · lint · lock: renew the lock files · bench: measure it against its peers
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
PROJECT := {{cookiecutter.project}}
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: demo test lint lock bench clean

demo: .demo/ready
	rm -rf demo/customer-churn
	PATH="$(CURDIR)/.demo/bin:$$PATH" .demo/bin/cookiecutter . --no-input --output-dir demo
	.demo/bin/python -m tests.summary demo/customer-churn

test: .venv/ready lint
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	cd '$(PROJECT)' && $(BIN)/mypy

lock: .venv/ready
	cd '$(PROJECT)' && $(COMPILE) --group dev pyproject.toml --output-file requirements.txt

bench: .venv/ready
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .demo demo bench

# An environment is ready when its stamp is newer than its lock.
.demo/ready: requirements-demo.txt
	$(PYTHON) -m venv .demo
	.demo/bin/python -m pip install --quiet --require-hashes --requirement requirements-demo.txt
	touch $@

.venv/ready: .demo/ready requirements-dev.txt
	.demo/bin/uv venv --quiet --clear --python $(PYTHON) .venv
	.demo/bin/uv pip sync --quiet --compile-bytecode --require-hashes --python .venv requirements-dev.txt
	touch $@
