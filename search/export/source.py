"""A network as a Python file of its own, which needs torch and nothing else.

The network is traced, so that the file holds its operations and not how this package builds it: its
layers by name, and the chains in which they follow each other. Names are kept: a state dict of the
network fits the file's, and the other way round.
"""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from vkdnw.search.export.formats import ExportError

_INFIX: dict[Callable[..., Any], str] = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    torch.add: "+",
    torch.mul: "*",
}


_SIDES = ("kernel_size", "stride", "padding", "dilation")
"""Arguments that a layer keeps as tuples and takes as one number."""


def source(model: nn.Module, title: str) -> str:
    """The text of a module that defines `Network`, with the layers and the computation of `model`.

    Raises ExportError where the network's computation depends on its data, or where a layer or an
    operation cannot be written; the message names it.
    """
    try:
        graph = fx.GraphModule(model, fx.Tracer().trace(model)).graph
    except fx.proxy.TraceError as error:
        raise ExportError(
            f"the network cannot be written as source, because tracing it fails ({error}); "
            "choose another --format"
        ) from error
    graph.eliminate_dead_code()
    modules = dict(model.named_modules())
    used = dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module")
    layers = [f'    "{name}": lambda: {construction(name, modules[name])},' for name in used]
    forward = [f"        {line}" for line in _forward(graph)]
    imports = ["import torch"] * any("torch." in line for line in forward)
    imports.append("from torch import Tensor, nn")
    return _TEMPLATE.format(
        title=title.replace("\\", "\\\\").replace('"""', "'''"),
        imports="\n".join(imports),
        layers="\n".join(layers),
        argument=next(str(node.target) for node in graph.nodes if node.op == "placeholder"),
        forward="\n".join(forward),
    )


def construction(name: str, layer: nn.Module) -> str:
    """The call that makes a layer of torch.nn anew, arguments at their defaults left out."""
    kind = type(layer)
    if getattr(nn, kind.__name__, None) is not kind:
        raise ExportError(f"layer {name} is a {kind.__name__}, which is not a layer of torch.nn")
    arguments = []
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.name in (
            "device",
            "dtype",
        ):
            continue
        value = getattr(layer, parameter.name, parameter.default)
        if parameter.name == "bias":
            value = isinstance(value, Tensor)
        if parameter.name in _SIDES and isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]
        if value is parameter.empty or not _is_plain(value):
            raise ExportError(f"layer {name}: {parameter.name} of {layer} cannot be written")
        if parameter.default is parameter.empty or value != parameter.default:
            arguments.append(f"{parameter.name}={value!r}")
    return f"nn.{kind.__name__}({', '.join(arguments)})"


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _forward(graph: fx.Graph) -> list[str]:
    """The statements of the computation: one for each chain of layers, one for each operation."""
    lines: list[str] = []
    values: dict[fx.Node, str] = {}
    for node in graph.nodes:
        if node in values:
            continue
        if node.op == "placeholder":
            values[node] = str(node.target)
        elif node.op == "output":
            lines.append(f"return {_written(node.args[0], values)}")
        elif node.op == "call_module":
            chain = _chain(node)
            name = f"x{len(lines)}"
            argument = _written(node.args[0], values)
            if chain[0].kwargs or len(chain[0].args) != 1:
                raise ExportError(f"layer {node.target} is called with more than one argument")
            targets = ", ".join(f'"{link.target}"' for link in chain)
            lines.append(f"{name} = self.chain({argument}, {targets})")
            values |= dict.fromkeys(chain, name)
        else:
            name = f"x{len(lines)}"
            lines.append(f"{name} = {_operation(node, values)}")
            values[node] = name
    return lines


def _chain(node: fx.Node) -> list[fx.Node]:
    """The layers that follow each other from `node` on, where nothing else reads the values
    between."""
    chain = [node]
    while len(chain[-1].users) == 1:
        (user,) = chain[-1].users
        if user.op != "call_module" or user.args != (chain[-1],):
            break
        chain.append(user)
    return chain


def _operation(node: fx.Node, values: dict[fx.Node, str]) -> str:
    arguments = [_written(argument, values) for argument in node.args]
    keywords = [f"{name}={_written(value, values)}" for name, value in node.kwargs.items()]
    if node.op == "call_method":
        return f"{arguments[0]}.{node.target}({', '.join([*arguments[1:], *keywords])})"
    if node.op == "call_function" and callable(node.target):
        if node.target in _INFIX and len(arguments) == 2 and not keywords:
            return f"{arguments[0]} {_INFIX[node.target]} {arguments[1]}"
        name = getattr(node.target, "__name__", "")
        if getattr(torch, name, None) is node.target:
            return f"torch.{name}({', '.join([*arguments, *keywords])})"
    raise ExportError(f"the operation {node.format_node()} cannot be written as source")


def _written(value: object, values: dict[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return values[value]
    if isinstance(value, tuple | list):
        inside = ", ".join(_written(item, values) for item in value)
        return f"({inside},)" if isinstance(value, tuple) else f"[{inside}]"
    if not _is_plain(value):
        raise ExportError(f"the constant {value!r} cannot be written as source")
    return repr(value)


_TEMPLATE = '''"""{title}

Needs torch alone. `Network()` has torch's default weights; load others with `load_state_dict`.
"""

{imports}

LAYERS = {{
{layers}
}}


class Network(nn.Module):
    """Images [B, 3, H, W] to logits."""

    def __init__(self) -> None:
        super().__init__()
        for name, make in LAYERS.items():
            self.place(name, make())

    def place(self, name: str, layer: nn.Module) -> None:
        *path, last = name.split(".")
        parent = self
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.add_module(last, layer)

    def chain(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x

    def forward(self, {argument}: Tensor) -> Tensor:
{forward}
'''
