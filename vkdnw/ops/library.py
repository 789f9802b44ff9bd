"""Loads the compiled ops on first use, and explains a failure with its cause and its remedy.

`import vkdnw` never needs the library; whatever calls an op calls `load()` before. If it is
missing or for another machine, :func:`native` is false, and plain torch operations compute. They
are exact as well, but slower. One warning says so. Two environment variables decide otherwise:

    VKDNW_REQUIRE_NATIVE=1   an error instead
    VKDNW_PLAIN=1            plain torch operations although there is a library, without a warning
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import warnings
from functools import cache
from importlib import metadata
from pathlib import Path

from vkdnw.ops import build_facts
from vkdnw.ops.build_facts import BuildFacts

LIBRARY = Path(__file__).parent.parent / "_ops.so"

REQUIRE_NATIVE = "VKDNW_REQUIRE_NATIVE"
PLAIN = "VKDNW_PLAIN"

_lock = threading.Lock()
_deciding = threading.Lock()
_loaded: set[Path] = set()


class NativeLibraryError(ImportError):
    """The compiled ops cannot be used here; the message gives the cause and the remedy."""


class PlainOpsWarning(UserWarning):
    """The compiled ops cannot be used; plain torch operations compute instead, which is slower."""


def native() -> bool:
    """Whether the compiled ops compute; if not, plain torch operations do, and a warning says why.

    The decision needs no loading, so all processes of a machine decide alike. A library that fits
    and yet does not load is an error on its first use, not a reason for plain operations.

    Raises:
        NativeLibraryError: they cannot, and VKDNW_REQUIRE_NATIVE=1 is set.
    """
    with _deciding:
        return _is_native(LIBRARY, plain_is_chosen(), native_is_required())


@cache
def _is_native(library: Path, plain: bool, required: bool) -> bool:
    reason = obstacle(library)
    if reason is None:
        return True
    if required:
        raise NativeLibraryError(f"{REQUIRE_NATIVE}=1 is set, and {reason}")
    if not plain:
        warnings.warn(
            f"plain torch operations compute, exact but slower: {reason}. {REQUIRE_NATIVE}=1 makes "
            f"this an error, and {PLAIN}=1 silences it",
            PlainOpsWarning,
            stacklevel=3,
        )
    return False


def plain_is_chosen() -> bool:
    """Whether plain torch operations were requested; their use is then no fault."""
    return _is_set(PLAIN)


def native_is_required() -> bool:
    """Whether plain torch operations are an error."""
    return _is_set(REQUIRE_NATIVE)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")


def obstacle(library: Path | None = None) -> str | None:
    """Why the library cannot be used here, with the remedy; None when it can.

    Judged by its build facts and the CPU. Neither the library nor torch is loaded.
    """
    library = LIBRARY if library is None else library
    if plain_is_chosen():
        return f"{PLAIN}=1 asks for plain torch operations"
    if not library.is_file():
        return explain_missing(library)
    try:
        return mismatch(read_facts(), metadata.version("torch"))
    except NativeLibraryError as error:
        return str(error)


def load() -> None:
    """Registers the ops in `torch.ops.vkdnw`. Idempotent and thread-safe.

    Raises:
        NativeLibraryError: the library is missing, or was built for another Python, torch or CPU.
    """
    if LIBRARY in _loaded:
        return
    with _lock:
        if LIBRARY not in _loaded:
            _load(LIBRARY)
            _loaded.add(LIBRARY)


def _load(library: Path) -> None:
    """Checks the build facts before loading: a library for another CPU would end in SIGILL."""
    import torch

    problem = obstacle(library)
    if problem is not None:
        raise NativeLibraryError(problem)
    file = chosen(library, read_facts(), build_facts.running_cpu_features())
    try:
        torch.ops.load_library(file)
    except OSError as error:
        raise NativeLibraryError(
            f"{file} does not load with torch {torch.__version__}: {error}. "
            f"Build it again for this torch: {rebuild_command()}; or go on without it, which is "
            f"slower: {PLAIN}=1"
        ) from error


def fastest() -> Path:
    """The file that is loaded on this machine.

    Raises:
        NativeLibraryError: how it was built is not known.
    """
    return chosen(LIBRARY, read_facts(), build_facts.running_cpu_features())


def chosen(library: Path, facts: BuildFacts, cpu: frozenset[str] | None) -> Path:
    """The file that is loaded for `library`: a wheel for others has one more, for AVX-512.

    Args:
        library: the file for every CPU that the build is for.
        facts: how that one was built.
        cpu: instruction sets of the CPU; None where the system lists none.
    """
    wider = library.with_stem(f"{library.stem}_avx512")
    suits = cpu is not None and cpu >= build_facts.X86_64_V4
    in_a_pair = facts.native_arch == "x86-64-v3" and wider.is_file()
    return wider if in_a_pair and suits else library


def require_cuda_kernels() -> None:
    """Refuses a library that was built for the CPU alone. Plain torch operations need none.

    Raises:
        NativeLibraryError: with the decision of the build, and the command for another build.
    """
    if not native():
        return
    facts = read_facts()
    if not facts.cuda_archs:
        raise NativeLibraryError(
            f"vkdnw was built for the CPU alone ({facts.cuda_reason}). Build it with the CUDA "
            f"toolkit of torch's CUDA version: VKDNW_CUDA=ON {rebuild_command()}; or let plain "
            f"torch operations compute, which is slower: {PLAIN}=1"
        )


def read_facts() -> BuildFacts:
    """How the library was built.

    Raises:
        NativeLibraryError: the compiled module of facts is missing or for another Python.
    """
    try:
        return build_facts.read()
    except ImportError as error:
        raise NativeLibraryError(
            f"vkdnw in {LIBRARY.parent} was built for another Python or only in part ({error}). "
            f"Build it again: {rebuild_command()}"
        ) from error


def mismatch(
    facts: BuildFacts, torch_version: str, cpu: frozenset[str] | None = None
) -> str | None:
    """Why a library of these facts cannot run here, with the remedy; None when it can.

    Args:
        facts: how the library was built.
        torch_version: of the torch that is running.
        cpu: instruction sets of the CPU; by default those of this machine.
    """
    missing = build_facts.missing_cpu_features(facts, cpu)
    if missing:
        return (
            f"vkdnw was built for VKDNW_NATIVE_ARCH={facts.native_arch}, and this CPU lacks "
            f"{', '.join(missing)}. Build it on this machine, or for the oldest CPU it is to run "
            f"on: VKDNW_NATIVE_ARCH=x86-64-v3 {rebuild_command()}"
        )
    if _release(torch_version) < _release(facts.torch_target):
        return (
            f"vkdnw was built for torch >= {facts.torch_target}, and torch {torch_version} is "
            f"running: pip install 'torch>={facts.torch_target}'"
        )
    return None


def explain_missing(library: Path) -> str:
    """Why there is no compiled library beside the Python files, and the command to run."""
    if sys.platform != "linux":
        return (
            f"vkdnw has no compiled library: it is built on Linux alone, and this is {sys.platform}"
        )
    elsewhere = _installed_library()
    if elsewhere is not None and elsewhere != library:
        return (
            f"Python imports vkdnw from the source tree {library.parent}, which has no compiled "
            f"library; the installed package with it is {elsewhere.parent}. Start Python from "
            "another folder, call `pytest` rather than `python -m pytest`, or make the install "
            f"editable: {rebuild_command()}"
        )
    return f"vkdnw has no compiled library: {library} does not exist. Build it: {rebuild_command()}"


def rebuild_command() -> str:
    """The command that builds the library, from the source tree if that is imported."""
    root = LIBRARY.parent.parent
    if (root / "CMakeLists.txt").is_file():
        return f"pip install -e {shlex.quote(str(root))}"
    return "pip install --force-reinstall --no-deps SOURCE_TREE_OF_VKDNW"


def _installed_library() -> Path | None:
    """The library of a regular install of vkdnw, whatever `import vkdnw` finds first.

    A source tree that was built has metadata of its own: the first distribution may be that one.
    """
    for distribution in metadata.distributions(name="vkdnw"):
        library = Path(str(distribution.locate_file("vkdnw/_ops.so")))
        if library.is_file():
            return library.resolve()
    return None


def _release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()))
