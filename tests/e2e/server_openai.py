"""OpenAI's face of sdvk-server, driven by OpenAI's own client library, and by requests that it would never send."""
import clients  # first: it chooses the interpreter
import asyncio
import base64
import io
import json
import random
import struct
import time
import unittest

import openai
from openai.types import ImageEditCompletedEvent, ImageGenCompletedEvent, ImagesResponse, Model
from openai.types import ImageEditPartialImageEvent, ImageGenPartialImageEvent

import service
from generate import chunks, pixels, texts
from service import png

assert clients.PYTHON
FAST = {"steps": 2, "seed": 5}
PROMPT = "a red mug"


OPAQUE = png(64, 64, lambda x, y: (2 * x, 2 * y, 60, 255))
LEFT = png(64, 64, lambda x, y: (2 * x, 2 * y, 60, 0 if x < 32 else 255))  # its left half is to change
WHITE_LEFT = png(64, 64, lambda x, y: (255, 255, 255, 255) if x < 32 else (0, 0, 0, 255))  # the native mask for it


def form(fields, boundary="edge"):
    """A multipart body of (name, file name or None, bytes)."""
    parts = []
    for name, file, data in fields:
        head = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


class OpenAI(service.Case):
    def start(self, *arguments):
        self.server = self.serve(*arguments).ready()
        self.client = openai.OpenAI(base_url=self.server.address + "v1", api_key="none", max_retries=0)
        self.addCleanup(self.client.close)
        return self.client

    def raw(self, call, **fields):
        """The reply's JSON and headers of a call of the client."""
        reply = call(**fields)
        return json.loads(reply.text if isinstance(reply.text, str) else reply.text()), reply.headers

    def native(self, **fields):
        """The same picture by the native face."""
        job = self.server.post("/v1/jobs", {"prompt": PROMPT, "width": 64, "height": 64, **FAST, **fields}).json()
        done = self.server.ended(job["id"])
        self.assertEqual(done["state"], "done", done)
        return self.server.get(done["images"][0]["url"]).body

    def refused(self, call, message, param, **fields):
        with self.assertRaises(openai.BadRequestError) as caught:
            call(**fields)
        found = caught.exception.body
        self.assertEqual(found, {"message": message, "type": "invalid_request_error", "param": param, "code": None})

    def test_generations(self):
        client = self.start()
        found, headers = self.raw(client.images.with_raw_response.generate, prompt=PROMPT, n=2, size="64x64",
                                  quality="high", background="opaque", moderation="low", user="me",
                                  style="vivid", model="mockup", extra_body={**FAST, "cfg_scale": 5})
        self.assertNotIn("X-Sdvk-Warnings", headers)
        # Field by field what the client's own types say, without any conversion.
        ImagesResponse.model_validate(found, strict=True)
        self.assertEqual(set(found), {"created", "data", "background", "output_format", "size", "quality", "usage"})
        self.assertEqual((found["background"], found["output_format"], found["size"], found["quality"]),
                         ("opaque", "png", "64x64", "high"))
        self.assertLess(abs(found["created"] - time.time()), 600)
        self.assertEqual([set(item) for item in found["data"]], [{"b64_json", "seed"}] * 2)
        self.assertEqual([item["seed"] for item in found["data"]], [5, 6])
        first, second = (base64.b64decode(item["b64_json"]) for item in found["data"])
        self.assertEqual(pixels(first), pixels(self.native(cfg_scale=5)))
        self.assertIn("Seed: 6, Size: 64x64", texts(second)["parameters"])

    def test_addresses_and_formats(self):
        client = self.start("--host", "example.com")
        found, headers = self.raw(client.images.with_raw_response.generate, prompt=PROMPT, size="64x64",
                                  model="dall-e-3", output_format="jpeg", output_compression=20, extra_body=FAST)
        ImagesResponse.model_validate(found, strict=True)
        self.assertEqual(headers["X-Sdvk-Warnings"], "model: the default model in place of OpenAI's")
        url = found["data"][0]["url"]
        self.assertRegex(url, f"^http://{self.server.host}/v1/jobs/[0-9a-f-]{{36}}/images/0$")
        reply = self.server.get(url[len("http://" + self.server.host):])
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "image/jpeg"))
        better = client.images.generate(prompt=PROMPT, size="64x64", output_format="jpeg", extra_body=FAST)
        self.assertGreater(len(base64.b64decode(better.data[0].b64_json)), len(reply.body))
        # Behind a proxy that speaks TLS.
        body = {"prompt": PROMPT, "size": "64x64", "response_format": "url", **FAST}
        url = self.server.post("/v1/images/generations", body,
                               headers={"Host": "example.com", "X-Forwarded-Proto": "https"}).json()["data"][0]["url"]
        self.assertTrue(url.startswith("https://example.com/v1/jobs/"), url)

    def test_the_models_own_size_is_told(self):
        found = self.start().images.generate(prompt=PROMPT, size="auto", extra_body={"steps": 1})
        width, height = struct.unpack(">II", next(chunks(base64.b64decode(found.data[0].b64_json)))[1][:8])
        self.assertEqual(found.size, f"{width}x{height}")

    def test_extra_fields(self):
        client = self.start()
        loras = [{"name": "acme", "unet": 0.5}]
        found, headers = self.raw(client.images.with_raw_response.generate, prompt=PROMPT, size="64x64",
                                  extra_body={**FAST, "negative_prompt": "blue", "sampler": "DPM++ 2M Karras",
                                              "loras": loras, "tiling\n": True, "stpes": 3})
        self.assertEqual(headers["X-Sdvk-Warnings"], "tiling?: ignored, stpes: ignored")
        picture = base64.b64decode(found["data"][0]["b64_json"])
        native = self.native(negative_prompt="blue", sampler="DPM++ 2M Karras", loras=loras)
        self.assertEqual(pixels(picture), pixels(native))

    def test_edits(self):
        client = self.start()
        edit = client.images.with_raw_response.edit
        kept = {"prompt": PROMPT, "extra_body": {**FAST, "strength": 0.5}}
        found, _ = self.raw(edit, image=OPAQUE, **kept)
        ImagesResponse.model_validate(found, strict=True)
        self.assertEqual(set(found), {"created", "data", "background", "output_format", "size", "usage"})
        self.assertEqual(found["size"], "64x64")
        plain = pixels(base64.b64decode(found["data"][0]["b64_json"]))
        self.assertEqual(plain, pixels(self.native(init_image=base64.b64encode(OPAQUE).decode(), strength=0.5)))
        # As a list, as a named file, and as JSON with a data URL: the same picture.
        url = "data:image/png;base64," + base64.b64encode(OPAQUE).decode()
        for image in ([OPAQUE], ("x.png", io.BytesIO(OPAQUE), "image/png")):
            found = client.images.edit(image=image, n=1, size="64x64", input_fidelity="high", **kept)
            self.assertEqual(pixels(base64.b64decode(found.data[0].b64_json)), plain)
        body = {"prompt": PROMPT, "images": [{"image_url": url}], "strength": 0.5, **FAST}
        found = self.server.post("/v1/images/edits", body).json()
        self.assertEqual(pixels(base64.b64decode(found["data"][0]["b64_json"])), plain)

    def test_masks_are_transparent_where_the_picture_changes(self):
        client = self.start()
        native = pixels(self.native(init_image=base64.b64encode(OPAQUE).decode(), strength=1,
                                    mask=base64.b64encode(WHITE_LEFT).decode()))
        for images in ({"image": OPAQUE, "mask": LEFT}, {"image": LEFT}):
            found = client.images.edit(prompt=PROMPT, extra_body=FAST, **images)
            self.assertEqual(pixels(base64.b64decode(found.data[0].b64_json)), native)
        self.refused(client.images.edit, "mask: expected 64 x 64 pixels as the picture, found 8 x 8", "mask",
                     prompt=PROMPT, image=OPAQUE, mask=png(8, 8, lambda x, y: (0, 0, 0, 0)))
        grey = self.native()
        self.refused(client.images.edit, "mask: expected transparency where the picture is to change, found a picture "
                     "without any", "mask", prompt=PROMPT, image=OPAQUE, mask=grey)

    def test_pictures_of_other_sizes(self):
        client = self.start()
        odd = png(101, 75, lambda x, y: (2 * x, 2 * y, 60, 0 if x < 50 else 255))
        self.assertEqual(client.images.edit(prompt=PROMPT, image=odd, extra_body=FAST).size, "96x72")
        found = client.images.edit(prompt=PROMPT, image=odd, size="64x128", extra_body=FAST)
        self.assertEqual(found.size, "64x128")
        head = next(chunks(base64.b64decode(found.data[0].b64_json)))[1]
        self.assertEqual(struct.unpack(">II", head[:8]), (64, 128))
        self.refused(client.images.edit, "size: expected 64 to 8192, found 8", "size", prompt=PROMPT,
                     image=png(8, 8, lambda x, y: (0, 0, 0, 255)))

    def test_variations(self):
        client = self.start()
        with self.assertWarns(DeprecationWarning):
            found = client.images.create_variation(image=LEFT, n=2, response_format="b64_json", size="64x64")
        self.assertEqual(len(found.data), 2)
        self.assertEqual(len({item.b64_json for item in found.data}), 2)

    def test_models(self):
        client = self.start("--models", service.program.ROOT / "samples", "--model", service.program.MODEL)
        found = json.loads(self.server.get("/v1/models").body)
        self.assertEqual((found["object"], [m["id"] for m in found["data"]]), ("list", ["mockup"]))
        for model in found["data"]:
            Model.model_validate(model, strict=True)
            self.assertEqual(set(model), {"id", "object", "created", "owned_by"})
        self.assertEqual([m.id for m in client.models.list()], ["mockup"])
        self.assertEqual(client.models.retrieve("mockup").id, "mockup")
        for name in ("none", "folder/none", "x" * 300):
            with self.assertRaises(openai.NotFoundError):
                client.models.retrieve(name)

    def test_streams(self):
        client = self.start()
        cases = ((client.images.generate, {"size": "64x64"}, "image_generation", ImageGenPartialImageEvent,
                  ImageGenCompletedEvent),
                 (client.images.edit, {"image": OPAQUE}, "image_edit", ImageEditPartialImageEvent,
                  ImageEditCompletedEvent))
        for call, fields, name, partial, completed in cases:
            seen = list(call(prompt=PROMPT, stream=True, partial_images=3, extra_body={"steps": 8, "seed": 5}, **fields))
            with self.subTest(name):
                self.assertEqual([event.type for event in seen],
                                 [name + ".partial_image"] * 3 + [name + ".completed"])
                for event in seen:
                    (completed if event is seen[-1] else partial).model_validate(event.to_dict(), strict=True)
                self.assertEqual([event.partial_image_index for event in seen[:-1]], [0, 1, 2])
                self.assertEqual([base64.b64decode(event.b64_json)[:2] for event in seen[:-1]], [b"\xff\xd8"] * 3)
                self.assertEqual(seen[-1].output_format, "png")
                self.assertTrue(base64.b64decode(seen[-1].b64_json).startswith(b"\x89PNG"))
        picture = client.images.generate(prompt=PROMPT, size="64x64", extra_body={"steps": 8, "seed": 5})
        stream = list(client.images.generate(prompt=PROMPT, size="64x64", stream=True,
                                             extra_body={"steps": 8, "seed": 5}))
        self.assertEqual([(e.type, e.b64_json) for e in stream],
                         [("image_generation.completed", picture.data[0].b64_json)])

    def test_a_client_that_leaves_its_stream_cancels_the_job(self):
        self.start()
        connection = self.server.connect()
        connection.request("POST", "/v1/images/generations", json.dumps(
            {"prompt": PROMPT, "stream": True, "partial_images": 1, "steps": 150, "size": "256x256"}))
        reply = connection.getresponse()
        self.assertEqual(reply.readline(), b":\n")
        reply.close()
        connection.close()
        job = self.server.get("/v1/jobs").json()["jobs"][0]["id"]
        self.assertEqual(self.server.ended(job)["state"], "cancelled")

    def test_who_leaves_cancels(self):
        self.start()

        def ask(**fields):
            connection = self.server.connect()
            before = self.newest()
            connection.request("POST", "/v1/images/generations", json.dumps({"prompt": PROMPT, **fields}))
            while (job := self.newest()) == before:
                time.sleep(0.01)
            return connection, job
        running, first = ask(steps=150, size="256x256")
        waiting, second = ask(steps=150, size="256x256")
        staying, third = ask(**FAST, size="64x64")
        while not self.server.get(f"/v1/jobs/{first}").json().get("progress", {}).get("step"):
            time.sleep(0.01)
        waiting.close()
        running.close()
        self.assertEqual(self.server.ended(first)["state"], "cancelled")
        self.assertEqual(self.server.ended(second)["state"], "cancelled")
        self.assertEqual(staying.getresponse().status, 200)
        staying.close()
        self.assertEqual(self.server.ended(third)["state"], "done")

    def newest(self):
        jobs = self.server.get("/v1/jobs?limit=1").json()["jobs"]
        return jobs[0]["id"] if jobs else None

    def test_errors(self):
        client = self.start("--max-steps", 50, "--max-side", 512, "--max-count", 4)
        rows = [({"n": 11}, "n", "n: expected a whole number from 1 to 10, found 11"),
                ({"n": 5}, "n", "n: this server allows at most 4, found 5"),
                ({"size": "big"}, "size", 'size: expected "auto" or width x height such as "512x768", found \'big\''),
                ({"size": "66x64"}, "size", "size: expected a multiple of 8, found 66; try 64"),
                ({"size": "64x1024"}, "size", "size: this server allows at most 512, found 1024"),
                ({"output_format": "webp"}, "output_format",
                 'output_format: webp cannot be written here; expected "png" or "jpeg"'),
                ({"background": "transparent"}, "background",
                 'background: transparent pictures cannot be made here; expected "auto" or "opaque"'),
                ({"quality": "best"}, "quality", 'quality: expected one of "auto", "low", "medium", "high", '
                 '"standard", "hd", found \'best\''),
                ({"response_format": "file"}, "response_format",
                 'response_format: expected one of "url", "b64_json", found \'file\''),
                ({"partial_images": 4, "stream": False}, "partial_images",
                 "partial_images: expected a whole number from 0 to 3, found 4"),
                ({"output_compression": 101}, "output_compression",
                 "output_compression: expected a whole number from 0 to 100, found 101"),
                ({"extra_body": {"stream": "yes"}}, "stream", "stream: expected true or false, found 'yes'"),
                ({"extra_body": {"steps": 51}}, "steps", "steps: this server allows at most 50, found 51"),
                ({"extra_body": {"steps": "9"}}, "steps", "steps: expected a whole number, found '9'"),
                ({"extra_body": {"loras": [{"name": "../x"}]}}, "loras",
                 "loras: expected the name of a file in the model folder, found '../x'"),
                ({"extra_body": {"sampler": "eular"}}, "sampler", "unknown sampler 'eular'; did you mean 'euler'?"),
                ({"extra_body": {"prompt": None}}, "prompt", "prompt: expected a string, found none")]
        for fields, param, message in rows:
            with self.subTest(fields):
                self.refused(client.images.generate, message, param, **{"prompt": PROMPT, "size": "64x64", **fields})
        with self.assertRaises(openai.BadRequestError) as caught:
            client.images.generate(prompt=PROMPT, model="none")
        self.assertEqual(caught.exception.param, "model")
        edit = client.images.edit
        self.refused(edit, "image: expected one picture, found 2; several are not supported", "image", prompt=PROMPT,
                     image=[OPAQUE, OPAQUE])
        self.refused(edit, "image: expected a PNG or JPEG picture, found a GIF picture", "image", prompt=PROMPT,
                     image=b"GIF89a")
        for image, message in (({"image_url": "https://example.com/x.png"},
                                'addresses are not fetched; expected "data:image/png;base64,..."'),
                               ({"file_id": "file-1"}, "files are not kept here; expected "
                                '{"image_url": "data:image/png;base64,..."}')):
            reply = self.server.post("/v1/images/edits", {"prompt": PROMPT, "images": [image]})
            self.assertEqual((reply.status, reply.json()["error"]["message"]), (400, "images: " + message))
        for path in ("/v1/images/generations", "/v1/images/edits"):
            for body in (b"", b"{", b"[]", b'{"prompt": "\\ud800"'):
                reply = self.server.post(path, body)
                self.assertEqual((reply.status, reply.json()["error"]["type"]), (400, "invalid_request_error"))
        reply = self.server.post("/v1/images/generations", {"prompt": PROMPT + "\0 and more"})
        self.assertEqual((reply.status, reply.json()["error"]["message"]),
                         (400, "expected a JSON object, found U+0000 in a string"))

    def test_failures_are_not_tried_again(self):
        self.start()
        # That the encoder has fewer layers is seen when the job runs.
        body = {"prompt": PROMPT, "size": "64x64", "clip_skip": 48, **FAST}
        reply = self.server.post("/v1/images/generations", body)
        self.assertEqual((reply.status, reply.headers["x-should-retry"]), (400, "false"))
        self.assertIn("clip_skip", reply.json()["error"]["message"])
        with self.assertRaises(openai.APIError) as caught:
            list(self.client.images.generate(prompt=PROMPT, size="64x64", stream=True, extra_body={"clip_skip": 48}))
        self.assertIn("clip_skip", caught.exception.message)

    def test_forms_that_no_client_sends(self):
        self.start()
        good = [("prompt", None, b"x"), ("image", "x.png", OPAQUE), ("steps", None, b"1")]
        body, headers = form(good)
        self.assertEqual(self.server.post("/v1/images/edits", body, headers=headers).status, 200)
        rows = [(good + [("prompt", None, b"y")], "prompt: expected it once, found it twice"),
                (good + [("user", None, b"a\0b")], "user: expected a text, found a NUL byte in it"),
                (good + [("x" * 64, None, b"")], "expected fields with names of 1 to 63 bytes"),
                (good + [(f"f{i}", None, b"") for i in range(100)], "expected at most 100 fields, found more"),
                (good + [("n", None, b"two")], "n: expected a whole number from 1 to 10, found 'two'"),
                (good[1:], "prompt: expected a string, found none")]
        for fields, message in rows:
            reply = self.server.post("/v1/images/edits", form(fields)[0], headers=headers)
            self.assertEqual((reply.status, reply.json()["error"]["message"]), (400, message))
        for broken in (body[:-4], body[:200], body[60:], b"", b"--edge--\r\n"):
            self.assertEqual(self.server.post("/v1/images/edits", broken, headers=headers).status, 400)
        for kind in ("multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other"):
            self.assertEqual(self.server.post("/v1/images/edits", body, headers={"Content-Type": kind}).status, 400)
        # Bytes changed, lost, doubled and moved, always the same ones.
        numbers = random.Random(7)
        for _ in range(300):
            data = bytearray(body)
            for _ in range(numbers.randint(1, 6)):
                at, size = numbers.randrange(len(data)), numbers.randint(1, 40)
                data[at:at + numbers.choice((0, 1, size))] = numbers.choice(
                    (b"", b"\r\n", b"--edge", b'"', bytes(numbers.randbytes(size)), bytes(data[at:at + size])))
            self.assertIn(self.server.post("/v1/images/edits", bytes(data), headers=headers).status, (200, 400))
        self.assertEqual(self.server.stop(), (0, ""))

    def test_the_client_that_does_not_wait(self):
        self.start()

        async def both():
            async with openai.AsyncOpenAI(base_url=self.server.address + "v1", api_key="none") as client:
                return await asyncio.gather(*(client.images.generate(prompt=PROMPT, size="64x64",
                                                                     extra_body={"steps": 2, "seed": seed})
                                              for seed in (1, 2)))
        self.assertEqual([reply.data[0].seed for reply in asyncio.run(both())], [1, 2])


if __name__ == "__main__":
    unittest.main(verbosity=2)
