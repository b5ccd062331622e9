# demo: see it · test: check it · docs: read about it · lint · lock: renew the lock files, and test
# bench: measure it beside its peers (ONLY=serving for one), and write docs/benchmarks.md
# pictures: renew those of the README · release: build, sign and tag one
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
PROJECT := {{cookiecutter.project}}
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--constraint .cache/constraints.txt

# What tools leave behind stays out of the template's folder, or it would be generated along with it.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/python
export RUFF_CACHE_DIR := $(CURDIR)/.cache/ruff
export MYPY_CACHE_DIR := $(CURDIR)/.cache/mypy
export HYPOTHESIS_STORAGE_DIRECTORY := $(CURDIR)/.cache/hypothesis

.PHONY: demo test docs pictures lint lock bench release clean

demo: .demo/ready
	rm -rf demo/customer-churn demo/customer-churn-storage
	PATH="$(CURDIR)/.demo/bin:$$PATH" .demo/bin/cookiecutter . --no-input --output-dir demo
	.demo/bin/python -m tests.summary demo/customer-churn

test: .venv/ready lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations=15

docs: .venv/ready
	$(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build # with --quiet it would not be strict
	@echo 'read site/index.html; with search: $(BIN)/python -m http.server --directory site'

pictures: .venv/ready
	$(BIN)/python docs/pictures.py # needs Chromium, and a few minutes

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	cd '$(PROJECT)' && $(BIN)/mypy
	$(BIN)/mypy --strict hooks/pre_gen_project.py && $(BIN)/mypy --strict hooks/post_gen_project.py

lock: .venv/ready
	mkdir -p .cache
	echo 'pytest<9.2' > .cache/constraints.txt # with 9.2, pytest-xdist 3.8 forgets its groups (its issue 1386)
	sed 's/{{[^}]*}}/"project"/' '$(PROJECT)/pyproject.toml' > .cache/pyproject.toml
	$(COMPILE) --group .cache/pyproject.toml:dev .cache/pyproject.toml --output-file '$(PROJECT)/requirements.txt'
	$(COMPILE) --group demo --output-file requirements-demo.txt
	$(COMPILE) --group dev '$(PROJECT)/requirements.txt' --output-file requirements-dev.txt
	$(MAKE) test
	git --no-pager diff --unified=0 -- '*requirements*.txt' | grep -E '^[-+][a-z0-9]' || echo 'no version has changed'

bench: .venv/ready
	$(BIN)/python -m benchmarks $(ONLY)

release: .venv/ready
	$(BIN)/python .ci/release.py dist # pushes nothing; docs/release.md says how to publish it

clean:
	rm -rf .venv .demo .cache demo bench site dist

# An environment is ready when its stamp is newer than its lock.
.demo/ready: requirements-demo.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=…")'
	$(PYTHON) -m venv --clear .demo
	@echo 'installing requirements-demo.txt'
	@.demo/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-demo.txt \
		2> .demo/pip.log || { echo 'Error: pip could not install requirements-demo.txt: see that the network' \
		'is there, and try again (what pip says is in .demo/pip.log)' >&2; exit 1; }
	touch $@

.venv/ready: .demo/ready requirements-dev.txt
	.demo/bin/uv venv --quiet --clear --python $(PYTHON) .venv
	.demo/bin/uv pip sync --quiet --compile-bytecode --require-hashes --python .venv requirements-dev.txt
	touch $@
