"""A page that shows what the detector sees: pictures with boxes, on this machine only."""
# pyright: basic

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn

import cv2

from .drawing import draw
from .faults import DeviceError, log

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
    """

    def __init__(self, port, names, summary):
        self.changed = threading.Condition()
        self.viewers = 0
        self.jpeg = None
        self.number = 0
        self.closed = False
        self.summary = summary
        self._names = names
        try:
            self._server = _Server((LOOPBACK, port), _handler(self))
        except OSError as error:
            raise DeviceError("the page cannot use port {}: {}".format(port, error.strerror)) from None
        self.address = "http://{}:{}/".format(LOOPBACK, self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        log("page: " + self.address)

    def write(self, frame, found, seconds):
        """Show a frame; nothing is drawn while nobody looks."""
        del seconds
        if not self.viewers:
            return
        done, jpeg = cv2.imencode(".jpg", draw(frame.image, found, self._names), QUALITY)
        if done:
            with self.changed:
                self.jpeg, self.number = jpeg.tobytes(), self.number + 1
                self.changed.notify_all()

    def close(self):
        """End all that is being shown."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


def _handler(page):
    """The class that answers for a page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.headers.get("Host", "").split(":")[0] not in HOSTS:
                self.send_error(403)  # a foreign site that was given this machine's name
            elif self.path == "/":
                self._answer("text/html; charset=utf-8", PAGE)
            elif self.path == "/times.json":
                self._answer("application/json", json.dumps(page.summary(), indent=1).encode())
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
            with page.changed:
                page.viewers += 1
            try:
                self._frames()
            except OSError:
                return  # the viewer left
            finally:
                with page.changed:
                    page.viewers -= 1

        def _frames(self):
            number = 0
            while not page.closed:
                with page.changed:
                    page.changed.wait_for(lambda: page.closed or page.number > number, 0.5)
                    jpeg, fresh, number = page.jpeg, page.number > number, page.number
                if fresh and jpeg is not None:
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                    self.wfile.write(jpeg + b"\r\n")

        def log_message(self, format, *args):
            del format, args  # who looks is nobody's business

    return Handler
