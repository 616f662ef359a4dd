"""nginx in front of sdvk-server, as server/deploy/nginx.conf says."""
import http.client
import json
import pathlib
import socket
import ssl
import subprocess
import time
import unittest

import service
from program import ROOT
from service import SMALL


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Deploy(service.Case):
    def start_nginx(self, backend):
        """The example with addresses, certificate and folders of this test; its TLS port."""
        folder = self.folder / "nginx"
        folder.mkdir()
        self.ok("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pictures.example",
                "-addext", "subjectAltName=DNS:pictures.example", "-keyout", folder / "key.pem", "-out", folder / "cert.pem")
        tls, plain = free_port(), free_port()
        text = (ROOT / "server/deploy/nginx.conf").read_text()
        for old, new in (("127.0.0.1:7860", backend), ("listen 443 ssl;", f"listen 127.0.0.1:{tls} ssl;"),
                         ("    listen [::]:443 ssl;\n", ""), ("listen 80;", f"listen 127.0.0.1:{plain};"),
                         ("    listen [::]:80;\n", ""), ("/etc/ssl/certs/pictures.example.pem", f'"{folder}/cert.pem"'),
                         ("/etc/ssl/private/pictures.example.key", f'"{folder}/key.pem"')):
            self.assertIn(old, text)
            text = text.replace(old, new)
        temporary = "".join(f'{name}_temp_path "{folder}/{name}";\n'
                            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f'pid "{folder}/pid";\nerror_log "{folder}/error.log";\ndaemon off;\n'
                                           f'events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n')
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        self.ok(*command, "-t", env={"PATH": "/usr/sbin:/usr/bin:/bin"})
        nginx = subprocess.Popen(command, env={"PATH": "/usr/sbin:/usr/bin:/bin"}, stderr=subprocess.DEVNULL)
        self.addCleanup(nginx.wait, 30)
        self.addCleanup(nginx.terminate)
        return tls, plain, folder / "cert.pem"

    def call(self, port, certificate, method, path, body=None, headers=None):
        context = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=120, context=context)
        connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port)),
                                              server_hostname="pictures.example")
        connection.request(method, path, body, {"Host": "pictures.example", **(headers or {})})
        reply = connection.getresponse()
        return reply, connection

    def test_behind_nginx(self):
        server = self.serve("--host", "pictures.example").ready()
        tls, plain, certificate = self.start_nginx(server.host)
        end = time.monotonic() + 30
        while True:
            try:
                reply, connection = self.call(tls, certificate, "GET", "/healthz")
                break
            except ConnectionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.assertEqual((reply.status, json.loads(reply.read())), (200, {"status": "ok"}))
        self.assertIn("max-age", reply.headers["Strict-Transport-Security"])
        connection.close()
        # The page's own requests have its origin.
        reply, connection = self.call(tls, certificate, "POST", "/v1/jobs", json.dumps({"prompt": "a mug", **SMALL}),
                                      {"Origin": "https://pictures.example"})
        job = json.loads(reply.read())
        self.assertEqual(reply.status, 202)
        connection.close()
        reply, connection = self.call(tls, certificate, "GET", f"/v1/jobs/{job['id']}/events")
        self.assertEqual([name for name, _ in service.events(reply)][-1], "done")
        connection.close()
        reply, connection = self.call(tls, certificate, "GET", "/metrics")
        self.assertEqual(reply.status, 404)
        connection.close()
        redirect = http.client.HTTPConnection("127.0.0.1", plain, timeout=60)
        redirect.request("GET", "/x", headers={"Host": "pictures.example"})
        reply = redirect.getresponse()
        self.assertEqual((reply.status, reply.headers["Location"]), (301, "https://pictures.example/x"))
        redirect.close()

    def test_files_name_what_there_is(self):
        folder = ROOT / "server/deploy"
        self.assertEqual(sorted(p.name for p in pathlib.Path(folder).iterdir()),
                         ["Containerfile", "nginx.conf", "sdvk-server.service"])
        known = self.ok(service.SERVER, "--help").stdout
        for name in ("Containerfile", "sdvk-server.service"):
            text = (folder / name).read_text().replace("\\\n", " ")
            command = next(line for line in text.splitlines() if "--listen" in line and not line.startswith("#"))
            for option in {word.strip('",') for word in command.split() if "--" in word}:
                self.assertIn(f"{option} ", known)
        wanted = set((ROOT / "demo.sh").read_text().split())
        build = (folder / "Containerfile").read_text().split("FROM")[1]
        for package in [word for word in build.split() if word.endswith("-dev")]:
            self.assertIn(package, wanted)


if __name__ == "__main__":
    unittest.main(verbosity=2)
