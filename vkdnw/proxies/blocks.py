"""Where a model is cut into blocks, by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn


def blocks(model: nn.Module) -> tuple[str, ...]:
    """The names of a model's blocks, in the order of its modules.

    The first rule that finds two or more decides:

    1. the members with submodules of every Sequential and ModuleList in which at least one member
       has submodules that hold parameters; such a list inside a block takes its place;
    2. the outermost siblings of one class whose submodules hold parameters (the stages of models
       that keep their blocks as attributes);
    3. the members with weights of the longest Sequential.

    Raises ValueError where none does.
    """
    for rule in (_members_of_lists, _siblings_of_one_class, _layers_of_longest_sequential):
        found = rule(model)
        if len(found) > 1:
            return found
    raise ValueError(
        f"no blocks were found in {type(model).__name__}: it has no Sequential or ModuleList "
        "with two members that hold parameters; name the modules with features="
    )


def _members_of_lists(model: nn.Module) -> tuple[str, ...]:
    return tuple(_members(model, ""))


def _members(module: nn.Module, prefix: str) -> Iterator[str]:
    children = dict(module.named_children())
    listed = isinstance(module, nn.Sequential | nn.ModuleList)
    listed = listed and any(_is_composite(child) for child in children.values())
    for name, child in children.items():
        path = f"{prefix}{name}"
        inner = list(_members(child, f"{path}."))
        if inner:
            yield from inner
        elif listed and next(child.children(), None) is not None:
            yield path


def _is_composite(module: nn.Module) -> bool:
    """Whether modules inside this one hold parameters."""
    return any(next(child.parameters(), None) is not None for child in module.children())


def _siblings_of_one_class(model: nn.Module) -> tuple[str, ...]:
    for prefix, module in model.named_modules():
        composite = {
            name: type(child) for name, child in module.named_children() if _is_composite(child)
        }
        kind, count = Counter(composite.values()).most_common(1)[0] if composite else (None, 0)
        if count > 1:
            return tuple(_join(prefix, name) for name in composite if composite[name] is kind)
    return ()


def _layers_of_longest_sequential(model: nn.Module) -> tuple[str, ...]:
    candidates = [
        tuple(
            _join(prefix, name)
            for name, child in module.named_children()
            if any(parameter.dim() > 1 for parameter in child.parameters())
        )
        for prefix, module in model.named_modules()
        if isinstance(module, nn.Sequential)
    ]
    return max(candidates, key=len, default=())


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
