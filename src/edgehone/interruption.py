"""Ctrl-C is heeded, even where a library swallows what it raises.

Python raises KeyboardInterrupt wherever the program happens to be: within a destructor, a callback or a bare
``except:`` of a library it is lost, and the work would go on. So the wish is noted as well, and long work asks for it.
"""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def heed() -> None:
    """Note interruptions from now on; nothing is done where a shell has them ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)


def stop_if_asked() -> None:
    """Called now and then by long work.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C, and what it raised was lost.
    """
    if _asked:
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    del number, frame
    global _asked
    _asked = True
    raise KeyboardInterrupt
