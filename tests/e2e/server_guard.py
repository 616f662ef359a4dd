"""Who may call sdvk-server, what they may ask for, and what is written down of it."""
import base64
import concurrent.futures
import json
import unittest

import service
from service import SERVER, SMALL

WANT_KEY = {"error": "expected an API key, found none that is known"}


class Guard(service.Case):
    def submit(self, server, key=None, **fields):
        headers = {"Authorization": f"Bearer {key}"} if key else None
        return server.post("/v1/jobs", {"prompt": "a mug", **SMALL, **fields}, headers=headers)

    def test_others_need_keys(self):
        for address in ("0.0.0.0:0", "[::]:0"):
            done = service.program.run(SERVER, "--listen", address, cwd=self.folder)
            self.assertEqual((done.returncode, done.stderr),
                             (1, f"sdvk-server: --listen {address}: others than this machine can call; expected --api-keys "
                                 "FILE, or --insecure to do without\n"))
        server = self.serve("--insecure")
        self.assertEqual(server.get("/v1/jobs").status, 200)

    def test_keys(self):
        alice, bob = self.new_key("alice"), self.new_key("bob")
        server = self.serve("--api-keys", "keys.txt").ready()
        for headers in (None, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {alice}x"},
                        {"Authorization": "Basic ????"}, {"X-Api-Key": "sdvk-"}):
            reply = server.post("/v1/jobs", {"prompt": "a mug"}, headers=headers)
            self.assertEqual((reply.status, reply.json(), reply.headers["WWW-Authenticate"]), (401, WANT_KEY, "Bearer"))
        self.assertEqual(server.get("/healthz").status, 200)
        job = self.submit(server, alice).json()["id"]
        basic = base64.b64encode(f"alice:{alice}".encode()).decode()
        for headers in ({"Authorization": f"Bearer {alice}"}, {"Authorization": f"Basic {basic}"}, {"X-Api-Key": alice}):
            self.assertEqual(server.get(f"/v1/jobs/{job}", headers=headers).status, 200)
        # Nobody sees the jobs of others.
        other = {"Authorization": f"Bearer {bob}"}
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/images/0"), ("DELETE", "")):
            reply = server.call(method, f"/v1/jobs/{job}{path}", headers=other)
            self.assertEqual((reply.status, reply.json()), (404, {"error": "there is no such job"}))
        self.assertEqual(server.get("/v1/jobs", headers=other).json(), {"jobs": []})

    def test_no_key_means_no_header_matters(self):
        server = self.serve()
        for value in ("Basic ", "", "Bearer x"):
            self.assertEqual(server.get("/v1/jobs", headers={"Authorization": value}).status, 200)

    def test_rates_and_quotas(self):
        fast, few = self.new_key("fast", " rate=2"), self.new_key("few", " images=3")
        server = self.serve("--api-keys", "keys.txt").ready()
        self.assertEqual([self.submit(server, fast).status for _ in range(3)], [202, 202, 429])
        reply = self.submit(server, fast)
        self.assertRegex(reply.json()["error"], r"this key has had its jobs of this minute; try again in \d+ seconds")
        self.assertLessEqual(int(reply.headers["Retry-After"]), 31)
        self.assertEqual(self.submit(server, few, count=2).status, 202)
        reply = self.submit(server, few, count=2)
        self.assertEqual(reply.status, 429)
        self.assertIn("pictures of this day", reply.json()["error"])
        self.assertEqual(self.submit(server, few).status, 202)

    def test_pictures_of_a_day(self):
        """Forgotten jobs count, cancelled ones do not, nor does it help to ask for all at once."""
        alice, bob = self.new_key("alice", " images=3"), self.new_key("bob", " images=5")
        server = self.serve("--api-keys", "keys.txt", "--keep-jobs", 1).ready()
        headers = {"Authorization": f"Bearer {alice}"}
        done = self.submit(server, alice, count=2).json()["id"]
        server.ended(done, headers=headers)
        self.assertEqual(server.call("DELETE", f"/v1/jobs/{done}", headers=headers).status, 200)
        self.assertEqual(server.get(f"/v1/jobs/{done}", headers=headers).status, 404)
        self.assertEqual(self.submit(server, alice, count=2).status, 429)
        long = self.submit(server, alice, steps=100).json()["id"]
        self.assertEqual(self.submit(server, alice).status, 429)
        server.call("DELETE", f"/v1/jobs/{long}", headers=headers)
        self.assertEqual(server.ended(long, headers=headers)["state"], "cancelled")
        self.assertEqual(self.submit(server, alice).status, 202)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: self.submit(server, bob).status, range(16)))
        self.assertEqual(sorted(statuses), [202] * 5 + [429] * 11)

    def test_bad_key_files(self):
        for text, message in (("", "expected a key at least, found none"),
                              ("# nothing\n\n", "expected a key at least, found none"),
                              ("alice\n", "line 1: expected NAME sha256:HEX with 64 digits, found '' "
                                          "(sdvk-server --new-key NAME makes one)"),
                              (f"a sha256:{'0' * 64}\na sha256:{'1' * 64}\n", "line 2: the name 'a' is there twice"),
                              (f"a sha256:{'0' * 64} rate=x\n",
                               "line 1: expected rate=COUNT or images=COUNT, found 'rate=x'")):
            (self.folder / "bad.txt").write_text(text)
            done = service.program.run(SERVER, "--api-keys", "bad.txt", "--listen", "127.0.0.1:0", cwd=self.folder)
            self.assertEqual((done.returncode, done.stderr), (1, f"sdvk-server: bad.txt: {message}\n"))

    def test_pages_of_others_stay_out(self):
        server = self.serve("--origin", "http://studio.test:3000", "--host", "gpu.test")
        for host, status in ((server.host, 200), ("localhost:1", 200), ("10.1.2.3", 200), ("[::1]:80", 200),
                             ("gpu.test:7860", 200), ("evil.test", 403), ("127.0.0.1.evil.test", 403)):
            with self.subTest(host):
                self.assertEqual(server.get("/v1/jobs", headers={"Host": host}).status, status)
        for origin, status in ((f"http://{server.host}", 200), ("http://studio.test:3000", 200),
                               ("http://studio.test", 403), ("null", 403), ("http://evil.test", 403)):
            with self.subTest(origin):
                reply = server.get("/v1/jobs", headers={"Origin": origin})
                self.assertEqual(reply.status, status)
                allowed = reply.headers["Access-Control-Allow-Origin"]
                self.assertEqual(allowed, origin if origin == "http://studio.test:3000" else None)
        reply = server.call("OPTIONS", "/v1/jobs", headers={
            "Origin": "http://studio.test:3000", "Access-Control-Request-Headers": "authorization,x-y"})
        self.assertEqual((reply.status, reply.headers["Access-Control-Allow-Headers"]), (204, "authorization,x-y"))
        self.assertEqual(server.call("OPTIONS", "/v1/jobs", headers={"Origin": "http://evil.test"}).status, 403)
        self.assertEqual(server.call("OPTIONS", "/v1/images/generations").status, 204)

    def test_policy_and_audit(self):
        alice, bob = self.new_key("alice"), self.new_key("bob")
        (self.folder / "policy.json").write_text(json.dumps({
            "version": "7", "rules": {"blocked": ["Gore", "two words"], "required": ["mug"], "max_steps": 10},
            "keys": {"bob": {"required": []}}}))
        server = self.serve("--api-keys", "keys.txt", "--policy", "policy.json", "--audit", "audit.jsonl").ready()
        for key, fields, message in ((alice, {"prompt": "a mug, (GORE:1.2)"}, "prompt: the policy blocks 'Gore'"),
                                     (alice, {"prompt": "a mug of two, words"}, "prompt: the policy blocks 'two words'"),
                                     (alice, {"prompt": "a bottle"}, "prompt: the policy requires 'mug'"),
                                     (bob, {"prompt": "a bottle", "steps": 11},
                                      "steps: the policy allows at most 10, found 11")):
            reply = self.submit(server, key, **fields)
            self.assertEqual((reply.status, reply.json()["error"]), (403, message))
        self.assertEqual(self.submit(server, alice, prompt="a mug, gored").status, 202)
        job = self.submit(server, bob, prompt="a bottle", loras=[{"name": "acme"}]).json()["id"]
        while server.get(f"/v1/jobs/{job}", headers={"X-Api-Key": bob}).json()["state"] != "done":
            pass
        self.assertEqual(server.stop()[0], 0)
        entries = [json.loads(line)["entry"] for line in (self.folder / "audit.jsonl").read_text().splitlines()]
        self.assertEqual([e["event"] for e in entries[:4]], ["refused"] * 4)
        self.assertEqual(entries[0]["reason"], "prompt: the policy blocks 'Gore'")
        ended = [e for e in entries if e.get("job") == job]
        self.assertEqual([(e["event"], e["key"]) for e in ended], [("accepted", "bob"), ("done", "bob")])
        self.assertEqual(ended[0]["policy"], "7")
        self.assertEqual(ended[0]["request"]["prompt"], "a bottle")
        self.assertEqual(len(ended[1]["pictures"][0]), 64)
        self.assertEqual(len(ended[1]["model"]["sha256"]), 64)
        self.assertEqual(ended[1]["loras"][0]["name"], "acme")
        self.check_audit(len(entries))

    def check_audit(self, count):
        path = self.folder / "audit.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        shown = self.sdvk("audit", "verify", path).stdout
        self.assertEqual(shown, f"{count} entries, the last one's hash is {json.loads(lines[-1])['hash']}\n")
        changed = lines[2].replace("bottle", "battle")
        self.assertNotEqual(changed, lines[2])
        for edited, message in (("".join([*lines[:2], changed, *lines[3:]]), "line 3: its hash is not that of its content"),
                                ("".join([*lines[:2], *lines[3:]]), "line 3: does not follow the line before it"),
                                ("".join([lines[1], lines[0], *lines[2:]]), "line 1: does not follow the line before it"),
                                ("".join(lines)[:-5], f"line {count}: cut short"),
                                ("nonsense\n" + "".join(lines), "line 1: not a line of an audit log")):
            (self.folder / "edited.jsonl").write_text(edited)
            done = service.program.run(service.program.SDVK, "audit", "verify", "edited.jsonl", cwd=self.folder)
            self.assertEqual((done.returncode, done.stderr), (2, f"sdvk: edited.jsonl: {message}\n"))
        # A log goes on behind a line that was cut, and refuses to go on behind one that was changed.
        (self.folder / "edited.jsonl").write_text("".join(lines)[:-5])
        server = self.serve("--audit", "edited.jsonl").ready()
        self.assertEqual(self.submit(server).status, 202)
        server.stop()
        self.sdvk("audit", "verify", "edited.jsonl")
        (self.folder / "edited.jsonl").write_text("".join([*lines[:2], changed, *lines[3:]]))
        done = service.program.run(SERVER, "--audit", "edited.jsonl", "--listen", "127.0.0.1:0", cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "sdvk-server: edited.jsonl: line 3: its hash is not that of its content\n"))

    def test_pixels_that_a_policy_allows(self):
        """Also where a request leaves the size to the model, which is made for 256 x 256, or to a picture."""
        (self.folder / "policy.json").write_text('{"version": "1", "rules": {"max_pixels": 9216}}')
        server = self.serve("--policy", "policy.json").ready()
        picture = base64.b64encode(service.png(104, 104, lambda x, y: (x, y, 0))).decode()
        for fields, size in (({}, "96x96"), ({"width": 128}, "128x72"), ({"height": 72}, "128x72"),
                             ({"init_image": picture, "width": 96, "height": 96, "resize": "crop"}, "96x96")):
            job = server.post("/v1/jobs", {"prompt": "a mug", "steps": 1, "strength": 1, **fields}).json()["id"]
            ended = server.ended(job)
            self.assertEqual(ended["state"], "done", ended)
            self.assertTrue(f"Size: {size}, ".encode() in server.get(ended["images"][0]["url"]).body, size)
        job = server.post("/v1/jobs", {"prompt": "a mug", "steps": 1, "init_image": picture}).json()["id"]
        self.assertEqual(server.ended(job)["error"], {
            "code": "argument",
            "message": "width x height: the policy allows at most 9216, found 10816, the picture's"})
        reply = server.post("/v1/jobs", {"prompt": "a mug", "width": 104, "height": 104})
        self.assertEqual((reply.status, reply.json()["field"]), (403, "width"))

    def test_bad_policies(self):
        for text, message in (("[]", "expected a JSON object"), ("{}", "version: expected a string"),
                              ('{"version": "1", "rule": {}}', "unknown field 'rule'; there are version, rules, keys"),
                              ('{"version": "1", "rules": {"blokced": []}}',
                               "rules: unknown rule 'blokced'; there are blocked, required, models, loras, max_steps, "
                               "max_count, max_pixels"),
                              ('{"version": "1", "keys": {"a": {"blocked": [1]}}}',
                               "keys: a: blocked: expected an array of strings")):
            (self.folder / "policy.json").write_text(text)
            done = service.program.run(SERVER, "--policy", "policy.json", "--listen", "127.0.0.1:0", cwd=self.folder)
            self.assertEqual((done.returncode, done.stderr), (1, f"sdvk-server: policy.json: {message}\n"))

    def test_access_log_and_metrics(self):
        for arguments, prompt in (((), None), (("--log-prompts",), "a secret mug")):
            log = self.folder / "access.jsonl"
            log.unlink(missing_ok=True)
            server = self.serve("--access-log", "access.jsonl", *arguments).ready()
            job = self.submit(server, prompt="a secret mug").json()["id"]
            self.assertEqual(server.ended(job)["state"], "done")
            self.assertEqual(server.get("/nowhere").status, 404)
            metrics = server.get("/metrics")
            server.stop()
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            posted = next(line for line in lines if line["method"] == "POST")
            self.assertEqual((posted["path"], posted["status"], posted["job"]), ("/v1/jobs", 202, job))
            self.assertEqual(posted.get("prompt"), prompt)
            self.assertTrue(0 <= posted["seconds"] < 60 and posted["bytes"] > 0)
            self.assertEqual([line["status"] for line in lines if line["path"] == "/nowhere"], [404])
            if not prompt:
                self.assertNotIn("secret", log.read_text())
            text = metrics.body.decode()
            for line in ('sdvk_requests_total{code="202"} 1', 'sdvk_requests_total{code="404"} 1',
                         'sdvk_jobs_total{state="done"} 1', "sdvk_pictures_total 1", "sdvk_steps_total 2",
                         "sdvk_queue_jobs 0", "sdvk_ready 1"):
                self.assertIn(line + "\n", text)
            self.assertRegex(text, r"(?m)\A(# (HELP|TYPE) sdvk_\w+ .*\n|sdvk_\w+(\{\w+=\"\w+\"\})? [0-9.e+-]+\n)+\Z")


if __name__ == "__main__":
    unittest.main(verbosity=2)
