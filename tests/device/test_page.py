"""The page: the latest frame with boxes, on this machine only."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgehone.deploy.device.runtime.decoding import Candidates
from edgehone.deploy.device.runtime.faults import DeviceError
from edgehone.deploy.device.runtime.page import Page

NOTHING: Any = Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
ONE: Any = Candidates(np.array([[8, 8, 40, 40]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))


@pytest.fixture
def page() -> Iterator[Any]:
    served: Any = Page(0, ["ant", "bee"], lambda: {"frames": 7})
    yield served
    served.close()


def port_of(page: Any) -> int:
    return int(page.address.rsplit(":", 1)[1].strip("/"))


def asked(page: Any, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=5)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def frame(level: int) -> Any:
    return SimpleNamespace(image=np.full((48, 64, 3), level, np.uint8))


def test_what_it_serves(page: Any) -> None:
    status, body = asked(page, "/")
    assert status == 200
    assert b'<img src="/stream"' in body
    assert json.loads(asked(page, "/times.json")[1]) == {"frames": 7}
    assert asked(page, "/../manifest.json")[0] == 404


def test_only_this_machine_is_answered(page: Any) -> None:
    """Not another address of it, and not a foreign site whose name was pointed here."""
    assert asked(page, "/times.json", host="evil.example")[0] == 403
    assert asked(page, "/times.json", host=f"localhost:{port_of(page)}")[0] == 200
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError):
            socket.create_connection((str(address), port_of(page)), timeout=1)


def test_a_viewer_sees_new_frames_with_boxes(page: Any) -> None:
    page.write(frame(0), NOTHING, 0.0)  # nobody looks: nothing is drawn
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
    connection.request("GET", "/stream")
    answer = connection.getresponse()
    assert answer.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    stop = threading.Event()

    def feed() -> None:
        while not stop.wait(0.02):
            page.write(frame(200), ONE, 0.0)

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        for _ in range(3):
            assert answer.readline() == b"--frame\r\n"
            assert answer.readline() == b"Content-Type: image/jpeg\r\n"
            length = int(answer.readline().split(b":")[1])
            answer.readline()
            jpeg = answer.read(length)
            answer.readline()
            picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert picture.shape == (48, 64, 3)
            assert np.ptp(picture.reshape(-1, 3), axis=0).max() > 50, "a box is drawn"
    finally:
        stop.set()
        feeding.join()
        connection.close()


def test_it_closes_at_once_with_a_viewer(page: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=10)
    connection.request("GET", "/stream")
    connection.getresponse()
    start = time.monotonic()
    page.close()
    assert time.monotonic() - start < 1
    connection.close()


def test_a_port_that_is_taken_is_told(page: Any) -> None:
    with pytest.raises(DeviceError, match=f"cannot use port {port_of(page)}"):
        Page(port_of(page), [], dict)
