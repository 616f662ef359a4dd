"""What sdvk-server costs beside rendering: pictures by 8 clients against the command line's in a row, in alternation so
that both meet the same machine, and the time that requests take which render nothing. No test; run by hand:

    VK_DRIVER_FILES=... tests/e2e/service_bench.py [PIXELS [STEPS [ROUNDS]]]
"""
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from program import MODEL, SDVK
from service import Server

CLIENTS, PICTURES = 8, 8


def cpu_of(process):
    """Seconds of processor time so far."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def by_clients(server, fields):
    """(seconds, seconds of processor time) of PICTURES jobs of CLIENTS clients."""
    began, cpu = time.monotonic(), cpu_of(server.process.pid)

    def client(number):
        for turn in range(PICTURES // CLIENTS):
            job = server.post("/v1/jobs", {**fields, "seed": number + turn * CLIENTS}).json()["id"]
            connection = server.connect()
            connection.request("GET", f"/v1/jobs/{job}/events")
            assert b"event: done" in connection.getresponse().read()
            connection.request("GET", f"/v1/jobs/{job}/images/0")
            connection.getresponse().read()
            connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began, cpu_of(server.process.pid) - cpu


def in_a_row(fields, folder, count):
    """(seconds without loading, seconds of processor time with it) of `count` pictures of the command line."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([SDVK, "generate", fields["prompt"], "-m", MODEL, "--width", str(fields["width"]), "--height",
                           str(fields["height"]), "--steps", str(fields["steps"]), "--seed", "0", "--count", str(count),
                           "--json", "--overwrite", "-o", f"{folder}/{{index}}.png"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout)["seconds"], cpu


def typical(server, count, *call, **options):
    """Median milliseconds of a request on a connection of its own, and the status."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        reply = server.call(*call, **options)
        seconds.append(time.monotonic() - began)
    return f"{1e3 * statistics.median(seconds):.2f} ms ({reply.status})"


def changing(server, fields):
    """Median milliseconds of what writes into the job store, on the disk of the temporary folder."""
    long = server.post("/v1/jobs", {**fields, "steps": 150}).json()["id"]
    made, ended = [], []
    for seed in range(50):
        began = time.monotonic()
        job = server.post("/v1/jobs", {**fields, "seed": seed}).json()["id"]
        made.append(time.monotonic() - began)
        began = time.monotonic()
        server.call("DELETE", f"/v1/jobs/{job}")
        ended.append(time.monotonic() - began)
    server.call("DELETE", f"/v1/jobs/{long}")
    print(f"POST of a job: {1e3 * statistics.median(made):.2f} ms, DELETE of one that waits: "
          f"{1e3 * statistics.median(ended):.2f} ms")
    server.ended(long)


def main():
    pixels, steps, rounds = (int(text) for text in (*sys.argv[1:], *("256", "20", "3")[len(sys.argv) - 1:]))
    fields = {"prompt": "a red mug", "width": pixels, "height": pixels, "steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        server = Server("--state", f"{folder}/state").ready()
        print(server.get("/readyz").json()["device"])
        job = server.post("/v1/jobs", {**fields, "seed": 0}).json()["id"]
        assert server.ended(job)["state"] == "done"
        for name, call in (("GET /healthz", ("GET", "/healthz")), ("GET /v1/jobs/{id}", ("GET", f"/v1/jobs/{job}")),
                           ("POST of an invalid job", ("POST", "/v1/jobs", {"prompt": "x", "steps": -1})),
                           ("GET of a picture", ("GET", f"/v1/jobs/{job}/images/0"))):
            print(f"{name}: {typical(server, 300, *call)}")
        changing(server, fields)
        service, row = [], []
        for _ in range(rounds):
            # What loading costs is taken off by a second run of fewer pictures.
            service.append(by_clients(server, fields))
            few, many = in_a_row(fields, folder, 1), in_a_row(fields, folder, 1 + PICTURES)
            row.append((many[0] - few[0], many[1] - few[1]))
            print(f"{PICTURES} pictures: service {service[-1][0]:.2f} s ({service[-1][1]:.2f} s of processor time), "
                  f"command line {row[-1][0]:.2f} s ({row[-1][1]:.2f} s)", flush=True)
        for kind, name in ((0, "time"), (1, "processor time")):
            ratio = statistics.median(s[kind] / r[kind] for s, r in zip(service, row))
            print(f"{name}: the service takes {100 * (ratio - 1):+.1f} %")
        server.stop()


if __name__ == "__main__":
    main()
