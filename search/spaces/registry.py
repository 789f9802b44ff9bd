"""The search spaces by name; a user's own space needs no entry here."""

from importlib import import_module
from typing import Any

from vkdnw.search.spaces.search_space import SearchSpace

SPACES: dict[str, str] = {
    "nb201": "vkdnw.search.spaces.nb201.space:NB201",
    "mobilenetv2": "vkdnw.search.spaces.mobilenetv2.space:MobileNetV2",
    "nb101": "vkdnw.search.spaces.nb101.space:NB101",
    "nats_sss": "vkdnw.search.spaces.nats_sss.space:NATSSize",
    "transnas_micro": "vkdnw.search.spaces.transnas.space:TransNASMicro",
    "transnas_macro": "vkdnw.search.spaces.transnas.space:TransNASMacro",
    "nb_macro": "vkdnw.search.spaces.nb_macro.space:NBMacro",
    "mnasnet": "vkdnw.search.spaces.mnasnet.space:MnasNet",
    "autoformer_t": "vkdnw.search.spaces.autoformer.space:AutoFormerT",
    "autoformer_s": "vkdnw.search.spaces.autoformer.space:AutoFormerS",
    "autoformer_b": "vkdnw.search.spaces.autoformer.space:AutoFormerB",
    "pit": "vkdnw.search.spaces.pit.space:PiT",
}
"""Name -> "module:class". Modules are imported when a space is asked for."""


def space(name: str, **sizes: Any) -> SearchSpace:
    """The space of a name, with its published sizes except those given.

    Raises:
        ValueError: the name is unknown; the message lists those that are known.
    """
    if name not in SPACES:
        raise ValueError(f"space={name!r}: expected one of {', '.join(SPACES)}")
    module, _, attribute = SPACES[name].partition(":")
    made: SearchSpace = getattr(import_module(module), attribute)(**sizes)
    return made
