"""The memory that a thread's signals are handled in (sigaltstack(2)), kept from others' changes."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _SignalStack(ctypes.Structure):
    """``stack_t`` of <signal.h>."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """This thread's stack for signals is what it was, whatever is done to it inside.

    On a processor with AMX each plugin of OpenVINO's gives the thread that loads it another one,
    and puts the one of before back as it goes. Of two, the first to go leaves the second's, and the
    second then puts back the first's, whose memory is free: the next signal, as of a loader's
    process that ends, is a segmentation fault. A plugin whose stack is no longer set leaves it.
    """
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
