"""A page that shows what the detector sees: pictures with boxes, on this machine only."""
# pyright: basic

import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn

import cv2

from .drawing import draw
from .faults import DeviceError, log
from .timing import Times

LOOPBACK = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")
QUALITY = [int(cv2.IMWRITE_JPEG_QUALITY), 80]
PAGE = b"""<!doctype html><meta charset="utf-8"><title>detections</title>
<style>body{margin:0;background:#111;color:#ccc;font:14px sans-serif}img{max-width:100%;display:block}</style>
<img src="/stream" alt="the latest frame"><pre id="t"></pre><script>
setInterval(function(){fetch('/times.json').then(function(r){return r.text()})
.then(function(t){document.getElementById('t').textContent=t})},1000)</script>
"""


class Page:
    """Serves the latest frame on loopback.

    Args:
        port: 0 takes a free one.
        names: of the classes.
        summary: gives what ``/times.json`` shows.
        times: durations go there.
    """

    def __init__(self, port, names, summary, times=None):
        self._changed = threading.Condition()
        self._viewers = 0
        self._jpeg = None
        self._number = 0
        self._closed = False
        self.summary = summary
        self._names = names
        self._times = times or Times()
        try:
            self._server = _Server((LOOPBACK, port), functools.partial(_Handler, self))
        except OSError as error:
            raise DeviceError(f"the page cannot use port {port}: {error.strerror}") from None
        self.address = f"http://{LOOPBACK}:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        log("page: " + self.address)

    def write(self, frame, found, seconds):
        """Show a frame; nothing is drawn while nobody looks."""
        del seconds
        if not self._viewers:
            return
        start = time.perf_counter()
        image = draw(frame.image, found, self._names)
        start = self._times.lap("draw", start)
        done, jpeg = cv2.imencode(".jpg", image, QUALITY)
        self._times.lap("encode", start)
        if done:
            with self._changed:
                self._jpeg, self._number = jpeg.tobytes(), self._number + 1
                self._changed.notify_all()

    def pictures(self):
        """Each new picture as JPEG, for one viewer, until the page closes; one that cannot follow misses some."""
        seen = self._number
        with self._changed:
            self._viewers += 1
        try:
            while not self._closed:
                with self._changed:
                    if self._number == seen:
                        self._changed.wait(0.5)
                    jpeg, fresh, seen = self._jpeg, self._number > seen, self._number
                if fresh:
                    yield jpeg
        finally:
            with self._changed:
                self._viewers -= 1

    def close(self):
        """End all that is being shown."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, page, *rest):
        self._page = page
        super().__init__(*rest)

    def do_GET(self):
        if self.headers.get("Host", "").split(":")[0] not in HOSTS:
            self.send_error(403)  # a foreign site that was given this machine's name
        elif self.path == "/":
            self._answer("text/html; charset=utf-8", PAGE)
        elif self.path == "/times.json":
            self._answer("application/json", json.dumps(self._page.summary(), indent=1).encode())
        elif self.path == "/stream":
            self._stream()
        else:
            self.send_error(404)

    def _answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for jpeg in self._page.pictures():
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                self.wfile.write(jpeg + b"\r\n")
        except OSError:
            return  # the viewer left

    def log_message(self, format, *args):
        del format, args  # who looks is nobody's business
