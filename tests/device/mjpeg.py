"""A camera on the network: an HTTP server that sends JPEG frames, and can be switched off and on."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import cv2
from numpy.typing import NDArray

HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


class Camera:
    """Listens on loopback; the port stays the same over switching off and on.

    Attributes:
        stalled: connections stay open and say nothing.
    """

    def __init__(self, images: list[NDArray[Any]], seconds: float = 0.03) -> None:
        self._parts = [self._part(image) for image in images]
        self._seconds = seconds
        self._on = threading.Event()
        self.stalled = False
        self._listening: socket.socket | None = None
        self.port = 0
        self.switch_on()

    @staticmethod
    def _part(image: NDArray[Any]) -> bytes:
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def switch_on(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen()
        listening.settimeout(0.1)
        self.port = listening.getsockname()[1]
        self._listening = listening
        self._on.set()
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def switch_off(self) -> None:
        """Connections break and new ones are refused."""
        self._on.clear()
        assert self._listening is not None
        self._listening.close()
        time.sleep(0.2)

    def _accept(self, listening: socket.socket) -> None:
        while self._on.is_set():
            try:
                connection = listening.accept()[0]
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(1)
                connection.recv(4096)
                connection.sendall(HEAD)
                number = 0
                while self._on.is_set():
                    if not self.stalled:
                        connection.sendall(self._parts[number % len(self._parts)])
                        number += 1
                    time.sleep(self._seconds)
            except OSError:
                return
