"""What the tests of sdvk-server share: a server of their own, and requests to it."""
import http.client
import json
import re
import signal
import struct
import subprocess
import time
import urllib.parse
import zlib

import program
from program import BUILD

SERVER = BUILD / "sdvk-server"
SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 5}


def png(width, height, pixel):
    """A PNG of 3 or 4 channels; `pixel(x, y)` gives them."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if len(pixel(0, 0)) == 3 else 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Server:
    """A running server; `arguments` beside an address of its own. `before` is a command that becomes it."""

    def __init__(self, *arguments, cwd=None, env=None, before=()):
        self.process = subprocess.Popen(
            [*before, str(SERVER), "--listen", "127.0.0.1:0", *map(str, arguments)], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=cwd, env=env)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise AssertionError(self.process.communicate()[1])
        self.host = urllib.parse.urlsplit(self.address).netloc

    def connect(self, timeout=300):
        return http.client.HTTPConnection(self.host, timeout=timeout)

    def call(self, method, path, body=None, headers=None, timeout=300):
        """A whole request and its reply; dictionaries are sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, body, **options)

    def ready(self, seconds=60):
        end = time.monotonic() + seconds
        while self.get("/readyz").status != 200:
            if time.monotonic() > end:
                raise AssertionError(self.get("/readyz").body)
            time.sleep(0.05)
        return self

    def ended(self, job, seconds=300, **options):
        """The job once it has ended."""
        end = time.monotonic() + seconds
        while (found := self.get(f"/v1/jobs/{job}", **options).json())["state"] in ("queued", "running"):
            if time.monotonic() > end:
                raise AssertionError(found)
            time.sleep(0.02)
        return found

    def stop(self, number=signal.SIGTERM, seconds=60):
        """The exit status and what was written to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        errors = self.process.communicate(timeout=seconds)[1]
        return self.process.returncode, errors


def events(reply_lines):
    """(name, data) of server-sent events from lines of bytes."""
    name = None
    for line in reply_lines:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text[7:]
        elif text.startswith("data: "):
            yield name, json.loads(text[6:])


class Case(program.Case):
    maxDiff = None  # what a server said last is a sanitizer's report, in which every line counts

    def serve(self, *arguments, **options):
        server = Server(*arguments, cwd=self.folder, **options)
        self.addCleanup(lambda: server.process.poll() is None and server.stop(signal.SIGKILL))
        self.addCleanup(server.process.stderr.close)
        self.addCleanup(server.process.stdout.close)
        return server

    def new_key(self, name, more=""):
        """A key, appended to keys.txt in the test's folder."""
        shown = self.ok(SERVER, "--new-key", name).stdout
        key, line = re.fullmatch(r"key \(shown once\): (sdvk-[0-9a-f]{48})\nline for the file: (.*)\n", shown).groups()
        with open(self.folder / "keys.txt", "a") as file:
            file.write(f"{line}{more}\n")
        return key
