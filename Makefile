# The two commands:
#     make demo    the main job, on simulated recordings (ARGS="--data FOLDER": on yours)
#     make test    the whole test suite, examples and README included
# Both make the virtual environment they need, once, with the tested versions. Beside:
#     make test-oldest    the same with the oldest versions that are allowed
#     make test-gpu       what a GPU must give, on a machine that has one
#     make lint           the style of the code, and its types

PYTHON ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
ARGS ?=

BIN = $(VENV)/bin
PYTEST = SCIPY_ARRAY_API=1 MPLBACKEND=Agg OMP_NUM_THREADS=1 $(1)/bin/python -m pytest
INSTALL = $(1)/bin/python -m pip install --disable-pip-version-check

.NOTPARALLEL:
.PHONY: demo test test-oldest test-gpu lint clean

demo: $(VENV)/.with-plot
	$(BIN)/python -m sk_cpep demo $(ARGS)

test: $(VENV)/.with-test
	$(call PYTEST,$(VENV)) -n auto $(ARGS)

test-oldest: $(OLDEST)/.with-test
	$(call PYTEST,$(OLDEST)) -n auto $(ARGS)

test-gpu: $(VENV)/.with-test
	$(call PYTEST,$(VENV)) tests/gpu $(ARGS)

lint: $(VENV)/.with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(OLDEST)

# The package itself is installed in place, with one of its extras.
$(VENV)/.with-%: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call INSTALL,$(VENV)) -c constraints.txt -e '.[$*]'
	@touch $@

$(OLDEST)/.with-test: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(call INSTALL,$(OLDEST)) -c constraints-oldest.txt -e '.[test]'
	@touch $@
