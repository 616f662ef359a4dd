"""sdvk-server under kill -9, a disk that is full, a store that is taken away, and a device that is lost: every
job that was accepted ends exactly once, no picture is torn, and the server lives on."""
import hashlib
import http.client
import json
import os
import pathlib
import random
import resource
import signal
import threading
import time
import unittest

import service
from generate import pixels
from service import SMALL

CC = os.environ.get("CC", "cc")
SEEDS = range(4)


def request(seed):
    return {"prompt": "an acme red mug", **SMALL, "steps": 1, "seed": seed}


class Clients:
    """Threads that submit jobs, each under a key of its own, and ask again until they know that it was accepted,
    whatever happens to the server meanwhile."""

    def __init__(self, count):
        self.server, self.stopping = None, False
        self.jobs = {}  # key: (id, seed)
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(count)]

    def start(self, server):
        self.server = server
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def work(self, number):
        turn = 0
        while not self.stopping:
            key, seed = f"{number}-{turn}", (number + turn) % len(SEEDS)
            try:
                reply = self.server.post("/v1/jobs", request(seed), headers={"Idempotency-Key": key}, timeout=60)
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)  # it was killed; the next one is asked
                continue
            if reply.status in (200, 202):
                self.jobs[key] = (reply.json()["id"], seed)
                turn += 1
            else:
                assert reply.status == 429, reply.body
                time.sleep(0.02)


class Faults(service.Case):
    def reference(self):
        """Hash of each seed's picture, from a server that nothing happens to."""
        server = self.serve().ready()
        hashes = {}
        for seed in SEEDS:
            job = server.ended(server.post("/v1/jobs", request(seed)).json()["id"])
            picture = server.get(job["images"][0]["url"]).body
            pixels(picture)
            hashes[seed] = hashlib.sha256(picture).hexdigest()
        server.stop()
        self.assertEqual(len(set(hashes.values())), len(SEEDS))
        return hashes

    def done_of(self, server):
        text = server.get("/metrics").body.decode()
        return int(text.split('sdvk_jobs_total{state="done"} ')[1].split("\n")[0])

    def all_jobs(self, server):
        jobs = []
        while page := server.get(f"/v1/jobs?limit=500&skip={len(jobs)}").json()["jobs"]:
            jobs += page
        return jobs

    def test_kill_at_random_moments(self):
        hashes = self.reference()
        draw = random.Random(20)
        arguments = ("--state", "state", "--audit", "audit.jsonl", "--max-queue", 12)
        clients = Clients(4)
        self.addCleanup(clients.stop)
        server = self.serve(*arguments)
        clients.start(server)
        for kill in range(50):
            # Most while it takes up its jobs and loads the model, the rest while pictures are finished and stored.
            if kill % 3 == 2:
                while not self.done_of(server):
                    time.sleep(0.01)
                time.sleep(draw.uniform(0, 0.3))
            else:
                time.sleep(draw.uniform(0, 0.5))
            server.stop(signal.SIGKILL)
            clients.server = server = self.serve(*arguments)
        clients.stop()
        for job, seed in clients.jobs.values():
            ended = server.ended(job)
            self.assertEqual((ended["state"], ended["seed"], len(ended["images"])), ("done", seed, 1), ended)
            picture = server.get(ended["images"][0]["url"]).body
            self.assertEqual(hashlib.sha256(picture).hexdigest(), hashes[seed])
        known = {job for job, _ in clients.jobs.values()}
        self.assertEqual(len(known), len(clients.jobs))
        self.assertEqual(sorted(job["id"] for job in self.all_jobs(server)), sorted(known))
        self.assertEqual(server.stop(), (0, ""))
        self.check_audit(known)
        print(f"{len(known)} jobs through 50 kills")

    def test_stopped_and_continued(self):
        """What a shell's job control and debuggers do to it: no end."""
        server = self.serve().ready()
        job = self.submit(server, steps=20).json()["id"]
        for _ in range(3):
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            server.process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        self.assertEqual(server.ended(job)["state"], "done")
        self.assertEqual(self.submit(server).status, 202)
        self.assertEqual(server.stop(), (0, ""))

    def check_audit(self, jobs):
        """Accepted once, done at most once: a server that is killed between storing an end and writing it into the
        log leaves the entry out."""
        self.sdvk("audit", "verify", "audit.jsonl")
        entries = [json.loads(line)["entry"] for line in (self.folder / "audit.jsonl").read_text().splitlines()]
        accepted = [entry["job"] for entry in entries if entry["event"] == "accepted"]
        done = [entry["job"] for entry in entries if entry["event"] == "done"]
        self.assertEqual(len(set(accepted)), len(accepted))
        self.assertEqual(len(set(done)), len(done))
        self.assertLessEqual(jobs, set(accepted))
        self.assertLessEqual(set(done), jobs)
        self.assertGreaterEqual(len(done), len(jobs) - 50)

    # ---- the disk ----

    def submit(self, server, **fields):
        return server.post("/v1/jobs", {**request(0), **fields})

    def meet_a_full_disk(self, server, fill, free, why):
        """What is refused, fails, still works, and goes on by itself, in a server with the store "state"."""
        why = "the job store: " + why
        before = server.ended(self.submit(server).json()["id"])
        hold = self.submit(server, steps=60).json()["id"]
        waiting = self.submit(server).json()["id"]
        fill()
        refused = self.submit(server)
        self.assertEqual((refused.status, refused.json()), (503, {"error": "the job cannot be kept: " + why}))
        self.assertEqual(server.get("/healthz").json(), {"status": "ok", "trouble": why})
        for job in (hold, waiting):
            ended = server.ended(job)
            self.assertEqual((ended["state"], ended["error"]), ("failed", {"code": "io", "message": why}))
        self.assertEqual(self.submit(server).status, 503)
        unready = server.get("/readyz")
        self.assertEqual((unready.status, unready.json()["status"], unready.json()["error"]), (503, "failed", why))
        pixels(server.get(before["images"][0]["url"]).body)
        kept = server.call("DELETE", f"/v1/jobs/{before['id']}")
        self.assertEqual((kept.status, kept.json()), (503, {"error": why}))
        free()
        server.ready()  # without any job
        self.assertEqual(server.get("/healthz").json(), {"status": "ok"})
        self.assertEqual(server.call("DELETE", f"/v1/jobs/{before['id']}").status, 200)
        self.assertEqual(server.call("DELETE", f"/v1/jobs/{waiting}").status, 200)
        later = server.ended(self.submit(server).json()["id"])
        self.assertEqual(later["state"], "done")
        self.assertEqual({job["id"]: job["state"] for job in self.all_jobs(server)},
                         {hold: "failed", later["id"]: "done"})
        return hold, later["id"]

    def limit(self, server, size):
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def test_an_audit_log_that_may_not_grow(self):
        """Nothing is rendered that it does not know, and what ended meanwhile is written later."""
        log, away = self.folder / "audit.jsonl", self.folder / "away"
        for break_it, mend_it, why in (
                (lambda s: self.limit(s, 1), lambda s: self.limit(s, resource.RLIM_INFINITY), "File too large"),
                (lambda s: log.rename(away), lambda s: away.rename(log), "the file was removed or replaced")):
            server = self.serve("--audit", "audit.jsonl").ready()
            running = self.submit(server, steps=60).json()["id"]
            break_it(server)
            refused = self.submit(server)
            self.assertEqual((refused.status, refused.json()),
                             (503, {"error": f"the job cannot be kept: the audit log: {why}"}))
            self.assertEqual(server.get("/healthz").json(), {"status": "ok", "trouble": f"the audit log: {why}"})
            self.assertEqual(server.ended(running)["state"], "done")
            unready = server.get("/readyz")
            self.assertEqual((unready.status, unready.json()["error"]), (503, f"the audit log: {why}"))
            mend_it(server)
            server.ready()  # without any job
            self.assertEqual(server.get("/healthz").json(), {"status": "ok"})
            self.assertEqual(server.ended(self.submit(server).json()["id"])["state"], "done")
            self.assertEqual(server.stop(), (0, f"sdvk-server: error: the audit log: {why}; the end of a job is "
                                                "written later\n"))
            self.sdvk("audit", "verify", "audit.jsonl")
            entries = [json.loads(line)["entry"] for line in log.read_text().splitlines()][-5:]
            self.assertEqual([entry["event"] for entry in entries], ["accepted", "done", "resumed", "accepted", "done"])
            self.assertEqual(entries[1]["job"], running)

    def test_a_file_that_may_not_grow(self):
        server = self.serve("--state", "state").ready()
        hold, later = self.meet_a_full_disk(server, lambda: self.limit(server, 1),
                                            lambda: self.limit(server, resource.RLIM_INFINITY), "disk I/O error")
        self.assertEqual(server.stop(), (0, ""))
        # What ended meanwhile has ended once, also after a restart.
        server = self.serve("--state", "state").ready()
        self.assertEqual({job["id"]: job["state"] for job in self.all_jobs(server)}, {hold: "failed", later: "done"})

    def small_disk(self):
        """A command that mounts 4 MiB at "state" for the server alone."""
        for options in ("-m", "-rm"):  # the second needs no root, where namespaces of users are allowed
            if service.program.run("unshare", options, "mount", "-t", "tmpfs", "none", self.folder).returncode == 0:
                (self.folder / "state").mkdir()
                return "unshare", options, "sh", "-c", 'mount -t tmpfs -o size=4m none state && exec "$@"', "sh"
        self.skipTest("nothing can be mounted here")

    def test_a_full_disk(self):
        server = self.serve("--state", "state", before=self.small_disk()).ready()
        # The server's own view of the file system.
        filler = pathlib.Path(f"/proc/{server.process.pid}/root{self.folder}/state/filler")

        def fill():
            with open(filler, "wb", buffering=0) as file, self.assertRaisesRegex(OSError, "No space left"):
                while True:
                    file.write(bytes(4096))
        self.meet_a_full_disk(server, fill, filler.unlink, "the disk is full")
        self.assertEqual(server.stop(), (0, ""))

    def test_a_store_that_is_taken_away(self):
        server = self.serve("--state", "state").ready()
        store, away = self.folder / "state/jobs.sqlite", self.folder / "away"

        def replace():
            store.rename(away)
            store.write_bytes(away.read_bytes())
        self.meet_a_full_disk(server, replace, lambda: away.rename(store), "its file was removed or replaced")
        store.rename(away)
        self.assertEqual(self.submit(server).status, 503)
        away.rename(store)
        self.assertEqual(self.submit(server).status, 202)
        self.assertEqual(server.stop(), (0, ""))

    def test_a_store_that_cannot_be_written(self):
        (self.folder / "file").write_text("")
        (self.folder / "torn").mkdir()
        (self.folder / "torn/jobs.sqlite").write_bytes(b"no database at all" * 100)
        for name, message in (("file", "file/jobs.sqlite: unable to open database file: Not a directory"),
                              ("no/where", "no/where: No such file or directory"),
                              ("torn", "torn/jobs.sqlite: file is not a database")):
            done = service.program.run(service.SERVER, "--state", name, "--listen", "127.0.0.1:0", cwd=self.folder)
            self.assertEqual((done.returncode, done.stderr), (1, f"sdvk-server: {message}\n"))

    def test_two_servers(self):
        first = self.serve("--state", "state", "--audit", "audit.jsonl").ready()
        for arguments, message in ((("--state", "state"), "state: another sdvk-server uses this folder"),
                                   (("--audit", "audit.jsonl"), "audit.jsonl: another process writes it")):
            done = service.program.run(service.SERVER, *arguments, "--listen", "127.0.0.1:0", cwd=self.folder)
            self.assertEqual((done.returncode, done.stderr), (1, f"sdvk-server: {message}\n"))
        self.sdvk("audit", "verify", "audit.jsonl")
        first.stop(signal.SIGKILL)
        self.serve("--state", "state", "--audit", "audit.jsonl").ready()

    # ---- the device ----

    def test_a_lost_device(self):
        # A list of libraries is split at blanks, which the folder has.
        library, trigger = self.folder / "lost_device.so", self.folder / "lose"
        self.ok(CC, "-shared", "-fPIC", "-O1", pathlib.Path(__file__).with_name("lost_device.c"), "-o", library, "-ldl")
        # AddressSanitizer wants to come first, but this library does nothing that it watches.
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        server = self.serve(env={**os.environ, "LD_PRELOAD": f"./{library.name}", "LOSE_DEVICE": str(trigger),
                                 "ASAN_OPTIONS": asan.lstrip(":")}).ready()
        first = self.submit(server, steps=100, count=2).json()["id"]
        second = self.submit(server).json()["id"]
        while server.get(f"/v1/jobs/{first}").json().get("progress", {}).get("image") != 1:
            time.sleep(0.01)
        trigger.write_text("")
        lost = server.ended(first)
        self.assertEqual((lost["state"], lost["error"]["code"]), ("failed", "device_lost"))
        [made] = lost["images"]  # the picture before
        pixels(server.get(made["url"]).body)
        self.assertFalse(trigger.exists())
        self.assertEqual(server.ended(second)["state"], "done")
        server.ready()
        metrics = server.get("/metrics").body.decode()
        for line in ("sdvk_lost_devices_total 1", 'sdvk_jobs_total{state="failed"} 1', 'sdvk_jobs_total{state="done"} 1'):
            self.assertIn(line + "\n", metrics)
        # With nothing to do it opens the device again all the same.
        third = self.submit(server, steps=100).json()["id"]
        while not server.get(f"/v1/jobs/{third}").json().get("progress", {}).get("step"):
            time.sleep(0.01)
        trigger.write_text("")
        self.assertEqual(server.ended(third)["error"]["code"], "device_lost")
        server.ready()
        code, errors = server.stop()
        self.assertEqual(code, 0, errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
