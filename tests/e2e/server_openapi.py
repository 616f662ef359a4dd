"""The server's OpenAPI document: whether it says what the routes, options and fields are, and whether the server keeps
to it, which schemathesis tries with thousands of requests."""
import clients  # first: it chooses the interpreter
import json
import signal
import unittest

import jsonschema_rs

import service
from program import ROOT, SDVK, run

TEMPLATE = json.loads((ROOT / "server/openapi.json").read_text())
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
SMALL = ("--max-steps", 1, "--max-side", 64, "--max-count", 1, "--max-queue", 100000)


def references(value):
    """Every "$ref" within a value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


class OpenAPI(service.Case):
    def document(self, *arguments, headers=None):
        server = self.serve(*arguments)
        reply = server.get("/openapi.json", headers=headers)
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "application/json"))
        return server, reply.json()

    def test_every_route_is_described_and_nothing_else(self):
        _, found = self.document()
        for path, described in TEMPLATE["paths"].items():
            with self.subTest(path):
                self.assertEqual(set(described) & METHODS, set(found["paths"][path]) & METHODS)
        # Of A1111's calls alone no more is said than that they are there.
        ours = {path for path in found["paths"] if not path.startswith(("/sdapi/", "/controlnet/"))}
        self.assertEqual(ours, set(TEMPLATE["paths"]))

    def test_its_schemas_are_schemas(self):
        _, found = self.document()
        schemas = found["components"]["schemas"]
        for name in references(found):
            self.assertIn(name.removeprefix("#/components/schemas/"), schemas)
        for name, schema in schemas.items():
            with self.subTest(name):
                jsonschema_rs.meta.validate(schema)

    def test_options_and_files_are_those_of_the_server(self):
        server, found = self.document("--max-side", 512, "--max-steps", 50, "--models", ROOT / "samples", "--model",
                                      service.program.MODEL)
        job = found["components"]["schemas"]["JobRequest"]["properties"]
        self.assertEqual(job["steps"]["maximum"], 50)
        self.assertEqual((job["width"]["maximum"], job["width"]["multipleOf"]), (512, 8))
        self.assertEqual(job["model"]["enum"], ["mockup", None])
        self.assertIn("acme", found["components"]["schemas"]["Lora"]["properties"]["name"]["enum"])
        self.assertIn("DPM++ 2M", job["sampler"]["enum"])
        self.assertEqual(job["seed"]["maximum"], 2 ** 53 - 1)
        # Options of the command line that are a picture's are fields of a job.
        words = run(SDVK, "generate", "--help").stdout.split()
        for name in job:
            if "--" + name.replace("_", "-") not in words:
                self.assertIn(name, {"prompt", "loras", "mask", "format", "quality", "preview_every", "webhook", "model",
                                     "vae", "init_image"})
        self.assertEqual(server.post("/v1/jobs", {**dict.fromkeys(job), "prompt": "x"}).status, 202)

    def test_keys(self):
        secret = self.new_key("me")
        server = self.serve("--api-keys", "keys.txt")
        self.assertEqual(server.get("/openapi.json").status, 401)
        found = server.get("/openapi.json", headers={"Authorization": f"Bearer {secret}"}).json()
        self.assertEqual(found["security"], [{"bearer": []}, {"key": []}])
        self.assertEqual(found["paths"]["/healthz"]["get"]["security"], [])
        self.assertIn("401", found["paths"]["/v1/jobs"]["get"]["responses"])

    def test_schemathesis_finds_nothing(self):
        server = self.serve(*SMALL).ready()
        done = run(clients.PYTHON.parent / "st", "--config-file", ROOT / "tests/e2e/schemathesis.toml", "run",
                   server.address + "openapi.json", "--seed", "1", "--max-examples", "5", "--no-color",
                   "--continue-on-failure", cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIsNone(server.process.poll())
        self.assertEqual(server.get("/healthz").status, 200)
        server.stop(signal.SIGKILL)


if __name__ == "__main__":
    unittest.main(verbosity=2)
