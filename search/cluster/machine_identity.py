"""Which machine this is: the facts that decide the last bits of a score, and facts for people.

Neither the processor's name nor the build's flags decide whether two machines give the same bits.
Scores of fixed networks do: machines with equal scores form a class.
"""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from random import Random

from vkdnw.search.cluster.interface import Greeting
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.tasks import Scored, Task

PROBES = 2
"""Networks that are scored when a machine joins."""
PROBE_SEED = 0
PROBE_VALUES = ("vkdnw",)


def fingerprint() -> dict[str, str]:
    """Versions, build and hardware of this machine."""
    import torch

    from vkdnw.ops import library

    loaded = library.fastest() if library.obstacle() is None else None
    return {
        "host": platform.node(),
        "vkdnw": version("vkdnw"),
        "native library": f"{loaded.name} {_digest(loaded)}" if loaded else "none: plain torch",
        "native flags": " ".join(library.read_facts().cpu_features) if loaded else "none",
        "torch": str(torch.__version__),  # its own type would load torch where it is read
        "ATen capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "GPU": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "CUDA": str(torch.version.cuda),
        "Python": platform.python_version(),
    }


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.exists() else "none"


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def probes(space: SearchSpace) -> list[Task]:
    """The same tasks for every session of a run, whatever values it asks for."""
    random = Random(PROBE_SEED)
    networks = [space.canonical(space.sample(random)) for _ in range(PROBES)]
    return [Task(network, PROBE_SEED, PROBE_VALUES) for network in dict.fromkeys(networks)]


def hexadecimal(result: Scored) -> str:
    """Every value of a result to the last bit."""
    return " ".join(f"{name}={value.hex()}" for name, value in sorted(result.values.items()))


def class_of(probe: Sequence[str]) -> str:
    """The name of the class of machines that give these values."""
    return hashlib.sha256("\n".join(probe).encode()).hexdigest()[:12]


def difference(theirs: Greeting, fingerprint_of_class: Mapping[str, object]) -> str:
    """Why a machine of another class is not used, in words."""
    unlike = [
        f"{name} {theirs.fingerprint.get(name)} instead of {value}"
        for name, value in fingerprint_of_class.items()
        if name != "host" and theirs.fingerprint.get(name) != value
    ]
    return (
        "its scores differ from the run's in the last bits "
        f"({'; '.join(unlike) or 'no version or hardware that is known differs'}); --mixed takes "
        "machines of several classes into one run, and every table then says so"
    )
