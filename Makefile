# The two commands:
#     make demo    the main job, on simulated recordings (ARGS="--data FOLDER": on yours)
#     make test    the whole test suite, examples and README included
# Both make the virtual environment they need, once, with the tested versions.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN = $(VENV)/bin

.NOTPARALLEL:
.PHONY: demo test lint clean

demo: $(VENV)/.with-plot
	$(BIN)/python -m sk_cpep demo $(ARGS)

test: $(VENV)/.with-test
	SCIPY_ARRAY_API=1 MPLBACKEND=Agg OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(VENV)/.with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV)

# The package itself is installed in place, with one of its extras.
$(VENV)/.with-%: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check \
		-c constraints.txt -e '.[$*]'
	@touch $@
