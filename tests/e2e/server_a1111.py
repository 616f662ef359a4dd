"""A1111's face of sdvk-server, by requests as scripts send them; shapes are compared field by field."""
import base64
import json
import shutil
import threading
import time
import unittest

import service
from generate import chunks, pixels, texts
from program import ROOT
from service import png

API = "/sdapi/v1/"
SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 5, "prompt": "a red mug"}
COMMON = {
    "prompt": "", "negative_prompt": "", "styles": None, "seed": -1, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "scheduler": None, "batch_size": 1,
    "n_iter": 1, "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": None, "tiling": None,
    "do_not_save_samples": False, "do_not_save_grid": False, "eta": None, "s_min_uncond": None, "s_churn": None,
    "s_tmax": None, "s_tmin": None, "s_noise": None, "override_settings": None,
    "override_settings_restore_afterwards": True, "refiner_checkpoint": None, "refiner_switch_at": None,
    "disable_extra_networks": False, "firstpass_image": None, "comments": None, "force_task_id": None,
    "sampler_index": "Euler", "script_name": None, "script_args": [], "send_images": True, "save_images": False,
    "alwayson_scripts": {}, "infotext": None}
TXT2IMG = {
    **COMMON, "denoising_strength": None, "enable_hr": False, "firstphase_width": 0, "firstphase_height": 0,
    "hr_scale": 2.0, "hr_upscaler": None, "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0,
    "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "", "hr_negative_prompt": ""}
IMG2IMG = {
    **COMMON, "denoising_strength": 0.75, "init_images": None, "resize_mode": 0, "image_cfg_scale": None, "mask": None,
    "mask_blur_x": 4, "mask_blur_y": 4, "mask_blur": None, "mask_round": True, "inpainting_fill": 0,
    "inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0,
    "initial_noise_multiplier": None, "latent_mask": None, "include_init_images": False}
INFO = {
    "prompt": str, "all_prompts": list, "negative_prompt": str, "all_negative_prompts": list, "seed": int,
    "all_seeds": list, "subseed": int, "all_subseeds": list, "subseed_strength": int, "width": int, "height": int,
    "sampler_name": str, "cfg_scale": (int, float), "steps": int, "batch_size": int, "restore_faces": bool,
    "face_restoration_model": type(None), "sd_model_name": str, "sd_model_hash": str, "sd_vae_name": type(None),
    "sd_vae_hash": type(None), "seed_resize_from_w": int, "seed_resize_from_h": int, "denoising_strength": object,
    "extra_generation_params": dict, "index_of_first_image": int, "infotexts": list, "styles": list,
    "job_timestamp": str, "clip_skip": int, "is_using_inpainting_conditioning": bool, "version": str,
    "warnings": list}


def text_of(data):
    return base64.b64encode(data).decode()


def colours(width, height):
    return text_of(png(width, height, lambda x, y: (3 * x % 256, 3 * y % 256, 60)))


def left(width, height):
    """A mask whose left half is to be made anew."""
    return text_of(png(width, height, lambda x, y: (255,) * 3 if x < width // 2 else (0,) * 3))


class A1111(service.Case):
    shared = None  # by the tests that need no server of their own

    @classmethod
    def tearDownClass(cls):
        if cls.shared:
            cls.shared.stop()
            cls.shared.process.stdout.close()
            cls.shared.process.stderr.close()

    def setUp(self):
        super().setUp()
        A1111.shared = A1111.shared or service.Server().ready()
        self.server = A1111.shared

    def serve(self, *arguments, **options):
        self.server = super().serve(*arguments, **options).ready()

    def post(self, path, body, status=200):
        reply = self.server.post(API + path, body)
        self.assertEqual(reply.status, status, reply.body[:2000])
        return reply.json()

    def get(self, path):
        reply = self.server.get(API + path)
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, "application/json"), reply.body)
        return reply.json()

    def make(self, path="txt2img", **fields):
        """Pictures, info and parameters of a request."""
        reply = self.post(path, {**SMALL, **fields})
        self.assertEqual(sorted(reply), ["images", "info", "parameters"])
        return [base64.b64decode(i, validate=True) for i in reply["images"]], json.loads(reply["info"]), \
            reply["parameters"]

    def refused(self, path, body, field, message):
        reply = self.post(path, body, 422)
        self.assertEqual(reply, {"detail": [{"loc": ["body", field] if field else ["body"], "msg": message,
                                             "type": "value_error"}]})

    def native(self, **fields):
        """The picture of the native face."""
        job = self.server.post("/v1/jobs", {**SMALL, "rng": "gpu", "sampler": "euler", **fields}).json()
        ended = self.server.ended(job["id"])
        self.assertEqual(ended["state"], "done", ended)
        return self.server.get(ended["images"][0]["url"]).body

    def models(self):
        """A folder of two models."""
        folder = self.folder / "models/Stable-diffusion"
        for name in ("first", "style/second"):  # copies, as hashes are remembered by path
            shutil.copytree(ROOT / "samples/mockup", folder / name)
        return ("--models", self.folder, "--model", "first")

    # ---- txt2img ----

    def test_txt2img_field_by_field(self):
        images, info, parameters = self.make(n_iter=2, negative_prompt="blurry, grey", subseed=9)
        self.assertEqual(parameters, {**TXT2IMG, **SMALL, "n_iter": 2, "negative_prompt": "blurry, grey", "subseed": 9})
        self.assertEqual(list(info), list(INFO))
        for key, kind in INFO.items():
            self.assertIsInstance(info[key], kind, key)
        self.assertEqual([texts(i)["parameters"] for i in images], info["infotexts"])
        self.assertEqual((info["seed"], info["all_seeds"], info["all_subseeds"]), (5, [5, 6], [9, 10]))
        self.assertEqual((info["all_prompts"], info["all_negative_prompts"]),
                         (["a red mug"] * 2, ["blurry, grey"] * 2))
        self.assertEqual((info["sampler_name"], info["steps"], info["sd_model_name"], info["warnings"]),
                         ("Euler", 2, "mockup", []))
        self.assertRegex(info["infotexts"][1], r"\Aa red mug\nNegative prompt: blurry, grey\nSteps: 2, Sampler: Euler, "
                         r".*CFG scale: 7, Seed: 6, Size: 64x64, Model hash: " + info["sd_model_hash"])
        self.assertNotIn("RNG", info["infotexts"][0])  # the noise of A1111's default
        self.assertEqual(pixels(images[0]), pixels(self.native(negative_prompt="blurry, grey")))
        self.assertEqual(pixels(images[1]), pixels(self.native(negative_prompt="blurry, grey", seed=6)))

    def test_seeds_keep_their_digits(self):
        seed = 2 ** 53 - 1
        images, info, parameters = self.make(steps=1, seed=seed, subseed=seed)
        self.assertEqual([parameters["seed"], parameters["subseed"]], [seed] * 2)
        self.assertEqual([info["seed"], info["all_seeds"], info["subseed"]], [seed, [seed], seed])
        self.assertEqual(json.loads(texts(images[0])["sdvk"])["seed"], seed)

    def test_defaults_are_those_of_the_api(self):
        self.serve("--max-steps", 49, "--max-side", 256)
        self.refused("txt2img", {}, "width", "width: this server allows at most 256, found 512")
        self.refused("txt2img", {"width": 64, "height": 64}, "steps", "steps: this server allows at most 49, found 50")
        nothing = {**{name: None for name in TXT2IMG}, "width": 64, "height": "64", "steps": 1}
        reply = self.post("txt2img", nothing)
        self.assertEqual(reply["parameters"], {**TXT2IMG, "width": 64, "height": 64, "steps": 1})
        seed = json.loads(reply["info"])["seed"]
        self.assertTrue(0 <= seed < 1 << 32)

    def test_values_are_coerced_as_pydantic_does(self):
        for field, given, want in [("steps", "2", 2), ("steps", 2.0, 2), ("steps", True, 1), ("cfg_scale", "1.0", 1),
                                   ("save_images", 0, False), ("send_images", "yes", True), ("send_images", "OFF", False),
                                   ("batch_size", "1.0", 1), ("seed", " 7", 7), ("hr_second_pass_steps", 12.5, 12.5)]:
            with self.subTest(field=field, given=given):
                self.assertEqual(self.make(**{"steps": 1, field: given})[2][field], want)
        for field, given, message in [
                ("steps", 5.5, "steps: expected a whole number, found 5.5"),
                ("steps", "five", "steps: expected a whole number, found 'five'"),
                ("steps", "", "steps: expected a whole number, found ''"),
                ("steps", "0x5", "steps: expected a whole number, found '0x5'"),
                ("cfg_scale", "nan", "cfg_scale: expected a number, found 'nan'"),
                ("send_images", 2, "send_images: expected true or false, found 2"),
                ("prompt", 3, "prompt: expected a string, found 3"),
                ("styles", [None], "styles: expected an array of strings, found an array"),
                ("alwayson_scripts", [], "alwayson_scripts: expected an object, found an array"),
                ("script_args", {}, "script_args: expected an array, found an object")]:
            with self.subTest(field=field, given=given):
                self.refused("txt2img", {**SMALL, field: given}, field, message)

    def test_what_is_not_there_is_refused(self):
        self.serve("--max-count", 4)
        for fields, field, message in [
                ({"enable_hr": True}, "enable_hr", "enable_hr: there is no second pass in a higher resolution"),
                ({"restore_faces": 1}, "restore_faces", "restore_faces: faces are not restored"),
                ({"tiling": True}, "tiling", "tiling: pictures that tile are not made"),
                ({"subseed_strength": 0.5}, "subseed_strength",
                 "subseed_strength: variation seeds are not mixed in, found 0.5"),
                ({"seed_resize_from_w": 32, "seed_resize_from_h": 64}, "seed_resize_from_w",
                 "seed_resize_from_w: noise is not resized from another size, found 32 x 64"),
                ({"refiner_checkpoint": "x"}, "refiner_checkpoint", "refiner_checkpoint: there is no refiner"),
                ({"script_name": "X/Y/Z plot"}, "script_name", "script_name: there are no scripts"),
                ({"alwayson_scripts": {"ADetailer": {"args": []}}}, "alwayson_scripts",
                 "alwayson_scripts: Script 'ADetailer' not found"),
                ({"s_churn": 1}, "s_churn", "s_churn: no noise is churned in, found 1"),
                ({"s_noise": 1.1, "sampler_name": "Euler a"}, "s_noise",
                 "s_noise: the sampler 'Euler a' adds noise of the deviation 1, found 1.1"),
                ({"s_min_uncond": 1}, "s_min_uncond", "s_min_uncond: guidance is never skipped, found 1"),
                ({"eta": -1}, "eta", "eta: expected 0 to 10, found -1"),
                ({"sampler_name": "eular"}, "sampler_name",
                 "sampler_name: unknown sampler 'eular'; did you mean 'euler'?"),
                ({"sampler_index": "eular"}, "sampler_index",
                 "sampler_index: unknown sampler 'eular'; did you mean 'euler'?"),
                ({"scheduler": "karas"}, "scheduler", "scheduler: unknown schedule 'karas'; did you mean 'karras'?"),
                ({"width": 100}, "width", "width: expected a multiple of 8, found 100; try 104"),
                ({"steps": 0}, "steps", "steps: expected 1 to 1000, found 0"),
                ({"batch_size": 0}, "batch_size", "batch_size: expected 1 or more, found 0"),
                ({"batch_size": 2, "n_iter": 3}, "batch_size", "batch_size: this server allows at most 4, found 6"),
                ({"seed": -7}, "seed", "seed: expected -1 to 9007199254740991, found -7"),
                ({"prompt": "a <lora:none:1>"}, "prompt", None),
                ({"override_settings": {"sd_model_checkpoint": "nope"}}, "override_settings.sd_model_checkpoint",
                 "override_settings.sd_model_checkpoint: there is no model 'nope'; /sdapi/v1/sd-models lists them"),
                ({"override_settings": {"eta_noise_seed_delta": 31337}}, "override_settings.eta_noise_seed_delta",
                 "override_settings.eta_noise_seed_delta: only 0 is supported, found 31337"),
                ({"override_settings": {"samples_format": "webp"}}, "override_settings.samples_format",
                 "override_settings.samples_format: expected png, jpg, jpeg, found 'webp'"),
                ({"override_settings": {"CLIP_stop_at_last_layers": 13}}, "override_settings.CLIP_stop_at_last_layers",
                 "override_settings.CLIP_stop_at_last_layers: expected 1 to 12, found 13")]:
            with self.subTest(fields):
                if message:
                    self.refused("txt2img", {**SMALL, **fields}, field, message)
                else:
                    self.assertIn("none", self.post("txt2img", {**SMALL, **fields}, 422)["detail"][0]["msg"])

    def test_what_changes_nothing_is_a_warning(self):
        reply = self.server.post(API + "txt2img", {**SMALL, "foo\r\nX-Evil: 1": 1, "styles": ["cinematic"],
                                                   "save_images": True, "override_settings": {"sd_lora": "None"}})
        warnings = ["foo\r\nX-Evil: 1: unknown field, ignored", "styles: there is no style 'cinematic', ignored",
                    "save_images: pictures are not kept on the server, ignored",
                    "override_settings.sd_lora: unknown option, ignored"]
        self.assertEqual(json.loads(reply.json()["info"])["warnings"], warnings)
        self.assertEqual(reply.headers["X-Sdvk-Warnings"], "; ".join(warnings).replace("\r\n", "??"))
        self.assertNotIn("X-Evil", reply.headers)

    def test_no_images_when_none_are_wanted(self):
        images, info, _ = self.make(send_images=False)
        self.assertEqual((images, len(info["infotexts"])), ([], 1))

    def test_samplers_by_every_name(self):
        for fields, sampler, schedule in [
                ({"sampler_name": "Euler a", "scheduler": "automatic"}, "Euler a", None),
                ({"sampler_name": "", "sampler_index": "Heun"}, "Heun", None),
                ({"sampler_name": "k_euler_a"}, "Euler a", None),
                ({"sampler_name": "DPM++ 2M Karras"}, "DPM++ 2M", "Karras"),
                ({"sampler_name": "dpm++ 2m sde karras", "scheduler": "Exponential"}, "DPM++ 2M SDE", "Karras"),
                ({"sampler_name": "DPM++ 2M", "scheduler": "Automatic"}, "DPM++ 2M", "Karras"),
                ({"sampler_name": "Euler", "scheduler": "SGM Uniform"}, "Euler", "SGM Uniform"),
                ({"sampler_name": "Euler", "scheduler": "kl_optimal"}, "Euler", "KL Optimal"),
                ({"sampler_name": "DDIM", "eta": 0}, "DDIM", None)]:
            with self.subTest(fields):
                _, info, _ = self.make(**fields)
                self.assertEqual(info["sampler_name"], sampler)
                self.assertIn(f"Sampler: {sampler}, Schedule type: {schedule or ''}", info["infotexts"][0])

    def test_noise_of_samplers(self):
        euler = pixels(self.make(steps=4)[0][0])
        ancestral = pixels(self.make(steps=4, sampler_name="Euler a")[0][0])
        self.assertNotEqual(ancestral, euler)
        # Without its noise it is Euler's; many scripts send eta 0, others 1, which is what null means.
        self.assertEqual(pixels(self.make(steps=4, sampler_name="Euler a", eta=0)[0][0]), euler)
        self.assertEqual(pixels(self.make(steps=4, sampler_name="Euler a", eta=1)[0][0]), ancestral)
        half = self.make(steps=4, sampler_name="Euler a", override_settings={"eta_ancestral": 0.5})
        self.assertEqual(pixels(self.make(steps=4, sampler_name="Euler a", eta=0.5)[0][0]), pixels(half[0][0]))
        plain = pixels(self.make(steps=4, sampler_name="DDIM")[0][0])
        self.assertEqual(pixels(self.make(steps=4, sampler_name="DDIM", eta=0)[0][0]), plain)
        self.assertNotEqual(pixels(self.make(steps=4, sampler_name="DDIM", eta=1)[0][0]), plain)
        # A sampler that adds none does not mind how much it would be.
        self.assertEqual(pixels(self.make(steps=4, s_noise=0)[0][0]), euler)

    def test_every_sampler_and_schedule_of_the_lists(self):
        for sampler in self.get("samplers"):
            for eta in (None, 0):
                self.assertEqual(self.make(sampler_name=sampler["name"], eta=eta)[1]["sampler_name"], sampler["name"])
        for scheduler in self.get("schedulers"):
            for name in (scheduler["name"], scheduler["label"]):
                text = self.make(scheduler=name, steps=1)[1]["infotexts"][0]
                if scheduler["name"] != "automatic":
                    self.assertIn(f"Schedule type: {scheduler['label']}", text)

    def test_strengths_of_a_lora_come_in_a1111s_order(self):
        images, info, _ = self.make(prompt="a mug <lora:acme:0.5:0.25>")
        lora = json.loads(texts(images[0])["sdvk"])["loras"][0]
        self.assertEqual((lora["text"], lora["unet"]), (0.5, 0.25))
        self.assertEqual(info["prompt"], "a mug <lora:acme:0.5:0.25>")
        for tag, text, unet in [("<lora:acme:0.5>", 0.5, 0.5), ("<lora:acme:unet=0.5:te=1>", 1, 0.5)]:
            lora = json.loads(texts(self.make(prompt="a mug " + tag)[0][0])["sdvk"])["loras"][0]
            self.assertEqual((lora["text"], lora["unet"]), (text, unet))

    # ---- img2img ----

    def test_img2img_field_by_field(self):
        init = colours(64, 64)
        images, info, parameters = self.make("img2img", init_images=["data:image/png;base64," + init], steps=4)
        self.assertEqual(parameters, {**IMG2IMG, **SMALL, "steps": 4})
        self.assertEqual(list(info), list(INFO))
        self.assertIn("Denoising strength: 0.75", info["infotexts"][0])
        self.assertEqual(pixels(images[0]), pixels(self.native(init_image=init, steps=4)))
        _, _, parameters = self.make("img2img", init_images=[init], include_init_images=True)
        self.assertEqual(parameters["init_images"], [init])

    def test_sizes_of_img2img(self):
        init = colours(96, 72)
        for mode, name in enumerate(("stretch", "crop", "fill")):
            images, _, _ = self.make("img2img", init_images=[init], resize_mode=mode)
            self.assertEqual(pixels(images[0]), pixels(self.native(init_image=init, resize=name)))
        self.refused("img2img", {**SMALL, "init_images": [init], "resize_mode": 3}, "resize_mode",
                     "resize_mode: latents are not resized, found 3; 0 to 2 resize pixels")
        self.refused("img2img", {**SMALL, "init_images": [init], "resize_mode": 4}, "resize_mode",
                     "resize_mode: expected 0 to 2, found 4")

    def test_inpainting(self):
        init, mask = colours(64, 64), left(64, 64)
        native = {"init_image": init, "mask": mask, "mask_blur": 4, "steps": 4}
        for fields, same in [({}, {"mask_fill": "fill", "mask_area": "masked"}),
                             ({"inpaint_full_res": False, "inpainting_fill": 1, "mask_blur": 2}, {"mask_blur": 2}),
                             ({"inpainting_fill": 2, "inpaint_full_res": 0, "inpainting_mask_invert": True},
                              {"mask_fill": "noise", "mask_paint": "black"}),
                             ({"inpainting_fill": 3, "inpaint_full_res_padding": 8},
                              {"mask_fill": "nothing", "mask_area": "masked", "mask_padding": 8})]:
            with self.subTest(fields):
                images, _, _ = self.make("img2img", init_images=[init], mask=mask, steps=4, **fields)
                self.assertEqual(pixels(images[0]), pixels(self.native(**{**native, **same})))

    def test_masks_with_transparency_count_by_that_alone(self):
        init = colours(64, 64)
        alpha = text_of(png(64, 64, lambda x, y: (0, 0, 0, 255 if x < 32 else 128)))
        wanted, _, _ = self.make("img2img", init_images=[init], mask=left(64, 64))
        images, _, _ = self.make("img2img", init_images=[init], mask=alpha)
        self.assertEqual(pixels(images[0]), pixels(wanted[0]))
        # A mask of nothing is img2img, as in A1111.
        plain, _, _ = self.make("img2img", init_images=[init])
        black = text_of(png(64, 64, lambda x, y: (0, 0, 0)))
        images, info, _ = self.make("img2img", init_images=[init], mask=black)
        self.assertEqual(pixels(images[0]), pixels(plain[0]))
        self.assertEqual(info["warnings"], ["mask: nothing of it is to be made anew, ignored"])

    def test_bad_pictures(self):
        init = colours(64, 64)
        for body in ({}, {"init_images": None}, {"init_images": []}):
            self.assertEqual(self.post("img2img", {**SMALL, **body}, 404)["detail"], "Init image not found")
        for fields, field, message in [
                ({"init_images": [init, init]}, "init_images", "init_images: expected one picture, found 2"),
                ({"init_images": ["http://localhost/x.png"]}, "init_images",
                 "init_images: no address is fetched; send the picture as base64"),
                ({"init_images": ["?"]}, "init_images",
                 "init_images: expected a picture as base64, found other characters"),
                ({"init_images": [init], "mask": "?"}, "mask",
                 "mask: expected a picture as base64, found other characters"),
                ({"init_images": [init], "mask": left(72, 64)}, "mask",
                 "mask: expected 64 x 64 pixels as init_image, found 72 x 64"),
                ({"init_images": [init], "mask": left(64, 64), "mask_blur_x": 3}, "mask_blur_x",
                 "mask_blur_x: expected the same as mask_blur_y, found 3 and 4"),
                ({"init_images": [init], "mask": left(64, 64), "inpainting_fill": 4}, "inpainting_fill",
                 "inpainting_fill: expected 0 to 3, found 4"),
                ({"init_images": [init], "denoising_strength": 0}, "denoising_strength",
                 "denoising_strength: expected 0.01 to 1, found 0"),
                ({"init_images": [init], "initial_noise_multiplier": 0.5}, "initial_noise_multiplier",
                 "initial_noise_multiplier: samplers start from noise of the usual deviation, 1, found 0.5"),
                ({"init_images": [init], "latent_mask": init}, "latent_mask",
                 "latent_mask: there is one mask, 'mask'")]:
            with self.subTest(fields={k: v if len(str(v)) < 50 else "..." for k, v in fields.items()}):
                self.refused("img2img", {**SMALL, **fields}, field, message)
        found = self.post("img2img", {**SMALL, "init_images": ["aGVsbG8="]}, 422)["detail"][0]
        self.assertEqual(found["loc"], ["body", "init_images"])

    # ---- while it works ----

    def in_background(self, **fields):
        found = {}
        thread = threading.Thread(target=lambda: found.update(reply=self.server.post(API + "txt2img",
                                                                                     {**SMALL, **fields})))
        thread.start()
        self.addCleanup(thread.join)
        return thread, found

    def progress_until(self, good):
        while not good(found := self.get("progress")):
            time.sleep(0.005)
        return found

    def test_progress_and_interruption(self):
        idle = {"progress": 0, "eta_relative": 0, "current_image": None, "textinfo": None,
                "state": {"skipped": False, "interrupted": False, "stopping_generation": False, "job": "",
                          "job_count": 0, "job_timestamp": "0", "job_no": 0, "sampling_step": 0, "sampling_steps": 0}}
        self.assertEqual(self.get("progress"), idle)
        for end, answer in (("interrupt", {}), ("skip", None)):
            thread, found = self.in_background(steps=150, n_iter=2, override_settings={"show_progress_every_n_steps": 1})
            seen = self.progress_until(lambda p: p["current_image"] and p["state"]["sampling_step"] > 1)
            state = seen["state"]
            self.assertEqual(list(state), list(idle["state"]))
            self.assertEqual((state["job"], state["job_count"], state["job_no"], state["sampling_steps"]),
                             ("scripts_txt2img", 2, 0, 150))
            self.assertRegex(state["job_timestamp"], r"\A\d{14}\Z")
            self.assertAlmostEqual(seen["progress"], 0.01 + state["sampling_step"] / 300, places=6)
            self.assertEqual(base64.b64decode(seen["current_image"], validate=True)[:3], b"\xff\xd8\xff")
            self.assertIsNone(self.get("progress?skip_current_image=true")["current_image"])
            self.assertEqual(self.post(end, b""), answer)
            thread.join()
            reply = found["reply"].json()
            made = 0 if end == "interrupt" else 1
            self.assertEqual((found["reply"].status, len(reply["images"])), (200, made))
            self.assertEqual(len(json.loads(reply["info"])["infotexts"]), made)
            self.assertEqual(self.get("progress"), idle)
        self.assertEqual(self.post("interrupt", {"anything": 1}), {})

    def test_pictures_that_are_made_stay(self):
        for end, kept in (("interrupt", [5]), ("skip", [5, 7])):
            thread, found = self.in_background(steps=40, n_iter=3, seed=5, subseed=100)
            self.progress_until(lambda p: p["state"]["job_no"] == 1 and p["state"]["sampling_step"] > 1)
            self.post(end, b"")
            thread.join()
            reply = found["reply"].json()
            info = json.loads(reply["info"])
            self.assertEqual((found["reply"].status, len(reply["images"])), (200, len(kept)))
            self.assertEqual((info["all_seeds"], info["all_subseeds"]), (kept, [seed + 95 for seed in kept]))
            self.assertEqual((len(info["infotexts"]), len(info["all_prompts"])), (len(kept), len(kept)))
            self.assertIn(f"Seed: {kept[-1]}", info["infotexts"][-1])
            alone = self.post("txt2img", {**SMALL, "steps": 40, "seed": kept[-1]})["images"]
            self.assertEqual(reply["images"][-1:], alone)

    def test_who_leaves_has_the_picture_made(self):
        connection = self.server.connect()
        connection.request("POST", API + "txt2img", json.dumps({**SMALL, "steps": 20}),
                           {"Content-Type": "application/json"})
        while not (jobs := self.server.get("/v1/jobs").json()["jobs"]):
            time.sleep(0.01)
        connection.close()
        self.assertEqual(self.server.ended(jobs[0]["id"])["state"], "done")

    def test_jobs_of_others_are_left_alone(self):
        server = self.server
        job = server.post("/v1/jobs", {**SMALL, "steps": 60}).json()["id"]
        while server.get(f"/v1/jobs/{job}").json()["state"] != "running":
            time.sleep(0.005)
        self.assertEqual(self.get("progress")["state"]["job_count"], 0)
        self.post("interrupt", {})
        self.assertEqual(server.ended(job)["state"], "done")

    def test_keys(self):
        names, headers = ("alice", "bob"), {}
        with open(self.folder / "keys.txt", "w") as file:
            for name in names:
                key, line = (part.split(": ", 1)[1] for part in self.ok(service.SERVER, "--new-key", name)
                             .stdout.splitlines())
                file.write(line + "\n")
                headers[name] = {"Authorization": "Basic " + text_of(f"{name}:{key}".encode())}
        self.serve("--api-keys", "keys.txt")
        reply = self.server.get(API + "options")
        self.assertEqual((reply.status, sorted(reply.json()), reply.headers["WWW-Authenticate"]),
                         (401, ["body", "detail", "error", "errors"], 'Basic realm="sdvk"'))
        found = []
        thread = threading.Thread(target=lambda: found.append(
            self.server.post(API + "txt2img", {**SMALL, "steps": 100}, headers=headers["alice"])))
        thread.start()

        def jobs(name):
            return self.server.get(API + "progress", headers=headers[name]).json()["state"]["job_count"]
        while not jobs("alice"):
            time.sleep(0.005)
        # What others make is neither shown nor ended.
        self.assertEqual(jobs("bob"), 0)
        self.server.post(API + "interrupt", b"", headers=headers["bob"])
        self.assertEqual(jobs("alice"), 1)
        self.server.post(API + "interrupt", b"", headers=headers["alice"])
        thread.join()
        self.assertEqual(found[0].json()["images"], [])

    # ---- options ----

    def test_options(self):
        self.serve(*self.models())
        before = self.get("options")
        self.assertEqual((before["sd_model_checkpoint"], before["sd_vae"], before["samples_format"],
                          before["CLIP_stop_at_last_layers"]), ("first", "Automatic", "png", 1))
        self.assertNotIn("forge_preset", before)
        self.assertIsNone(self.post("options", before))  # as Open WebUI does
        self.assertEqual(self.get("options"), before)
        self.assertIsNone(self.post("options", {"samples_format": "jpg", "jpeg_quality": "70", "unknown": 1}))
        self.assertEqual(self.make()[0][0][:3], b"\xff\xd8\xff")
        self.post("options", {"samples_format": "png"})
        self.refused("options", {"sd_model_checkpoint": "scond"}, "sd_model_checkpoint",
                     "sd_model_checkpoint: there is no model 'scond'; /sdapi/v1/sd-models lists them")
        self.refused("options", {"sd_vae": "none.pt"}, "sd_vae", self.post(
            "options", {"sd_vae": "none.pt"}, 422)["detail"][0]["msg"])
        self.refused("options", [], None, "expected a JSON object")
        self.assertEqual(self.get("options")["jpeg_quality"], 70)

    def test_models_by_every_name(self):
        self.serve(*self.models())
        self.assertEqual(self.get("sd-models"), [
            {"title": name, "model_name": name.replace("/", "_"), "hash": None, "sha256": None, "filename": name,
             "config": None} for name in ("first", "style/second")])
        for word in ("style/second", "style_second", "second", "SECOND", "style/second [0123456789]"):
            self.post("options", {"sd_model_checkpoint": "first"})
            self.post("options", {"sd_model_checkpoint": word})
            self.assertEqual(self.get("options")["sd_model_checkpoint"], "style/second", word)
        _, info, _ = self.make()
        self.assertEqual(info["sd_model_name"], "second")
        # Its hash is known from now on, and part of its title.
        sha256 = json.loads(texts(self.make()[0][0])["sdvk"])["model"]["sha256"]
        title = f"style/second [{sha256[:10]}]"
        self.assertEqual(info["sd_model_hash"], sha256[:10])
        listed = self.get("sd-models")[1]
        self.assertEqual((listed["title"], listed["hash"], listed["sha256"]), (title, sha256[:10], sha256))
        options = self.get("options")
        self.assertEqual((options["sd_model_checkpoint"], options["sd_checkpoint_hash"]), (title, sha256))
        for word in (title, sha256, sha256[:10]):
            self.post("options", {"sd_model_checkpoint": word})
        _, info, _ = self.make(override_settings={"sd_model_checkpoint": "first"})
        self.assertEqual(info["sd_model_name"], "first")
        self.assertEqual(self.get("options")["sd_model_checkpoint"], title)

    def test_override_settings(self):
        images, info, _ = self.make(override_settings={"CLIP_stop_at_last_layers": 2.0, "samples_format": "JPG",
                                                       "randn_source": "cpu"})
        self.assertEqual((images[0][:3], info["clip_skip"]), (b"\xff\xd8\xff", 2))
        self.assertIn("Clip skip: 2, RNG: CPU", info["infotexts"][0])
        self.assertEqual(self.get("options")["samples_format"], "png")
        self.make(override_settings={"samples_format": "jpeg"}, override_settings_restore_afterwards=False)
        self.assertEqual(self.get("options")["samples_format"], "jpeg")
        self.post("options", {"samples_format": "png"})
        # What KoboldCpp sends with every job.
        _, info, _ = self.make(override_settings={
            "eta_noise_seed_delta": 0, "ddim_discretize": "uniform", "img2img_fix_steps": False,
            "sd_hypernetwork": "None", "inpainting_mask_weight": 1.0, "initial_noise_multiplier": 1.0,
            "comma_padding_backtrack": 20, "CLIP_stop_at_last_layers": 1.0})
        self.assertEqual(info["warnings"], [])

    # ---- lists ----

    def test_lists_field_by_field(self):
        for item in self.get("samplers"):
            self.assertEqual(list(item), ["name", "aliases", "options"])
        names = [s["name"] for s in self.get("samplers")]
        self.assertLessEqual({"Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "DDIM", "UniPC", "LCM"}, set(names))
        schedulers = self.get("schedulers")
        self.assertEqual(schedulers[0], {"name": "automatic", "label": "Automatic", "aliases": None,
                                         "default_rho": -1, "need_inner_model": False})
        self.assertEqual({tuple(s) for s in schedulers}, {tuple(schedulers[0])})
        self.assertEqual(self.get("upscalers"), [
            {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4}
            for name in ("None", "Lanczos")])
        self.assertEqual([m["name"] for m in self.get("latent-upscale-modes")], [
            "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
            "Latent (nearest-exact)"])
        for path in ("prompt-styles", "face-restorers", "hypernetworks", "realesrgan-models", "script-info", "sd-vae"):
            self.assertEqual(self.get(path), [])
        self.assertEqual(self.get("scripts"), {"txt2img": [], "img2img": []})
        acme = self.get("loras")[0]
        self.assertEqual((acme["name"], acme["alias"], acme["path"], acme["metadata"]["ss_network_dim"]),
                         ("acme", "acme", "acme.safetensors", "8"))
        self.assertEqual(acme["metadata"]["ss_tag_frequency"], {"acme": {"acme": 2400}})
        flags = self.get("cmd-flags")
        self.assertEqual((flags["api"], flags["listen"]), (True, False))
        self.make()  # so that a model is loaded
        memory = self.get("memory")
        self.assertEqual(sorted(memory["ram"]), ["free", "total", "used"])
        self.assertEqual(sorted(memory["cuda"]), ["active", "allocated", "events", "inactive", "reserved", "system"])
        self.assertGreater(memory["cuda"]["allocated"]["current"], 1 << 20)

    def test_files_of_other_kinds(self):
        embeddings, vaes = self.folder / "embeddings", self.folder / "models/VAE"
        arguments = self.models()
        embeddings.mkdir()
        vaes.mkdir()
        head = json.dumps({"emb_params": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
        (embeddings / "style.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(24))
        (embeddings / "broken.safetensors").write_bytes(b"x")
        (vaes / "own.safetensors").symlink_to(ROOT / "samples/mockup/vae/diffusion_pytorch_model.safetensors")
        self.serve(*arguments)
        empty = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}
        self.assertEqual(self.get("embeddings"), {"loaded": {"style": {**empty, "shape": 3, "vectors": 2}},
                                                  "skipped": {"broken": {**empty, "shape": 0, "vectors": 0}}})
        self.assertEqual(self.get("sd-vae"), [{"model_name": "own.safetensors", "filename": "own.safetensors"}])
        self.post("options", {"sd_vae": "own"})
        self.assertEqual(self.get("options")["sd_vae"], "own.safetensors")
        images, info, _ = self.make()
        part = json.loads(texts(images[0])["sdvk"])["parts"][0]
        self.assertEqual((info["sd_vae_name"], info["sd_vae_hash"]), ("own.safetensors", part["sha256"][:10]))
        for word in ("Automatic", "None"):
            self.post("options", {"sd_vae": word})

    def test_commands_between_pictures(self):
        first = self.make()[0][0]

        def loaded():
            return self.get("memory")["cuda"]["allocated"]["current"]
        self.assertGreater(loaded(), 1 << 20)
        self.post("unload-checkpoint", {})
        while loaded():
            time.sleep(0.005)
        for path, answer in [("unload-checkpoint", {}), ("reload-checkpoint", {}), ("refresh-checkpoints", None),
                             ("refresh-vae", None), ("refresh-loras", None), ("refresh-embeddings", None)]:
            for body in (b"", b'""', {}, {"x": 1}):
                self.assertEqual(self.post(path, body), answer)
        self.assertEqual(self.make()[0][0], first)

    # ---- pictures ----

    def test_png_info(self):
        images, info, _ = self.make(negative_prompt="grey", prompt="a café, 中文")
        for data in (images[0], self.make(negative_prompt="grey", prompt="a café, 中文",
                                          override_settings={"samples_format": "jpeg"})[0][0]):
            found = self.post("png-info", {"image": "data:image/png;base64," + text_of(data)})
            self.assertEqual(list(found), ["info", "items", "parameters"])
            self.assertEqual(found["info"], info["infotexts"][0])
            self.assertEqual(json.loads(found["items"]["sdvk"])["seed"], 5)
            self.assertLessEqual({"Prompt": "a café, 中文", "Negative prompt": "grey", "Steps": "2", "Sampler": "Euler",
                                  "CFG scale": "7", "Seed": "5", "Size-1": "64", "Size-2": "64", "Model": "mockup",
                                  "Clip skip": "1", "RNG": "GPU", "Hires resize-1": "0",
                                  "Hires sampler": "Use same sampler"}.items(), found["parameters"].items())
        self.assertEqual(self.post("png-info", {"image": colours(8, 8)}), {"info": "", "items": {}, "parameters": {}})
        self.refused("png-info", {}, "image", "image: expected a picture as base64, found none")
        self.refused("png-info", {"image": 3}, "image", "image: expected a picture as base64, found another type")
        self.refused("png-info", {"image": "aGVsbG8="}, "image",
                     self.post("png-info", {"image": "aGVsbG8="}, 422)["detail"][0]["msg"])

    def size_of(self, text):
        head = next(chunks(base64.b64decode(text, validate=True)))[1]
        return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")

    def test_extras(self):
        self.serve("--max-side", 256)
        image = colours(40, 20)
        for fields, size in [({}, (40, 20)), ({"upscaler_1": "Lanczos"}, (80, 40)),
                             ({"upscaler_1": "lanczos", "upscaling_resize": 1.5}, (60, 30)),
                             ({"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 100,
                               "upscaling_resize_h": 100}, (100, 100)),
                             ({"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 100,
                               "upscaling_resize_h": 100, "upscaling_crop": False}, (200, 100))]:
            with self.subTest(fields):
                found = self.post("extra-single-image", {"image": image, **fields})
                self.assertEqual(sorted(found), ["html_info", "image"])
                self.assertEqual(self.size_of(found["image"]), size)
                found = self.post("extra-batch-images", {"imageList": [{"data": image, "name": "x"}] * 2, **fields})
                self.assertEqual([self.size_of(i) for i in found["images"]], [size] * 2)
        for fields, field, message in [
                ({"upscaler_1": "R-ESRGAN 4x+"}, "upscaler_1",
                 "upscaler_1: expected \"None\" or \"Lanczos\", found 'R-ESRGAN 4x+'"),
                ({"gfpgan_visibility": 0.5}, "gfpgan_visibility", "gfpgan_visibility: faces are not restored"),
                ({"codeformer_visibility": 1}, "codeformer_visibility", "codeformer_visibility: faces are not restored"),
                ({"upscaler_2": "LDSR", "extras_upscaler_2_visibility": 1}, "upscaler_2",
                 "upscaler_2: expected \"None\" or \"Lanczos\", found 'LDSR'"),
                ({"upscaler_1": "Lanczos", "upscaling_resize": 8}, "upscaling_resize",
                 "upscaling_resize: this server allows at most 256 pixels a side and"),
                ({"upscaler_1": "Lanczos", "upscaling_resize": 0}, "upscaling_resize",
                 "upscaling_resize: expected at least one pixel, found 0 x 0"),
                ({"resize_mode": 2}, "resize_mode", "resize_mode: expected 0 or 1, found 2")]:
            with self.subTest(fields):
                found = self.post("extra-single-image", {"image": image, **fields}, 422)["detail"][0]
                self.assertEqual((found["loc"], found["msg"][:len(message)]), (["body", field], message))
        self.refused("extra-batch-images", {"image": image}, "imageList",
                     "imageList: expected an array of objects with 'data' and 'name'")

    # ---- errors ----

    def test_shapes_of_errors(self):
        for method, path, status, detail in [("GET", "nowhere", 404, "Not Found"),
                                             ("GET", "sd-modules", 404, "Not Found"),
                                             ("GET", "txt2img", 405, "Method Not Allowed"),
                                             ("POST", "interrogate", 404, "Model not found")]:
            reply = self.server.call(method, API + path, b"{}" if method == "POST" else None)
            self.assertEqual((reply.status, reply.json()), (status, {
                "error": "HTTPException", "detail": detail, "body": "", "errors": detail}))
        self.assertEqual(self.server.get("/controlnet/model_list").json()["detail"], "Not Found")
        for body in (b"", b"{", b"[]", b'"x"', b'{"prompt": "\x00"}', b"[" * 2000):
            self.refused("txt2img", body, None, "expected a JSON object")
        self.refused("txt2img", {"prompt": "a mug\0 and more"}, None, "expected a JSON object, found U+0000 in a string")
        for kind, status in (("text/plain", 422), ("application/x-www-form-urlencoded", 422),
                             ("application/json; charset=utf-8", 200)):
            reply = self.server.post(API + "options", b"{}", headers={"Content-Type": kind})
            self.assertEqual(reply.status, status)


if __name__ == "__main__":
    unittest.main(verbosity=2)
