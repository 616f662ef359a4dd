"""The native face of sdvk-server: jobs from their acceptance to their end."""
import base64
import contextlib
import hashlib
import json
import shutil
import signal
import sqlite3
import struct
import time
import unittest

import service
from generate import pixels, texts
from program import MODEL
from service import SMALL


def jpeg_size(data):
    """Width and height, from the first header that has them."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC2):
        at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
    return int.from_bytes(data[at + 7:at + 9], "big"), int.from_bytes(data[at + 5:at + 7], "big")


def enlarge(folder, factor):
    """A copy of the sample model whose UNet is `factor` times as wide, of zeros that need no room on the disk."""
    weights = "unet/diffusion_pytorch_model.safetensors"
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("README.md"))
    config = json.loads((folder / "unet/config.json").read_text())
    for field in ("block_out_channels", "attention_head_dim"):
        config[field] = [factor * number for number in config[field]]
    (folder / "unet/config.json").write_text(json.dumps(config))
    with open(folder / weights, "rb") as file:
        tensors = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    del tensors["__metadata__"]
    # Latents and texts are as wide as before.
    kept = {"conv_in.weight": 1, "conv_out.weight": 0, "conv_out.bias": 0}
    at = 0
    for name, tensor in tensors.items():
        same = kept.get(name, 1 if ".attn2.to_k." in name or ".attn2.to_v." in name else None)
        tensor["shape"] = [size * factor if i < 2 and i != same else size for i, size in enumerate(tensor["shape"])]
        size = 2
        for side in tensor["shape"]:
            size *= side
        tensor["data_offsets"] = [at, at + size]
        at += size
    head = json.dumps(tensors).encode()
    with open(folder / weights, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + at)


class Jobs(service.Case):
    def submit(self, server, expected=202, headers=None, **fields):
        reply = server.post("/v1/jobs", {"prompt": "a red mug", **SMALL, **fields}, headers=headers)
        self.assertEqual(reply.status, expected, reply.body)
        return reply.json()

    def running(self, server, job):
        while server.get(f"/v1/jobs/{job['id']}").json()["state"] != "running":
            time.sleep(0.01)

    def test_a_job_gives_the_picture_of_the_command_line(self):
        server = self.serve().ready()
        job = self.submit(server, loras=[{"name": "acme", "unet": 0.5, "text": 0.25}], count=2)
        ended = server.ended(job["id"])
        self.assertEqual((ended["state"], ended["seed"], len(ended["images"])), ("done", 5, 2))
        self.assertTrue(ended["created"] <= ended["started"] <= ended["finished"])
        self.sdvk("generate", "a red mug", "-m", service.program.MODEL, "--models", service.program.ROOT / "samples",
                  "--width", "64", "--height", "64", "--steps", "2", "--seed", "5", "--count", "2", "--lora",
                  "acme:0.5:0.25", "-o", "{index}.png")
        wanted = [(self.folder / name).read_bytes() for name in sorted(p.name for p in self.folder.glob("*.png"))]
        for image, want in zip(ended["images"], wanted):
            reply = server.get(image["url"])
            self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "image/png"))
            self.assertEqual(pixels(reply.body), pixels(want))
            self.assertEqual(texts(reply.body)["parameters"], texts(want)["parameters"])
        self.assertEqual(server.get(f"/v1/jobs/{job['id']}/images/2").status, 404)

    def test_events_tell_all_of_it(self):
        server = self.serve().ready()
        job = self.submit(server, steps=6, preview_every=2)
        connection = server.connect()
        connection.request("GET", f"/v1/jobs/{job['id']}/events")
        reply = connection.getresponse()
        self.assertEqual(reply.headers["Content-Type"], "text/event-stream")
        seen = list(service.events(reply))
        connection.close()
        names = [name for name, _ in seen]
        self.assertEqual(names[-1], "done")
        self.assertEqual(names.count("preview"), 2)
        fractions = [data["progress"]["fraction"] for name, data in seen if name == "progress"]
        self.assertEqual(fractions, sorted(fractions))
        steps = {data["progress"]["step"] for name, data in seen if name == "progress"}
        self.assertLessEqual({1, 2, 3, 4, 5, 6}, steps)
        for progress in (data["progress"] for name, data in seen if name == "progress"):
            if progress["phase"] == "step":  # what comes before and behind counts as a step each
                self.assertAlmostEqual(progress["fraction"], (1 + progress["step"]) / 8)
        # After the end there is one event left to tell.
        connection.request("GET", f"/v1/jobs/{job['id']}/events")
        self.assertEqual([name for name, _ in service.events(connection.getresponse())], ["done"])
        connection.close()

    def previews(self, server, **fields):
        """Widths and heights of the previews of a job that ends well; the first ones may come before they are asked for."""
        job = self.submit(server, preview_every=1, **fields)
        connection = server.connect()
        connection.request("GET", f"/v1/jobs/{job['id']}/events")
        seen = list(service.events(connection.getresponse()))
        connection.close()
        self.assertEqual(seen[-1][0], "done")
        return {jpeg_size(base64.b64decode(data["jpeg"])) for name, data in seen if name == "preview"}

    def test_previews_with_and_without_a_taesd(self):
        """A pixel for 8 x 8, or a picture by the small autoencoder of the model folder; one that is broken is one warning,
        and no job's matter."""
        folder = self.folder / "models/vae_approx"
        folder.mkdir(parents=True)
        arguments = ("--models", self.folder / "models", "--model", service.program.MODEL)
        shape = {"width": 128, "height": 64, "steps": 20}
        server = self.serve(*arguments).ready()
        self.assertEqual(self.previews(server, **shape), {(16, 8)})
        self.assertEqual(server.stop(), (0, ""))

        taesd = folder / "taesd_decoder.safetensors"
        taesd.write_bytes((service.program.ROOT / "tests/golden/parts/taesd_decoder.safetensors").read_bytes())
        server = self.serve(*arguments).ready()
        self.assertEqual(self.previews(server, **shape), {(128, 64)})
        self.assertEqual(server.stop(), (0, ""))

        taesd.write_bytes(taesd.read_bytes()[:-1])
        server = self.serve(*arguments).ready()
        for seed in (1, 2):
            self.assertEqual(self.previews(server, **{**shape, "seed": seed}), {(16, 8)})
        code, errors = server.stop()
        self.assertEqual(code, 0)
        self.assertEqual(errors.count("\n"), 1)
        self.assertIn(f"sdvk-server: warning: previews go without a TAESD: {taesd}: ", errors)

    def test_cancel_waiting_and_running(self):
        server = self.serve().ready()
        running = self.submit(server, steps=150)
        self.running(server, running)
        waiting = self.submit(server)
        last = self.submit(server)
        self.assertEqual(server.get(f"/v1/jobs/{last['id']}").json()["position"], 1)
        self.assertEqual(server.call("DELETE", f"/v1/jobs/{waiting['id']}").status, 202)
        self.assertEqual(server.ended(waiting["id"])["state"], "cancelled")
        self.assertEqual(server.get(f"/v1/jobs/{last['id']}").json()["position"], 0)
        while server.get(f"/v1/jobs/{running['id']}").json().get("progress", {}).get("step", 0) < 1:
            time.sleep(0.01)
        server.call("DELETE", f"/v1/jobs/{running['id']}")
        self.assertEqual(server.ended(running["id"])["state"], "cancelled")
        self.assertEqual(server.ended(last["id"])["state"], "done")
        # A job that has ended is forgotten.
        self.assertEqual(server.call("DELETE", f"/v1/jobs/{last['id']}").status, 200)
        self.assertEqual(server.get(f"/v1/jobs/{last['id']}").status, 404)

    def test_pictures_that_are_made_stay(self):
        server = self.serve("--state", "state", "--audit", "audit.jsonl").ready()
        job = self.submit(server, count=3, steps=40, seed=5)["id"]
        while server.get(f"/v1/jobs/{job}").json().get("progress", {}).get("image") != 1:
            time.sleep(0.005)
        server.call("DELETE", f"/v1/jobs/{job}")
        ended = server.ended(job)
        self.assertEqual((ended["state"], [image["seed"] for image in ended["images"]]), ("cancelled", [5]))
        picture = server.get(ended["images"][0]["url"]).body
        alone = server.ended(self.submit(server, steps=40, seed=5)["id"])
        self.assertEqual(picture, server.get(alone["images"][0]["url"]).body)
        self.assertIn("\nsdvk_pictures_total 2\n", server.get("/metrics").body.decode())
        self.assertEqual(server.stop(), (0, ""))
        entries = [json.loads(line)["entry"] for line in (self.folder / "audit.jsonl").read_text().splitlines()]
        [cancelled] = [entry for entry in entries if entry["event"] == "cancelled"]
        self.assertEqual(cancelled["pictures"], [hashlib.sha256(picture).hexdigest()])
        server = self.serve("--state", "state")
        self.assertEqual(server.get(ended["images"][0]["url"]).body, picture)

    def test_cancel_while_a_model_is_loaded(self):
        models = self.folder / "models/Stable-diffusion"
        models.mkdir(parents=True)
        (models / "small").symlink_to(MODEL)
        enlarge(models / "large", 8)  # 0.7 GB: much more than a cancel takes to arrive
        server = self.serve("--models", self.folder, "--model", "small", "--keep-models", 1).ready()
        server.ended(self.submit(server)["id"])
        large = self.submit(server, model="large")
        after = self.submit(server)
        self.running(server, large)
        self.assertEqual(server.call("DELETE", f"/v1/jobs/{large['id']}").status, 202)
        ended = server.ended(large["id"])
        self.assertEqual((ended["state"], ended["error"]), ("cancelled", {"code": "cancelled", "message": "cancelled"}))
        self.assertEqual(server.ended(after["id"])["state"], "done")
        # Had it been loaded to its end, it would be there now.
        self.assertIn("\nsdvk_models_loaded 1\n", server.get("/metrics").body.decode())
        self.assertEqual(server.stop(), (0, ""))

    def test_one_key_makes_one_job(self):
        server = self.serve("--state", "state").ready()
        first = self.submit(server, headers={"Idempotency-Key": "x"})
        again = self.submit(server, 200, headers={"Idempotency-Key": "x"}, prompt="another")
        other = self.submit(server, headers={"Idempotency-Key": "y"})
        self.assertEqual(first["id"], again["id"])
        self.assertNotEqual(first["id"], other["id"])

    def test_refusals(self):
        server = self.serve("--max-steps", 50, "--max-side", 512, "--max-count", 4)
        rows = [({"stpes": 3}, "stpes", "unknown field 'stpes'"),
                ({"steps": "3"}, "steps", "steps: expected a whole number, found '3'"),
                ({"steps": 2.5}, "steps", "steps: expected a whole number, found '2.5'"),
                ({"steps": 51}, "steps", "steps: this server allows at most 50, found 51"),
                ({"width": 520}, "width", "width: this server allows at most 512, found 520"),
                ({"width": 100}, "width", "width: expected a multiple of 8, found 100; try 104"),
                ({"count": 5}, "count", "count: this server allows at most 4, found 5"),
                ({"prompt": None}, "prompt", "prompt: expected a string, found none"),
                ({"prompt": 3}, "prompt", "prompt: expected a string, found 3"),
                ({"sampler": "eular"}, "sampler", "unknown sampler 'eular'; did you mean 'euler'?"),
                ({"format": "gif"}, "format", "format: expected \"png\" or \"jpeg\", found 'gif'"),
                ({"quality": 101}, "quality", "quality: expected a whole number from 1 to 100, found 101"),
                ({"model": "../mockup"}, "model",
                 "model: expected the name of a file in the model folder, found '../mockup'"),
                ({"model": "/etc/passwd"}, "model",
                 "model: expected the name of a file in the model folder, found '/etc/passwd'"),
                ({"loras": {}}, "loras", "loras: expected an array, found an object"),
                ({"loras": [3]}, "loras",
                 'loras: expected objects such as {"name": "acme", "unet": 0.8}, found 3'),
                ({"loras": [{"name": "acme", "strength": 1}]}, "loras",
                 "loras: unknown field 'strength'; there are name, unet, text, blocks"),
                ({"loras": [{"name": "acne"}]}, "loras",
                 "loras: 'acne': no LoRA of this name in loras; did you mean 'acme'?"),
                ({"loras": [{"name": "acme", "unet": 101}]}, "loras",
                 "loras: unet: expected a number from -100 to 100, found 101")]
        for fields, field, message in rows:
            with self.subTest(fields):
                reply = server.post("/v1/jobs", {"prompt": "a mug", **fields})
                self.assertEqual((reply.status, reply.json()), (422, {"error": message, "field": field}))
        for body in (b"", b"{", b"[]", b"{} x", b'{"prompt": "\x00"}', b"[" * 2000):
            reply = server.post("/v1/jobs", body)
            self.assertEqual((reply.status, reply.json()), (422, {"error": "expected a JSON object"}))
        reply = server.post("/v1/jobs", {"prompt": "a mug\0 and more"})
        self.assertEqual((reply.status, reply.json()), (
            422, {"error": "expected a JSON object, found U+0000 in a string"}))
        self.assertEqual(server.get("/v1/jobs").json(), {"jobs": []})

    def test_limits_hold_for_what_a_request_leaves_open(self):
        server = self.serve("--max-steps", 3, "--max-side", 128).ready()
        done = server.ended(server.post("/v1/jobs", {"prompt": "a mug", "seed": 1, "strength": 0.01}).json()["id"])
        picture = server.get(done["images"][0]["url"]).body
        self.assertRegex(texts(picture)["parameters"], r"Steps: 3, .*Size: 128x128")
        large = base64.b64encode(self.picture(136)).decode()
        failed = server.ended(self.submit(server, init_image=large, width=None, height=None)["id"])
        self.assertEqual(failed["error"]["message"],
                         "init_image: this server allows sides of at most 128 pixels, found 136 x 136")

    def test_limits_hold_for_a_side_that_is_left_open(self):
        """The model's own size is 256 x 256."""
        server = self.serve("--max-pixels", 20, "--max-side", 192).ready()
        picture = base64.b64encode(self.picture(64)).decode()
        masked = {"init_image": picture, "mask": picture, "mask_area": "masked"}
        for fields, size in (({}, "136x136"), ({"width": 128}, "128x152"), ({"height": 64}, "192x64"),
                             ({"width": 136}, "136x144"), (masked, "136x136")):
            with self.subTest(fields):
                reply = server.post("/v1/jobs", {"prompt": "a mug", "steps": 1, "strength": 1, **fields})
                ended = server.ended(reply.json()["id"])
                self.assertEqual(ended["state"], "done", ended)
                self.assertIn(f"Size: {size}, ", texts(server.get(ended["images"][0]["url"]).body)["parameters"])

    def picture(self, side):
        self.sdvk("generate", "x", "-m", service.program.MODEL, "--width", side, "--height", side, "--steps", 1, "-o",
                  "large.png")
        return (self.folder / "large.png").read_bytes()

    def test_seeds_keep_their_digits(self):
        server = self.serve("--state", "state").ready()
        job = self.submit(server, seed=2 ** 53 - 1, count=2)
        self.assertEqual(job["seed"], 2 ** 53 - 1)
        done = server.ended(job["id"])
        self.assertEqual([image["seed"] for image in done["images"]], [2 ** 53 - 1, 2 ** 53])
        with contextlib.closing(sqlite3.connect(self.folder / "state/jobs.sqlite")) as store:
            request = json.loads(store.execute("SELECT request FROM jobs").fetchone()[0])
        self.assertEqual(request["seed"], 2 ** 53 - 1)  # which a restarted server would read

    def test_lists_by_pages(self):
        server = self.serve()
        ids = [self.submit(server)["id"] for _ in range(3)]
        found = server.get("/v1/jobs?skip=1&limit=1").json()["jobs"]
        self.assertEqual([job["id"] for job in found], [ids[1]])
        for query, message in (("limit=0", "limit: expected a whole number from 1 to 500, found '0'"),
                               ("limit=x", "limit: expected a whole number from 1 to 500, found 'x'"),
                               ("skip=-1", "skip: expected a whole number from 0 to 2147483647, found '-1'")):
            reply = server.get("/v1/jobs?" + query)
            self.assertEqual((reply.status, reply.json()), (422, {"error": message, "field": query.split("=")[0]}))

    def test_limits_of_queue_and_body(self):
        server = self.serve("--max-queue", 2, "--max-body", 1).ready()
        running = self.submit(server, steps=150)
        self.running(server, running)
        self.submit(server)
        self.submit(server)
        reply = server.post("/v1/jobs", {"prompt": "a mug"})
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (429, "10"))
        reply = server.post("/v1/jobs", b'{"prompt": "' + b"x" * (1 << 20) + b'"}')
        self.assertEqual(reply.status, 413)
        self.assertEqual(reply.json()["error"], "the body is larger than the limit of 1 MiB")

    def test_bad_pictures_fail_their_job_and_no_other(self):
        server = self.serve().ready()
        bad = server.ended(self.submit(server, init_image="aGVsbG8=")["id"])
        self.assertEqual((bad["state"], bad["error"]["code"]), ("failed", "format"))
        self.assertIn("init_image", bad["error"]["message"])
        bad = server.ended(self.submit(server, init_image="?")["id"])
        self.assertEqual(bad["error"]["message"],
                         "init_image: expected a picture as base64, found other characters")
        # Where the server keeps its files is not told.
        bad = server.ended(self.submit(server, prompt="a <lora:acne:1> mug")["id"])
        self.assertEqual(bad["error"], {"code": "not_found", "message": "prompt: column 3: 'acne': no LoRA of this name "
                                                                        "in loras; did you mean 'acme'?"})
        self.assertEqual(server.ended(self.submit(server)["id"])["state"], "done")

    def test_a_killed_server_goes_on(self):
        server = self.serve("--state", "state").ready()
        jobs = [self.submit(server, steps=20, seed=seed)["id"] for seed in range(3)]
        while not server.get(f"/v1/jobs/{jobs[0]}").json().get("progress", {}).get("step"):
            time.sleep(0.01)
        server.stop(signal.SIGKILL)
        server = self.serve("--state", "state").ready()
        for job in jobs:
            self.assertEqual(server.ended(job)["state"], "done")
        self.assertEqual(len(server.get("/v1/jobs").json()["jobs"]), 3)

    def test_the_end_by_signal(self):
        server = self.serve("--state", "state").ready()
        first = self.submit(server)["id"]
        second = self.submit(server)["id"]
        code, errors = server.stop()
        self.assertEqual((code, errors), (0, ""))
        server = self.serve("--state", "state").ready()
        for job in (first, second):
            self.assertEqual(server.ended(job)["state"], "done")

    def test_addresses(self):
        server = self.serve()
        self.assertEqual(server.get("/healthz").json(), {"status": "ok"})
        self.assertEqual(server.get("/nowhere").status, 404)
        reply = server.call("PUT", "/v1/jobs", b"")
        self.assertEqual((reply.status, reply.headers["Allow"]), (405, "POST, GET"))
        self.assertEqual(server.get("/v1/jobs/" + "x" * 100).status, 404)
        self.assertEqual(json.loads(server.get("/v1/jobs/none").body), {"error": "there is no such job"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
