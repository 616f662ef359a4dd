"""What sdvk-server costs beside rendering: pictures by 8 clients against the command line's in a row, and the time that
requests take which render nothing. No test; run by hand:

    VK_DRIVER_FILES=... tests/e2e/service_bench.py [PIXELS [STEPS [PICTURES]]]
"""
import json
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from program import MODEL, SDVK
from service import Server

CLIENTS = 8
TURN = 3  # seconds


class Side:
    """A process that renders in turns, stopped between them; `ended` tells whether its pictures are done."""

    def __init__(self, name, process, ended):
        self.name, self.process, self.ended = name, process, ended
        self.seconds = self.processor = 0
        self.running = True

    def cpu(self):
        """Seconds of processor time so far."""
        fields = pathlib.Path(f"/proc/{self.process}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        os.kill(self.process, signal.SIGSTOP)

    def turn(self):
        """Runs for TURN seconds or until the pictures are done."""
        began, cpu = time.monotonic(), self.cpu()
        os.kill(self.process, signal.SIGCONT)
        while self.running and time.monotonic() - began < TURN:
            time.sleep(0.005)
            self.running = not self.ended()
        self.seconds += time.monotonic() - began
        self.processor += self.cpu() - cpu
        self.stop()


def by_clients(server, fields, pictures):
    """The server's side: CLIENTS clients that each make jobs one after another, follow them and fetch the pictures."""
    def client(number):
        for seed in range(number, pictures, CLIENTS):
            job = server.post("/v1/jobs", {**fields, "seed": seed}).json()["id"]
            connection = server.connect()
            connection.request("GET", f"/v1/jobs/{job}/events")
            assert b"event: done" in connection.getresponse().read()
            connection.request("GET", f"/v1/jobs/{job}/images/0")
            connection.getresponse().read()
            connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    side = Side("service", server.process.pid, lambda: not any(thread.is_alive() for thread in threads))
    side.stop()
    for thread in threads:
        thread.start()
    return side


def generate(fields, folder, count):
    """A running command that renders `count` pictures in a row."""
    return subprocess.Popen([SDVK, "generate", fields["prompt"], "-m", MODEL, "--width", str(fields["width"]), "--height",
                             str(fields["height"]), "--steps", str(fields["steps"]), "--seed", "0", "--count", str(count),
                             "-q", "--overwrite", "-o", f"{folder}/{{index}}.png"], stdout=subprocess.DEVNULL)


def in_a_row(fields, folder, pictures):
    """The command line's side. It renders one more, because loading is in its turns, too: `one_alone` is taken off."""
    process = generate(fields, folder, 1 + pictures)

    # Looked at but not reaped, so that its processor time can still be read.
    def ended():
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    side = Side("command line", process.pid, ended)
    side.stop()
    return side


def one_alone(fields, folder):
    """(seconds, seconds of processor time) of a command that loads and renders one picture, the median of three."""
    seconds, processor = [], []
    for _ in range(3):
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        assert generate(fields, folder, 1).wait() == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(time.monotonic() - began)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds), statistics.median(processor)


def throughput(server, fields, folder, pictures):
    """Both render as many pictures in short turns, so that what else the machine does meets both alike."""
    alone = one_alone(fields, folder)
    service, row = by_clients(server, fields, pictures), in_a_row(fields, folder, pictures)
    while service.running or row.running:
        for side in (service, row):
            if side.running:
                side.turn()
    os.kill(service.process, signal.SIGCONT)
    row.seconds, row.processor = row.seconds - alone[0], row.processor - alone[1]
    for side in (service, row):
        print(f"{pictures} pictures, {side.name}: {side.seconds:.2f} s, {side.processor:.2f} s of processor time")
    print(f"the service takes {100 * (service.seconds / row.seconds - 1):+.1f} % time, "
          f"{100 * (service.processor / row.processor - 1):+.1f} % processor time")


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
    pixels, steps, pictures = (int(text) for text in (*sys.argv[1:], *("256", "20", "64")[len(sys.argv) - 1:]))
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
        throughput(server, fields, folder, pictures)
        server.stop()


if __name__ == "__main__":
    main()
