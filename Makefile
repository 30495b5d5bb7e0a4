# Everything starts here, and needs Python >= 3.11 and nothing else: `.venv` is made when it is first wanted.

PY := .venv/bin/python
READY := .venv/.ready
MINUTES := 10
PUBLISHED_SDK := .venv-stepflow-py/.ready

.PHONY: help venv demo test check bench guards soak fuzz format docs site clean

help:
	@echo 'make demo     the main job, on 20,000 rows, some of them bad'
	@echo 'make test     every check and every test, as CI does it'
	@echo 'make check    format, lint and types: what takes seconds'
	@echo 'make bench    how fast it is on this machine'
	@echo 'make guards   each guard against a fault is removed, and a test must fail'
	@echo 'make soak     simulated worlds full of faults, for MINUTES=10'
	@echo 'make fuzz     hostile bytes for everything that reads, for MINUTES=10'
	@echo 'make format   put the code into shape'
	@echo 'make docs     write what is generated in docs/reference'
	@echo 'make site     the documentation as static pages, in build/site'
	@echo 'make clean    remove .venv and all that was made'

venv: $(READY)

demo: $(READY)
	@$(PY) -m examples.flows.orders.demo

test: $(READY) $(PUBLISHED_SDK)
	@$(PY) -m tests.check

check: $(READY)
	@$(PY) -m tests.check --static

bench: $(READY)
	@$(PY) -m benchmarks

guards: $(READY)
	@$(PY) -m tests.guards

soak: $(READY)
	@$(PY) -m tests.simulation --minutes $(MINUTES)

fuzz: $(READY)
	@$(PY) -m tests.fuzz --minutes $(MINUTES)

format: $(READY)
	@.venv/bin/ruff check --fix-only --quiet . && .venv/bin/ruff format .

docs: $(READY)
	@$(PY) -m docs.generate

site: $(READY)
	@$(PY) -m docs.site

clean:
	rm -rf .venv .venv-* .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml
	@./setup-venv

# Servers of the published SDK must run unmodified. It has dependencies of its own, so it lives beside the project.
$(PUBLISHED_SDK): $(READY)
	@echo '== .venv-stepflow-py: the published SDK, to test against'
	@$(PY) -m venv .venv-stepflow-py
	@.venv-stepflow-py/bin/python -m pip install -qq --disable-pip-version-check stepflow-py==0.7.0 \
	  && touch $@ || echo 'It could not be installed; the tests that need it are skipped.'
