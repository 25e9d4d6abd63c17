"""What can go wrong, said so that the person at the board knows what to do."""
# pyright: basic

import sys
import time


class DeviceError(Exception):
    """Work cannot go on. The message states the rule, what was found, and what to do."""


class LostError(DeviceError):
    """An accelerator went away; it may come back, so that opening it again is worth a try."""


def log(message):
    """One line for a person, with the time, on standard error."""
    sys.stderr.write("{} {}\n".format(time.strftime("%H:%M:%S"), message))
    sys.stderr.flush()
