"""Ctrl-C and the signals that end a process, as a request to stop instead of an exception in the
middle of a write."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Interruption:
    """A context in which the first of these signals is noted and the second one raises.

    SIGTERM is how a cluster's scheduler says that the time is up, SIGHUP that the terminal is gone,
    SIGQUIT is Ctrl-\\. One that the process was started to ignore (`nohup`) stays ignored. Outside
    the main thread Python delivers no signals, and the context does nothing.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        return self.signal is not None

    @property
    def name(self) -> str:
        if self.signal is None or self.signal == signal.SIGINT:
            return "Ctrl-C"
        return self.signal.name

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
