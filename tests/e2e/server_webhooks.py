"""Webhooks of the native face: whom the server tells of the end of a job, with which signature, and how often."""
import clients  # first: it chooses the interpreter
import contextlib
import http.server
import json
import signal
import sqlite3
import ssl
import threading
import time
import unittest

import openai

import service
from service import SMALL

assert clients.PYTHON
SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0"


class Receiver:
    """Answers POSTs with the statuses that it is given, the last one again and again, and keeps what came."""

    def __init__(self, *statuses, tls=None):
        self.calls, self.statuses = [], list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append((self.path, dict(self.headers), body))
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hook(self, path="/ended", secret=SECRET, scheme="http", host="localhost"):
        return {"url": f"{scheme}://{host}:{self.port}{path}", "secret": secret}

    def wait(self, count, seconds=60):
        end = time.monotonic() + seconds
        while len(self.calls) < count:
            assert time.monotonic() < end, f"{len(self.calls)} calls of {count}"
            time.sleep(0.02)
        return self.calls

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Webhooks(service.Case):
    def receiver(self, *statuses, tls=None):
        receiver = Receiver(*statuses, tls=tls)
        self.addCleanup(receiver.stop)
        return receiver

    def submit(self, server, hook, **fields):
        reply = server.post("/v1/jobs", {"prompt": "a mug", **SMALL, "webhook": hook, **fields})
        self.assertEqual(reply.status, 202, reply.body)
        return reply.json()["id"]

    def check(self, call, secret=SECRET):
        """A call's body, after checking its signature by a client that is not ours."""
        path, headers, body = call
        self.assertEqual((path, headers["Content-Type"]), ("/ended", "application/json"))
        webhooks = openai.OpenAI(api_key="none").webhooks
        webhooks.verify_signature(body, headers, secret=secret)
        with self.assertRaises(openai.InvalidWebhookSignatureError):
            webhooks.verify_signature(body + b" ", headers, secret=secret)
        job = json.loads(body)
        self.assertEqual(headers["webhook-id"], job["id"])
        return job

    def test_every_end_is_told_once(self):
        receiver = self.receiver(204)
        server = self.serve("--webhook-host", "localhost").ready()
        done = self.submit(server, receiver.hook())
        told = self.check(receiver.wait(1)[0])
        self.assertEqual((told["id"], told["state"]), (done, "done"))
        self.assertEqual(told, server.get(f"/v1/jobs/{done}").json())
        failed = self.submit(server, receiver.hook(secret="plain"), clip_skip=48)
        told = self.check(receiver.wait(2)[1], "plain")
        self.assertEqual((told["id"], told["state"], told["error"]["code"]), (failed, "failed", "argument"))
        running = self.submit(server, None, steps=150)
        waiting = self.submit(server, receiver.hook())
        server.call("DELETE", f"/v1/jobs/{waiting}")
        told = self.check(receiver.wait(3)[2])
        self.assertEqual((told["id"], told["state"]), (waiting, "cancelled"))
        server.call("DELETE", f"/v1/jobs/{running}")
        self.assertEqual(server.stop(), (0, ""))
        self.assertEqual(len(receiver.calls), 3)

    def test_it_is_tried_again_with_patience(self):
        receiver = self.receiver(500, 302, 200)
        server = self.serve("--webhook-host", f"localhost:{receiver.port}").ready()
        self.submit(server, receiver.hook())
        first, second, third = receiver.wait(3)
        self.assertEqual({path for path, _, _ in receiver.calls}, {"/ended"})  # a redirection is not followed
        stamps = [int(call[1]["webhook-timestamp"]) for call in (first, second, third)]
        self.assertTrue(stamps[0] < stamps[1] < stamps[2], stamps)
        self.assertEqual(self.check(first), self.check(third))

    def test_it_is_given_up(self):
        receiver = self.receiver(500)
        server = self.serve("--webhook-host", "localhost", "--webhook-tries", 2).ready()
        job = self.submit(server, receiver.hook())
        receiver.wait(2)
        code, errors = server.stop()
        self.assertEqual((code, errors), (0, f"sdvk-server: warning: the webhook of job {job} is given up after 2 "
                                             "tries: it answered with status 500\n"))

    # ---- TLS ----

    def authority(self, name):
        """NAME.pem and NAME-key.pem of a certificate that may sign others."""
        self.ok("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout",
                f"{name}-key.pem", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem"

    def secure_receiver(self):
        """One that proves itself as localhost, by the authority "acme"."""
        self.authority("acme")
        (self.folder / "names").write_text("subjectAltName=DNS:localhost")
        self.ok("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=receiver", "-keyout", "key.pem",
                "-out", "request.pem")
        self.ok("openssl", "x509", "-req", "-in", "request.pem", "-CA", "acme.pem", "-CAkey", "acme-key.pem",
                "-set_serial", "1", "-extfile", "names", "-out", "certificate.pem")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.folder / "certificate.pem", self.folder / "key.pem")
        return self.receiver(200, tls=tls)

    def test_an_address_that_proves_itself_is_told(self):
        receiver = self.secure_receiver()
        # Any certificate of the file may be the one.
        both = self.folder / "both.pem"
        both.write_text(self.authority("other").read_text() + (self.folder / "acme.pem").read_text())
        for count, trusted in enumerate((self.folder / "acme.pem", both), 1):
            server = self.serve("--webhook-host", "localhost", "--webhook-ca", trusted).ready()
            job = self.submit(server, receiver.hook(scheme="https"))
            self.assertEqual(self.check(receiver.wait(count)[-1])["id"], job)
            self.assertEqual(server.stop(), (0, ""))
        self.assertEqual(len(receiver.calls), 2)

    def test_an_address_that_cannot_prove_itself_is_told_nothing(self):
        receiver = self.secure_receiver()
        rows = [([], "localhost"), (["--webhook-ca", self.authority("other")], "localhost"),
                (["--webhook-ca", self.folder / "acme.pem"], "127.0.0.1")]  # which is not its name
        for more, host in rows:
            with self.subTest(more, host=host):
                server = self.serve("--webhook-host", host, "--webhook-tries", 1, *more).ready()
                self.submit(server, receiver.hook(scheme="https", host=host))
                line = server.process.stderr.readline()
                self.assertRegex(line, "is given up after 1 tries: SSL ")
                self.assertEqual(server.stop(), (0, ""))
        self.assertEqual(receiver.calls, [])

    def test_certificates_are_read_at_the_start(self):
        (self.folder / "text").write_text("no certificate")
        for name, message in (("none", "none: No such file or directory"),
                              ("text", "text: expected certificates as PEM, found none")):
            done = service.program.run(service.SERVER, "--listen", "127.0.0.1:0", "--webhook-ca", name, cwd=self.folder)
            self.assertEqual((done.returncode, done.stderr), (1, f"sdvk-server: --webhook-ca: {message}\n"))

    def test_it_survives_the_server(self):
        receiver = self.receiver(500)
        server = self.serve("--state", "state", "--webhook-host", "localhost").ready()
        job = self.submit(server, receiver.hook())
        receiver.wait(1)
        server.stop(signal.SIGKILL)
        receiver.statuses, count = [200], len(receiver.calls)
        server = self.serve("--state", "state", "--webhook-host", "localhost")
        self.assertEqual(self.check(receiver.wait(count + 1)[-1])["id"], job)
        # It is forgotten only when it was taken; a third server has nothing left to tell.
        self.assertEqual(server.stop(), (0, ""))
        self.serve("--state", "state", "--webhook-host", "localhost").ready().stop()
        self.assertEqual(len(receiver.calls), count + 1)
        with contextlib.closing(sqlite3.connect(self.folder / "state/jobs.sqlite")) as store:
            self.assertEqual(store.execute("SELECT id, webhook FROM jobs").fetchall(), [(job, None)])

    def test_jobs_are_kept_until_it_is_told(self):
        receiver = self.receiver(500)
        server = self.serve("--keep-jobs", 0, "--webhook-host", "localhost").ready()
        told = self.submit(server, receiver.hook())
        receiver.wait(1)
        self.forgotten(server, self.submit(server, None))
        self.assertEqual(server.get(f"/v1/jobs/{told}").status, 200)
        receiver.statuses, count = [200], len(receiver.calls)
        self.check(receiver.wait(count + 1)[-1])
        self.assertEqual(server.stop(), (0, ""))

    def forgotten(self, server, job, seconds=60):
        end = time.monotonic() + seconds
        while server.get(f"/v1/jobs/{job}").status != 404:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_a_job_of_a_killed_server_is_told_by_the_next(self):
        receiver = self.receiver(200)
        server = self.serve("--state", "state", "--webhook-host", "localhost").ready()
        job = self.submit(server, receiver.hook(), steps=60)
        server.stop(signal.SIGKILL)
        self.assertEqual(receiver.calls, [])
        self.serve("--state", "state", "--webhook-host", "localhost")
        told = self.check(receiver.wait(1)[0])
        self.assertEqual((told["id"], told["state"]), (job, "done"))

    def test_refusals(self):
        plain = self.serve()
        reply = plain.post("/v1/jobs", {"prompt": "x", "webhook": {"url": "http://localhost/", "secret": "x"}})
        self.assertEqual((reply.status, reply.json()), (422, {
            "error": "webhook: this server calls no others (--webhook-host)", "field": "webhook"}))
        server = self.serve("--webhook-host", "localhost", "--webhook-host", "example.com:8443")
        no_address = "webhook: url: expected an http or https address, found another"
        shape = 'webhook: expected {"url": "https://example.com/done", "secret": "..."}, found something else'
        rows = [("http://localhost/", shape), ({"url": "http://localhost/"}, shape),
                ({"url": "http://localhost/", "secret": "x", "more": 1}, shape),
                ({"url": 3, "secret": "x"}, shape)]
        rows += [({"url": url, "secret": "x"}, message) for url, message in (
            ("ftp://localhost/", no_address), ("file:///etc/passwd", no_address),
            ("http://example.com@localhost/", "webhook: url: expected an address without a user, found one"),
            ("http://127.0.0.1/", "webhook: url: this server does not call '127.0.0.1' (--webhook-host)"),
            ("https://example.com/", "webhook: url: this server does not call 'example.com' (--webhook-host)"),
            ("http://localhost.example/",
             "webhook: url: this server does not call 'localhost.example' (--webhook-host)"),
            ("http://localhost\\@example.com/", None), ("http://localhost:99999/", None), ("nothing", None),
            ("http://localhost/" + "x" * 2000, None))]
        rows += [({"url": "http://localhost/", "secret": secret},
                  'webhook: secret: expected 1 to 255 bytes, or base64 behind "whsec_", found neither')
                 for secret in ("", "x" * 256, "whsec_?", "whsec_")]
        for hook, message in rows:
            with self.subTest(hook):
                reply = server.post("/v1/jobs", {"prompt": "x", "webhook": hook})
                self.assertEqual((reply.status, reply.json()["field"]), (422, "webhook"))
                if message:
                    self.assertEqual(reply.json()["error"], message)
        self.assertEqual(server.get("/v1/jobs").json(), {"jobs": []})
        self.submit(server, {"url": "https://EXAMPLE.com:8443/x", "secret": "x"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
