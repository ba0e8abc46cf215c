# Two commands, each of which makes its own environment first:
#   make demo                 raw clicks to served recommendations
#   make demo CLICKS=FILE     the same on a click log of yours
#   make test                 all tests
PYTHON ?= python3
VENV ?= .venv
# pip 26 refuses merlin-dataloader's metadata.
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check -q
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup
EXTRAS := nvtabular,triton,serving,onnx,retrieval
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lint clean

demo: $(VENV)/ready
	$(BIN)/python examples/demo.py $(if $(CLICKS),--clicks "$(CLICKS)") $(DEMO_ARGS)

test: $(VENV)/ready-test lint
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) -m backends
	KERAS_BACKEND=torch $(PYTEST) -m backends

lint: $(VENV)/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/ready: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else f"keras_t4r needs Python 3.10 to 3.13; {sys.executable} is {v[0]}.{v[1]}. Name another: make PYTHON=python3.11")'
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 12) or print("NVTabular ends at Python 3.11: its parts are left out on this one; the rest runs.")'
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 13) or print("Triton'"'"'s Python backend ends at Python 3.12 (numpy 1): serving by Triton is left out on this one.")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "pip<26"
	$(PIP) install -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

$(VENV)/ready-test: $(VENV)/ready
	$(PIP) install -c constraints.txt -e ".[$(EXTRAS),test]"
	touch $@

clean:
	rm -rf $(VENV) demo
