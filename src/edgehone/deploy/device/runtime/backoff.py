"""Waiting longer after each failure."""
# pyright: basic

FIRST_SECONDS = 0.25
MOST_SECONDS = 8.0


class BackOff:
    """Doubles its waits up to :data:`MOST_SECONDS`; a success starts it again."""

    def __init__(self):
        self.seconds = FIRST_SECONDS

    def wait(self, stop):
        """Wait, unless ``stop`` is set meanwhile."""
        stop.wait(self.seconds)
        self.seconds = min(2 * self.seconds, MOST_SECONDS)

    def succeeded(self):
        """The next wait is short again."""
        self.seconds = FIRST_SECONDS
