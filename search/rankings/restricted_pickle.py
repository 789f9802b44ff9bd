"""Reading pickles of plain data without being able to run anything.

`pickle` calls any function that a file names. This reader interprets the instructions of
NATS-Bench's files itself: numbers, strings, containers, and NumPy's scalars. It looks nothing
up, imports nothing and calls nothing, so no file can make it do more than build containers, of a
size that the file's own length bounds.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any


class RestrictedPickleError(ValueError):
    """A pickle that is damaged, or holds something other than plain data."""


_Mark = object()
_ORDERED_DICT = ("collections", "OrderedDict")
_DTYPE = ("numpy", "dtype")
_SCALARS = (("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"))
_ALLOWED = (_ORDERED_DICT, _DTYPE, *_SCALARS)
_NUMBERS = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i"}
"""NumPy's name of a type -> how `struct` reads it; NATS-Bench writes little-endian."""


class _Global(tuple[str, str]):
    """An object that a pickle names. It is never imported."""

    __slots__ = ()


class _Dtype:
    """A NumPy type of numbers, by its name."""

    def __init__(self, code: str) -> None:
        self.form = _NUMBERS[code]


def loads(data: bytes) -> Any:
    """The plain data in a pickle: dict, list, tuple, set, str, bytes, int, float, bool and None.

    `OrderedDict` comes back as dict, NumPy's scalars as int and float. Keys of dicts and members
    of sets are strings, numbers, or tuples of those.

    Raises:
        RestrictedPickleError: a ValueError that names the forbidden object, or the damage.
    """
    try:
        return _Machine(data).run()
    except RestrictedPickleError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, struct.error, OverflowError) as error:
        raise RestrictedPickleError(f"it is damaged ({type(error).__name__}: {error})") from error


class _Machine:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, handlers = self._data, _HANDLERS
        while True:
            code = data[self._place]
            self._place += 1
            if code == _STOP:
                (result,) = self._stack
                return result
            handler = handlers.get(code)
            if handler is None:
                raise RestrictedPickleError(_refused(code))
            handler(self)

    # ---- the file ----

    def take(self, count: int) -> bytes:
        begin, end = self._place, self._place + count
        if end > len(self._data):
            raise RestrictedPickleError("it is damaged (it ends early)")
        self._place = end
        return self._data[begin:end]

    def number(self, form: str) -> Any:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return value

    # ---- the stack ----

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _Mark:
            raise RestrictedPickleError("it is damaged (a mark in the wrong place)")
        return value

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (value := self._stack.pop()) is not _Mark:  # IndexError where there is none
            items.append(value)
        items.reverse()
        return items

    def top(self, kind: type) -> Any:
        value = self._stack[-1]
        if type(value) is not kind:
            raise RestrictedPickleError(f"it is damaged (no {kind.__name__} where one is filled)")
        return value

    def memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def recall(self, key: int) -> None:
        self._stack.append(self._memo[key])

    # ---- more than plain data ----

    def name(self) -> None:
        attribute, module = self.pop(), self.pop()
        if (module, attribute) not in _ALLOWED:
            raise RestrictedPickleError(
                f"it names {module}.{attribute}, which no official file does: reading it with "
                "pickle could run code"
            )
        self.push(_Global((module, attribute)))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(function) is not _Global or type(arguments) is not tuple:
            raise RestrictedPickleError("it is damaged (a call of something that is no class)")
        if function == _ORDERED_DICT and not arguments:
            self.push({})
        elif function == _DTYPE and arguments and arguments[0] in _NUMBERS:
            self.push(_Dtype(arguments[0]))
        elif function in _SCALARS and len(arguments) == 2 and type(arguments[0]) is _Dtype:
            self.push(_scalar(*arguments))
        else:
            raise RestrictedPickleError(
                f"it calls {'.'.join(function)}{arguments!r:.80}, which no official file does"
            )

    def build(self) -> None:
        state = self.pop()
        self.top(_Dtype)
        if type(state) is not tuple or len(state) < 2 or state[1] != "<":
            raise RestrictedPickleError(f"a NumPy type has the state {state!r:.80}")

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value


def _scalar(dtype: _Dtype, data: bytes) -> float | int:
    (value,) = struct.unpack(dtype.form, data)
    result: float | int = value
    return result


def _checked_key(key: Any) -> Any:
    """A key that can be hashed without recursion."""
    parts = key if type(key) is tuple else (key,)
    if all(type(part) in (str, int, float) for part in parts):
        return key
    raise RestrictedPickleError(f"a key is a {type(key).__name__} of more than strings and numbers")


def _refused(code: int) -> str:
    known = next((op.name for op in pickletools.opcodes if op.code == chr(code)), None)
    if known is None:
        return f"it is damaged (no pickle has the instruction {code})"
    return f"it holds the instruction {known}, which no official file does"


_STOP = ord(".")


def _append(machine: _Machine) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _extend(machine: _Machine) -> None:
    values = machine.pop_to_mark()
    machine.top(list).extend(values)


def _add(machine: _Machine) -> None:
    values = machine.pop_to_mark()
    machine.top(set).update(map(_checked_key, values))


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _tuple(count: int) -> Callable[[_Machine], None]:
    def make(machine: _Machine) -> None:
        machine.push(tuple(reversed([machine.pop() for _ in range(count)])))

    return make


def _long(machine: _Machine) -> None:
    machine.push(int.from_bytes(machine.take(machine.number("<B")), "little", signed=True))


_HANDLERS: dict[int, Callable[[_Machine], object]] = {
    0x80: lambda machine: machine.take(1),  # PROTO
    0x95: lambda machine: machine.take(8),  # FRAME: how much follows, for readers of streams
    ord("("): lambda machine: machine.push(_Mark),
    ord("}"): lambda machine: machine.push({}),
    ord("]"): lambda machine: machine.push([]),
    ord(")"): lambda machine: machine.push(()),
    0x8F: lambda machine: machine.push(set()),
    ord("N"): lambda machine: machine.push(None),
    0x88: lambda machine: machine.push(True),
    0x89: lambda machine: machine.push(False),
    ord("J"): lambda machine: machine.push(machine.number("<i")),
    ord("K"): lambda machine: machine.push(machine.number("<B")),
    ord("M"): lambda machine: machine.push(machine.number("<H")),
    0x8A: _long,
    ord("G"): lambda machine: machine.push(machine.number(">d")),
    0x8C: lambda machine: machine.push(machine.take(machine.number("<B")).decode()),
    ord("X"): lambda machine: machine.push(machine.take(machine.number("<I")).decode()),
    ord("C"): lambda machine: machine.push(machine.take(machine.number("<B"))),
    0x94: lambda machine: machine.memoize(),
    ord("h"): lambda machine: machine.recall(machine.number("<B")),
    ord("j"): lambda machine: machine.recall(machine.number("<I")),
    ord("a"): _append,
    ord("e"): _extend,
    0x90: _add,
    ord("s"): _set_item,
    ord("u"): lambda machine: machine.set_items(machine.pop_to_mark()),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("t"): lambda machine: machine.push(tuple(machine.pop_to_mark())),
    0x93: lambda machine: machine.name(),
    ord("R"): lambda machine: machine.call(),
    ord("b"): lambda machine: machine.build(),
}
"""Instruction -> its effect: those of NATS-Bench's files, and the few that the same data may be
written with by another Python."""
