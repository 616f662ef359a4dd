"""The page of sdvk-server in a real browser, as people use it."""
import clients  # noqa: F401  first: the libraries below lie in its environment

import os
import re
import shutil
import struct
import unittest
import zlib

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

import service

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LONG = 120000  # milliseconds that a picture may take on a busy machine
PROMPT = "a red mug on a wooden table"


def grey_pixel():
    """A PNG without texts."""
    chunks = b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"\0\x80"), b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)


class Page(service.Case):
    @classmethod
    def setUpClass(cls):
        if not BROWSER:
            raise AssertionError("expected a browser (Debian's chromium), found none")
        cls.playwright = sync_playwright().start()
        # Chromium's own sandbox needs what containers rarely allow.
        cls.browser = cls.playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.playwright.stop()

    def open(self, server, width=1280, height=900, scheme="light", silent=True):
        """The page, ready to be used, in a browser of its own; `silent`: nothing may appear in the browser's log."""
        context = self.browser.new_context(color_scheme=scheme, accept_downloads=True,
                                           viewport={"width": width, "height": height})
        self.addCleanup(context.close)
        page = context.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        if silent:
            self.addCleanup(lambda: self.assertEqual(problems, []))
        page.goto(server.address)
        expect(page.locator("#model option")).to_have_count(1)
        return page

    def fill(self, page, **fields):
        for name, value in {"prompt": PROMPT, "width": 64, "height": 64, "steps": 2, "seed": 5, **fields}.items():
            page.fill(f"#{name}", str(value))

    def show(self, page, name):
        """A screenshot for those who look at them."""
        folder = os.environ.get("SDVK_SCREENSHOTS")
        if folder:
            page.screenshot(path=f"{folder}/{name}.png", full_page=True)

    def test_render_cancel_and_find_again(self):
        server = self.serve("--state", "state").ready()
        page = self.open(server)
        self.fill(page, width="", height="", steps=100)
        page.click("#go")
        expect(page.locator("#status")).to_contain_text(re.compile(r"step \d+ of 100"), timeout=LONG)
        expect(page.locator("#preview")).to_be_visible(timeout=LONG)
        self.show(page, "running")
        value = float(page.locator("#progress").get_attribute("value"))
        self.assertTrue(0 < value < 1)
        page.click("#cancel")
        expect(page.locator("#status")).to_have_text("Cancelled.", timeout=LONG)
        expect(page.locator("#gallery li")).to_have_count(0)

        self.fill(page)
        page.select_option("#lora", "acme")
        page.click("#add-lora")
        page.locator("#lora-0").fill("0.5")
        expect(page.locator("label[for=lora-0]")).to_have_text("acme: 0.5")
        page.click("#go")
        expect(page.locator("#gallery li")).to_have_count(1, timeout=LONG)
        expect(page.locator("#status")).to_have_text("Done: 1 picture.")
        record = server.get("/v1/jobs").json()["jobs"][0]
        self.assertEqual((record["state"], record["seed"]), ("done", 5))

        page.reload()
        expect(page.locator("#gallery li")).to_have_count(1, timeout=LONG)
        expect(page.locator("#gallery img")).to_have_attribute("alt", PROMPT)
        page.locator("#gallery").get_by_role("button", name="Use the settings of").click()
        self.assertEqual([page.input_value(f"#{name}") for name in ("prompt", "width", "steps", "seed")],
                         [PROMPT, "64", "2", "5"])
        expect(page.locator("label[for=lora-0]")).to_have_text("acme: 0.5")
        with page.expect_download() as saved:
            page.locator("#gallery").get_by_role("button", name="Save").click()
        picture = self.folder / "saved.png"
        saved.value.save_as(picture)
        self.drop_and_read(server, picture)
        page.locator("#gallery").get_by_role("button", name="Remove").click()
        expect(page.locator("#none")).to_be_visible()

    def test_pictures_that_are_made_stay(self):
        page = self.open(self.serve().ready())
        self.fill(page, width=128, height=128, steps=60, count=3)
        page.click("#go")
        expect(page.locator("#status")).to_contain_text(re.compile(r"picture 2 of 3, .*step \d+ of 60"), timeout=LONG)
        page.click("#cancel")
        expect(page.locator("#status")).to_have_text("Cancelled after 1 picture.", timeout=LONG)
        expect(page.locator("#gallery li")).to_have_count(1)

    def drop(self, page, path, kind="image/png"):
        data = list(path.read_bytes())
        transfer = page.evaluate_handle(
            "([data, name, type]) => { const t = new DataTransfer();"
            " t.items.add(new File([new Uint8Array(data)], name, { type })); return t; }", [data, path.name, kind])
        page.dispatch_event("body", "drop", {"dataTransfer": transfer})

    def drop_and_read(self, server, picture):
        """A fresh browser gets the settings out of the file alone."""
        page = self.open(server)
        self.drop(page, picture)
        expect(page.locator("#status")).to_have_text("The settings of saved.png are used.")
        self.assertEqual([page.input_value(f"#{name}") for name in ("prompt", "width", "height", "steps", "seed")],
                         [PROMPT, "64", "64", "2", "5"])
        expect(page.locator("label[for=lora-0]")).to_have_text("acme: 0.5")
        # What another program wrote is read by the server.
        self.sdvk("generate", "a jar", "-m", service.program.MODEL, "--width", "64", "--height", "64", "--steps", "3",
                  "--seed", "7", "-o", "x.jpg")
        self.drop(page, self.folder / "x.jpg", "image/jpeg")
        expect(page.locator("#status")).to_have_text("The settings of x.jpg are used.")
        self.assertEqual([page.input_value(f"#{name}") for name in ("prompt", "steps", "seed")], ["a jar", "3", "7"])
        (self.folder / "plain.png").write_bytes(grey_pixel())
        self.drop(page, self.folder / "plain.png")
        expect(page.locator("#error")).to_have_text("plain.png: expected a picture with settings in it, found none")

    def test_start_from_a_picture_and_paint(self):
        server = self.serve().ready()
        self.sdvk("generate", "a jar", "-m", service.program.MODEL, "--width", "64", "--height", "64", "--steps", "3",
                  "--seed", "7", "-o", "x.png")
        page = self.open(server)
        self.fill(page)
        page.locator("#start summary").click()
        page.set_input_files("#init", self.folder / "x.png")
        expect(page.locator("#painter")).to_be_visible()
        # By keyboard: to the right, and a dab of paint.
        page.focus("#painter")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
        self.assertTrue(page.evaluate("painted"))
        self.show(page, "painting")
        page.click("#go")
        expect(page.locator("#gallery li")).to_have_count(1, timeout=LONG)
        job = server.get("/v1/jobs").json()["jobs"][0]["id"]
        text = server.get(f"/v1/jobs/{job}/images/0").body
        self.assertIn(b"mask_sha256", text)
        self.assertIn(b"init_image_sha256", text)

    def test_errors_are_said(self):
        server = self.serve("--max-steps", 10).ready()
        page = self.open(server, silent=False)  # the browser logs the refused request
        self.fill(page, steps="")
        page.click("#go")
        expect(page.locator("#gallery li")).to_have_count(1, timeout=LONG)
        page.evaluate("document.getElementById('steps').max = 100")
        self.fill(page, steps=50)
        with page.expect_response("**/v1/jobs"):
            page.click("#go")
        expect(page.locator("#error")).to_have_text("steps: this server allows at most 10, found 50")

    def test_keys(self):
        shown = self.ok(service.SERVER, "--new-key", "alice").stdout
        key, line = re.search(r"(sdvk-\w+)\nline for the file: (.*)", shown).groups()
        (self.folder / "keys.txt").write_text(line + "\n")
        server = self.serve("--api-keys", "keys.txt").ready()
        context = self.browser.new_context()
        self.addCleanup(context.close)
        page = context.new_page()
        page.goto(server.address)
        expect(page.locator("#key")).to_be_focused()
        expect(page.locator("#error")).to_have_text("expected an API key, found none that is known")
        page.fill("#key", key)
        page.keyboard.press("Tab")
        expect(page.locator("#model option")).to_have_count(1)
        expect(page.locator("#error")).to_be_hidden()
        self.fill(page)
        page.click("#go")
        expect(page.locator("#gallery li")).to_have_count(1, timeout=LONG)

    def test_by_keyboard_alone(self):
        server = self.serve().ready()
        page = self.open(server)
        page.keyboard.press("Tab")
        expect(page.locator("#prompt")).to_be_focused()
        page.keyboard.type(PROMPT)
        seen = []
        for _ in range(40):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            values = {"steps": "1", "width": "64", "height": "64", "seed": "5"}
            if seen[-1] in values:
                page.keyboard.type(values[seen[-1]])
            if seen[-1] == "add-lora":
                page.keyboard.press("Enter")
            if seen[-1] == "go":
                page.keyboard.press("Enter")
                break
        self.assertEqual([name for name in seen if name in ("model", "steps", "lora", "add-lora", "SUMMARY", "go")],
                         ["model", "steps", "lora", "add-lora", "SUMMARY", "SUMMARY", "go"])
        expect(page.locator("#gallery li")).to_have_count(1, timeout=LONG)
        expect(page.locator("label[for=lora-0]")).to_have_text("acme: 1")

    def test_accessible_in_light_dark_and_on_a_phone(self):
        server = self.serve().ready()
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)):
            with self.subTest(scheme=scheme, width=width):
                page = self.open(server, width, 780, scheme)
                page.locator("summary").first.click()
                page.locator("#start summary").click()
                page.click("#add-lora")
                self.fill(page)
                page.click("#go")
                expect(page.locator("#gallery li")).to_have_count(1, timeout=LONG)
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)
                found = Axe().run(page).response["violations"]
                self.assertEqual([(v["id"], [n["target"] for n in v["nodes"]]) for v in found], [])
                self.show(page, f"{scheme}-{width}")

    def test_nothing_comes_from_elsewhere(self):
        server = self.serve().ready()
        reply = server.get("/")
        self.assertLess(len(reply.body), 100000)
        policy = reply.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(set(re.findall(rb"https?://[^\"' ]+", reply.body)), set())
        context = self.browser.new_context()
        self.addCleanup(context.close)
        page = context.new_page()
        wanted = []
        page.on("request", lambda request: wanted.append(request.url))
        page.goto(server.address)
        expect(page.locator("#model option")).to_have_count(1)
        self.assertEqual([url for url in wanted if not url.startswith((server.address, "data:", "blob:"))], [])
        # Script that a prompt brings along is text.
        self.fill(page, prompt="<img src=x onerror=alert(1)>")
        page.click("#go")
        expect(page.locator("#gallery p")).to_have_text("<img src=x onerror=alert(1)>", timeout=LONG)
        self.assertEqual(page.locator("#gallery img").count(), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
