"""A1111's face of sdvk-server, driven by the client library webuiapi as it is."""
import clients  # first: it chooses the interpreter
import asyncio
import contextlib
import io
import shutil
import threading
import time
import unittest

import webuiapi
from PIL import Image, ImageDraw

import service
from program import ROOT

assert clients.PYTHON
SMALL = {"prompt": "a red mug", "width": 64, "height": 64, "steps": 2, "seed": 5}


def gradient(width=64, height=64):
    return Image.merge("RGB", [Image.linear_gradient("L").resize((width, height))] * 3)


class Client(service.Case):
    @classmethod
    def setUpClass(cls):
        cls.server = service.Server().ready()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.server.process.stdout.close()
        cls.server.process.stderr.close()

    def client(self, server=None, **options):
        host, port = (server or self.server).host.split(":")
        api = webuiapi.WebUIApi(host=host, port=int(port), **options)
        self.addCleanup(api.session.close)
        return api

    def test_txt2img(self):
        api = self.client()
        self.assertFalse(api.has_controlnet or api.has_adetailer or api.has_animatediff)
        result = api.txt2img(**SMALL, negative_prompt="grey", cfg_scale=7, n_iter=2)
        self.assertEqual([i.size for i in result.images], [(64, 64)] * 2)
        self.assertEqual(result.info["all_seeds"], [5, 6])
        self.assertEqual(result.info["sampler_name"], "Euler a")  # the library's default
        self.assertEqual([i.info["parameters"] for i in result.images], result.info["infotexts"])
        self.assertEqual(result.info["warnings"], [])
        self.assertEqual(result.parameters["steps"], 2)
        again = api.txt2img(**SMALL, negative_prompt="grey", sampler_name="Euler a", scheduler="Automatic", styles=[])
        self.assertEqual(again.image.tobytes(), result.image.tobytes())
        other = api.txt2img(**SMALL, sampler_name="DPM++ 2M", scheduler="karras", batch_size=2)
        self.assertIn("Sampler: DPM++ 2M, Schedule type: Karras", other.info["infotexts"][1])

    def test_options_of_one_picture(self):
        api = self.client(sampler="Euler", steps=1)
        result = api.txt2img(prompt="x", width=64, height=64, override_settings={"samples_format": "jpg"})
        self.assertEqual((result.image.format, result.info["steps"]), ("JPEG", 1))
        with self.assertRaises(RuntimeError) as caught:
            api.txt2img(**SMALL, enable_hr=True)
        self.assertEqual(caught.exception.args[0], 422)
        self.assertIn("enable_hr: there is no second pass", caught.exception.args[1])
        with self.assertRaises(RuntimeError) as caught:
            api.txt2img(**SMALL, adetailer=[webuiapi.ADetailer("face_yolov8n.pt")], alwayson_scripts={})
        self.assertIn("Script 'ADetailer' not found", caught.exception.args[1])

    def test_img2img_and_inpainting(self):
        api = self.client()
        init = gradient(96, 64)
        result = api.img2img(images=[init], **SMALL, resize_mode=1, denoising_strength=0.5)
        self.assertEqual((result.image.size, result.info["denoising_strength"]), ((64, 64), 0.5))
        self.assertIsNone(result.parameters["init_images"])
        mask = Image.new("RGB", (64, 64))
        ImageDraw.Draw(mask).rectangle((0, 0, 31, 63), fill="white")
        init = gradient()
        for options in ({"inpainting_fill": 1, "inpaint_full_res": False, "mask_blur": 1}, {}):
            result = api.img2img(images=[init], mask_image=mask, **SMALL, **options)
            self.assertEqual(result.info["warnings"], [])
            kept, wanted = (i.convert("RGB").crop((48, 0, 64, 64)).tobytes() for i in (result.image, init))
            self.assertEqual(kept, wanted)

    def test_asynchronous_calls(self):
        async def two():
            api = self.client()
            return await asyncio.gather(api.txt2img(**SMALL, use_async=True),
                                        api.img2img(images=[gradient()], **SMALL, use_async=True))
        first, second = asyncio.run(two())
        self.assertEqual((first.image.size, second.image.size), ((64, 64), (64, 64)))

    def test_progress_interrupt_and_skip(self):
        api = self.client()
        for end, answer in (("interrupt", {}), ("skip", None)):
            found = []
            thread = threading.Thread(target=lambda: found.append(self.client().txt2img(**{**SMALL, "steps": 150})))
            thread.start()
            while not (state := api.get_progress()["state"])["sampling_step"]:
                time.sleep(0.005)
            self.assertEqual((state["job"], state["sampling_steps"]), ("scripts_txt2img", 150))
            self.assertEqual(getattr(api, end)(), answer)
            thread.join()
            self.assertEqual(found[0].images, [])
            api.util_wait_for_ready(0.01)

    def test_lists(self):
        api = self.client()
        self.assertEqual(api.get_cmd_flags()["api"], True)
        self.assertEqual([m["model_name"] for m in api.get_sd_models()], ["mockup"])
        self.assertEqual([v["name"] for v in api.get_loras()], ["acme", "acme_diffusers"])
        self.assertEqual([u["name"] for u in api.get_upscalers()], ["None", "Lanczos"])
        self.assertEqual(api.get_latent_upscale_modes()[0], {"name": "Latent"})
        self.assertEqual(api.get_embeddings(), {"loaded": {}, "skipped": {}})
        self.assertEqual(api.get_scripts(), {"txt2img": [], "img2img": []})
        for found in (api.get_sd_vae(), api.get_hypernetworks(), api.get_face_restorers(), api.get_realesrgan_models(),
                      api.get_prompt_styles()):
            self.assertEqual(found, [])
        self.assertIsNone(api.refresh_checkpoints())
        self.assertGreater(api.get_memory()["ram"]["total"], 1 << 20)
        self.assertIn("Euler a", api.util_get_sampler_names())
        self.assertIn("karras", api.util_get_scheduler_names())
        api.set_auth("user", "password")  # nobody asks for it
        self.assertEqual(len(api.util_get_model_names()), 1)

    def test_models(self):
        folder = self.folder / "models/Stable-diffusion"
        for name in ("first", "second"):
            shutil.copytree(ROOT / "samples/mockup", folder / name)
        api = self.client(self.serve("--models", self.folder).ready())
        self.assertEqual(api.util_get_current_model(), "first")
        with contextlib.redirect_stdout(io.StringIO()):
            api.util_set_model("secnd")
        self.assertEqual(api.util_get_current_model(), "second")
        self.assertEqual(api.txt2img(**SMALL).info["sd_model_name"], "second")
        options = api.get_options()
        options["CLIP_stop_at_last_layers"] = 2
        self.assertIsNone(api.set_options(options))
        self.assertEqual(api.txt2img(**SMALL).info["clip_skip"], 2)
        self.assertEqual(api.util_get_model_names()[0], "first")

    def test_pictures(self):
        api = self.client()
        made = api.txt2img(**SMALL)
        info = api.png_info(made.image)
        self.assertEqual(info.info, made.info["infotexts"][0])
        self.assertEqual(info.parameters["Seed"], "5")
        result = api.extra_single_image(made.image, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=1.5)
        self.assertEqual((result.image.size, result.info), ((96, 96), "<p>Postprocess upscaler: Lanczos</p>"))
        self.assertEqual(api.extra_single_image(made.image).image.tobytes(), made.image.tobytes())
        result = api.extra_batch_images([made.image] * 2, upscaler_1="Lanczos", resize_mode=1, upscaling_resize_w=80,
                                        upscaling_resize_h=40)
        self.assertEqual([i.size for i in result.images], [(80, 40)] * 2)
        with self.assertRaises(RuntimeError) as caught:
            api.extra_single_image(made.image, upscaler_1=webuiapi.Upscaler.ESRGAN_4x)
        self.assertEqual(caught.exception.args[0], 422)
        with self.assertRaises(RuntimeError) as caught:
            api.interrogate(made.image)
        self.assertEqual(caught.exception.args[0], 404)


if __name__ == "__main__":
    unittest.main(verbosity=2)
