"""A web server for one test, which does to a file what a real one may do."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.getting.check import Expected

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes, more than one block
HALF = len(CONTENT) // 2
MD5 = Expected(algorithm="md5", digest=hashlib.md5(CONTENT).hexdigest()[:6])


def names(folder):
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def one_line(error):
    """The message of an error that pytest caught."""
    assert "\n" not in str(error.value)
    return str(error.value)


class Heard:
    """A reporter that keeps what it hears."""

    def __init__(self):
        self.lines, self.steps = [], []

    def say(self, line):
        self.lines.append(line)

    def progress(self, label, done, total):
        self.steps.append((label, done, total))


class Served:
    """A file and how it is served.

    tricks: what happens to the next requests, the first to the first and so on; then they are served as they
    should be. A trick is a dict with some of `status`, `headers` (added), `length` and `range` (told instead
    of the true ones; length None: none), `after` (bytes that are sent, then the connection ends), `silent`
    (seconds with no byte, then), `body` (sent instead), `hold` (an event that is waited for after `after`
    bytes).
    """

    def __init__(self, content=CONTENT, etag='"1"', ranges=True, tricks=()):
        self.content, self.etag, self.ranges, self.tricks = content, etag, ranges, list(tricks)
        self.heed_if_range = True
        self.surplus = 0  # bytes that are announced beyond those that there are
        self.asked = []  # the Range of each request, None for the whole file

    def swap(self, content):
        """Puts another version in its place."""
        self.content, self.etag = content, '"2"'

    def next_trick(self):
        return self.tricks.pop(0) if self.tricks else {}


class Server:
    """Serves `files`, by path; `url(path)` is where."""

    def __init__(self):
        self.files = {}
        handler = type("Handler", (_Handler,), {"files": self.files})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self._server.server_address[1]}/{path}"

    def serve(self, path, *args, **kwargs):
        """Puts a file there; gives it and its address."""
        self.files[f"/{path}"] = served = Served(*args, **kwargs)
        return served, self.url(path)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    files: dict

    def log_message(self, *args):
        pass

    def do_GET(self):
        served = self.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        served.asked.append(self.headers.get("Range"))
        trick = served.next_trick()
        content, start = trick.get("body", served.content), self._start(served)
        part = start is not None and "status" not in trick
        if part and start >= len(content) and not served.surplus:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rest = content[start:] if part else content
        self.send_response(trick.get("status", 206 if part else 200))
        if part:
            total = len(content) + served.surplus
            told = trick.get("range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Range", told)
        if served.etag:
            self.send_header("ETag", served.etag)
        length = trick.get("length", len(rest) + served.surplus)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in trick.get("headers", {}).items():
            self.send_header(name, value)
        self.end_headers()
        self._send(rest, trick)

    def _start(self, served):
        """Where the part begins that is to be sent; None: all of the file is."""
        asked = self.headers.get("Range")
        if asked is None or not served.ranges:
            return None
        if served.heed_if_range and self.headers.get("If-Range") != served.etag:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, rest, trick):
        after = trick.get("after", len(rest))
        try:
            self.wfile.write(rest[:after])
            self.wfile.flush()
            if "hold" in trick:
                trick["hold"].wait(20)
                self.wfile.write(rest[after:])
            time.sleep(trick.get("silent", 0))
        except OSError:
            pass  # the other side has gone
