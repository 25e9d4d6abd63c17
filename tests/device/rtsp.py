"""A camera that speaks RTSP (RFC 2326): JPEG frames by RFC 2435, in packets between the lines of one connection."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any, BinaryIO

import cv2
from mjpeg import Camera
from numpy.typing import NDArray

MOST_BYTES = 1400
"""Of JPEG data in a packet: frames are cut, as on a real network."""
JPEG, CLOCK = 26, 90_000
"""Payload type and ticks a second (RFC 3551)."""

DESCRIPTION = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=frames\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track\r\n"
)
ANSWERS = {
    "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""),
    "DESCRIBE": ("Content-Type: application/sdp\r\n", DESCRIPTION),
    "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
    "PLAY": ("Session: 1\r\nRange: npt=0-\r\n", ""),
}
"""Headers and body of the answer to each method."""


class RtspCamera(Camera):
    """Like :class:`mjpeg.Camera`; it only knows transport over TCP, which is what OpenCV asks for."""

    @staticmethod
    def _part(image: NDArray[Any]) -> bytes:
        return cv2.imencode(".jpg", image)[1].tobytes()

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/frames"

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as requests:
            try:
                connection.settimeout(5)
                while answer(connection, requests) != "PLAY":
                    pass
                sequence = number = 0
                while self._on.is_set():
                    for packet in [] if self.stalled else packets(self._parts[number % len(self._parts)], sequence):
                        connection.sendall(packet)
                        sequence += 1
                    number += not self.stalled
                    time.sleep(self._seconds)
            except OSError:
                return


def answer(connection: socket.socket, requests: BinaryIO) -> str:
    """Answer one request; its method. A client that has left is an OSError."""
    method = requests.readline().decode().partition(" ")[0]
    lines = iter(lambda: requests.readline().decode().strip(), "")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not method:
        raise ConnectionError
    sequence = headers.get("cseq", "0")
    if method not in ANSWERS or "TCP" not in headers.get("transport", "TCP"):
        connection.sendall(f"RTSP/1.0 461 Unsupported Transport\r\nCSeq: {sequence}\r\n\r\n".encode())
        return ""
    more, body = ANSWERS[method]
    head = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    connection.sendall((head + body).encode())
    return method


def packets(jpeg: bytes, sequence: int) -> list[bytes]:
    """A baseline JPEG of usual Huffman tables and 4:2:0 sampling, cut into interleaved RTP packets."""
    tables, (height, width), data = pulled_apart(jpeg)
    found: list[bytes] = []
    stamp = int(time.monotonic() * CLOCK) & 0xFFFFFFFF
    for start in range(0, len(data), MOST_BYTES):
        last = start + MOST_BYTES >= len(data)
        header = struct.pack(">BBHII", 0x80, JPEG | last << 7, (sequence + len(found)) & 0xFFFF, stamp, 1)
        header += struct.pack(">IBBBB", start, 1, 255, width // 8, height // 8)  # 1: 4:2:0; 255: tables follow
        if start == 0:
            header += struct.pack(">BBH", 0, 0, len(tables)) + tables
        packet = header + data[start : start + MOST_BYTES]
        found.append(b"$\0" + struct.pack(">H", len(packet)) + packet)
    return found


def pulled_apart(jpeg: bytes) -> tuple[bytes, tuple[int, int], bytes]:
    """Quantisation tables, ``(height, width)`` and the coded data of a JPEG file."""
    tables, size, place = b"", (0, 0), 2
    while True:
        marker, length = struct.unpack(">HH", jpeg[place : place + 4])
        content = jpeg[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xFFDB:
            tables += b"".join(content[k + 1 : k + 65] for k in range(0, len(content), 65))
        elif marker == 0xFFC0:
            size = struct.unpack(">HH", content[1:5])
            assert content[7] == 0x22, "4:2:0"
        elif marker == 0xFFDA:
            return tables, size, jpeg[place:-2]
