"""Between the thread that takes frames and the one that looks at them."""
# pyright: basic

import threading
from collections import deque


class FrameQueue:
    """Holds few frames. Of a live source the oldest is dropped for a new one; a file waits until there is room.

    Args:
        limit: frames it holds.
        drop: whether a full queue drops its oldest frame, or makes :meth:`put` wait.
    """

    def __init__(self, limit, drop):
        self.dropped = 0
        self._limit = limit
        self._drop = drop
        self._frames = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, frame):
        """Add a frame; False once the queue is closed."""
        with self._changed:
            while not self._drop and len(self._frames) >= self._limit and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            if len(self._frames) >= self._limit:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(frame)
            self._changed.notify_all()
            return True

    def get(self, seconds):
        """The oldest frame, or None if none came in time."""
        with self._changed:
            if not self._frames and not self._closed:
                self._changed.wait(seconds)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def close(self):
        """No frame comes any more; those that wait are still given."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def ended(self):
        """Closed and empty."""
        with self._changed:
            return self._closed and not self._frames


class Taking(threading.Thread):
    """Takes frames from a source into a queue until the source ends or ``stop`` is set.

    Attributes:
        error: what ended it, or None.
    """

    def __init__(self, source, queue, stop):
        super().__init__(name="taking frames", daemon=True)  # a driver that hangs must not hold up the exit
        self._source = source
        self._queue = queue
        self._stop_event = stop
        self.error = None

    def run(self):
        """See :class:`threading.Thread`."""
        try:
            for frame in self._source.frames(self._stop_event):
                if not self._queue.put(frame):
                    break
        except Exception as error:  # raised again where the frames are looked at
            self.error = error
        finally:
            self._queue.close()
