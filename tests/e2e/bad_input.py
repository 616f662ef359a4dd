"""Wrong requests: commands, options and outputs."""
import os
import unittest

import refusals
from program import MODEL, ROOT


def command_rows(t):
    t.row(["generat"], "unknown command 'generat'; did you mean 'generate'?")
    t.row(["frobnicate"], "unknown command 'frobnicate'; `sdvk --help` lists what there is")
    t.row(["generate"], 'generate: expected a prompt, e.g. sdvk generate "a red mug" --model samples/mockup')
    t.row(["generate", "a"],
          "generate: --model is missing: a safetensors file or a diffusers folder, e.g. --model samples/mockup")
    t.row(["generate", "a", "b", "-m", MODEL],
          "generate: expected one prompt, found also 'b'; put the prompt in quotes")
    t.row(["generate", "a", "--prompt", "b", "-m", MODEL],
          "generate: expected one prompt, found also 'b'; put the prompt in quotes")
    t.row(["generate", "-m"], "-m: a value is missing")
    t.row(["generate", "a", "--model"], "--model: a value is missing")
    t.row(["generate", "a", "--steps"], "--steps: a value is missing")
    t.row(["generate", "a", "--json=1"], "--json takes no value")
    t.row(["generate", "a", "--smapler", "euler"], "unknown option '--smapler'; did you mean '--sampler'?")
    t.row(["generate", "a", "--smapler=euler"], "unknown option '--smapler'; did you mean '--sampler'?")
    t.row(["generate", "a", "--zzzzzzzz"], "unknown option '--zzzzzzzz'; --help lists the options")
    t.row(["generate", "a", "-z"], "unknown option '-z'; --help lists the options")
    t.row(["generate", b"a \xff", "-m", MODEL], "prompt: the text is not valid UTF-8")
    t.row(["generate", "a", "-m", MODEL, "--negative-prompt", b"\xc3"],
          "negative_prompt: the text is not valid UTF-8")
    t.row(["devices", "x"], "devices: unexpected argument 'x'")
    t.row(["devices", "--jsn"], "unknown option '--jsn'; did you mean '--json'?")
    t.row(["info"], "info: expected a file or folder")
    t.row(["info", "a", "b"], "info: expected one file, found also 'b'")
    t.row(["info", "none.png"], "none.png: No such file or directory")
    t.row(["info", "{tmp}"], "{tmp}: not a model folder: expected model_index.json in it")
    lora = ROOT / "samples/loras/acme.safetensors"
    t.row(["info", lora, "--model", "none"], "none: cannot open the model: No such file or directory")
    t.row(["info", lora, "--models", "none", "--model", "acme"],
          "none: cannot open the model folder: No such file or directory")
    t.row(["models"], "models: expected a folder of models")
    t.row(["models", "a", "b"], "models: expected one folder, found also 'b'")
    t.row(["models", "none"], "none: cannot open the model folder: No such file or directory")
    t.row(["models", "{tmp}"], "{tmp}: expected folders as A1111 or ComfyUI have them (models/Stable-diffusion, "
          "models/Lora, checkpoints, loras, embeddings ...), found none")
    t.row(["bench", "x"], "bench: unexpected argument 'x'")
    t.row(["bench", "--width", "0"], "--width: expected a whole number from 1 to 65536, found '0'")
    t.row(["bench", "--width", "63"], "size: expected multiples of 8 from 64 to 8192, found 63 x 512")
    t.row(["bench", "--runs", "many"], "--runs: expected a whole number from 1 to 65536, found 'many'")
    t.row(["bench", "--precision", "f8"], "--precision: expected auto, f32 or f16, found 'f8'")
    t.row(["bench", "--network", "unit"], "network: expected text, unet, decode or encode, found 'unit'")
    t.row(["bench", "--family", "sd9"], "family: expected a UNet of the table (sd1, sd2, sdxl ...), found 'sd9'")


def option_rows(t):
    for option, value, message in [
            ("--sampler", "eular", "unknown sampler 'eular'; did you mean 'euler'?"),
            ("--sampler", "zzzz",
             "unknown sampler 'zzzz'; there are euler, euler_a, heun, dpm2, dpm2_a, dpmpp_2s_a, dpmpp_sde, "
             "dpmpp_2m, dpmpp_2m_sde, dpmpp_2m_sde_heun, dpmpp_3m_sde, ddim, ddpm, unipc, lms, deis, lcm"),
            ("--sampler", "",
             "unknown sampler ''; there are euler, euler_a, heun, dpm2, dpm2_a, dpmpp_2s_a, dpmpp_sde, dpmpp_2m, "
             "dpmpp_2m_sde, dpmpp_2m_sde_heun, dpmpp_3m_sde, ddim, ddpm, unipc, lms, deis, lcm"),
            ("--schedule", "karas", "unknown schedule 'karas'; did you mean 'karras'?"),
            ("--schedule", "zzzz",
             "unknown schedule 'zzzz'; there are uniform, karras, exponential, polyexponential, sgm_uniform, "
             "simple, normal, ddim, trailing, leading, beta, linear_quadratic, kl_optimal, align_your_steps, lcm"),
            ("--rng", "cpuu", "unknown rng 'cpuu'; did you mean 'cpu'?"),
            ("--rng", "dice", "unknown rng 'dice'; there are cpu, gpu"),
            ("--precision", "f8", "--precision: expected auto, f32 or f16, found 'f8'"),
            ("--lora-mode", "fuse", "--lora-mode: expected merge or runtime, found 'fuse'"),
            ("--prediction", "x", "--prediction: expected epsilon or v, found 'x'"),
            ("--width", "100", "width: expected a multiple of 8, found 100; try 104"),
            ("--width", "0", "width: expected 64 to 8192, found 0"),
            ("--width", "8", "width: expected 64 to 8192, found 8"),
            ("--width", "-64", "width: expected 64 to 8192, found -64"),
            ("--height", "999999999999", "height: expected 64 to 8192, found 999999999999"),
            ("--height", "8200", "height: expected 64 to 8192, found 8200"),
            ("--height", "64px", "height: expected a whole number, found '64px'"),
            ("--height", "", "height: expected a whole number, found ''"),
            ("--steps", "0", "steps: expected 1 to 1000, found 0"),
            ("--steps", "1001", "steps: expected 1 to 1000, found 1001"),
            ("--steps", "two", "steps: expected a whole number, found 'two'"),
            ("--steps", "2.5", "steps: expected a whole number, found '2.5'"),
            ("--steps", "99999999999999999999999999", "steps: expected 1 to 1000, found 99999999999999999999999999"),
            ("--cfg-scale", "nan", "cfg_scale: expected a number, found 'nan'"),
            ("--cfg-scale", "inf", "cfg_scale: expected a number, found 'inf'"),
            ("--cfg-scale", "-3", "cfg_scale: expected 1 to 100, found -3"),
            ("--cfg-scale", "1e400", "cfg_scale: expected a number, found '1e400'"),
            ("--cfg-scale", "0", "cfg_scale: expected 1 to 100, found 0"),
            ("--strength", "2", "strength: expected 0.01 to 1, found 2"),
            ("--strength", "0", "strength: expected 0.01 to 1, found 0"),
            ("--seed", "1e400", "seed: expected a whole number, found '1e400'"),
            ("--seed", "-2", "seed: expected -1 to 9007199254740991, found -2"),
            ("--seed", "9007199254740992", "seed: expected -1 to 9007199254740991, found 9007199254740992"),
            ("--seed", "1.5", "seed: expected a whole number, found '1.5'"),
            ("--count", "-1", "count: expected 1 to 1000, found -1"),
            ("--count", "0", "count: expected 1 to 1000, found 0"),
            ("--eta", "nan", "eta: expected a number, found 'nan'"),
            ("--eta", "-1", "eta: expected 0 to 10, found -1"),
            ("--vae-memory", "0", "vae_memory: expected 1 to 65536, found 0"),
            ("--vae-memory", "-5", "vae_memory: expected 1 to 65536, found -5"),
            ("--vae-memory", "65537", "vae_memory: expected 1 to 65536, found 65537"),
            ("--vae-memory", "1.5", "vae_memory: expected a whole number, found '1.5'"),
            ("--vae-memory", "64 MiB", "vae_memory: expected a whole number, found '64 MiB'"),
            ("--clip-skip", "0", "clip_skip: expected 1 to 48, found 0"),
            ("--clip-skip", "13", "clip_skip: expected 1 to 4, the layers of this model's text encoder, found 13"),
            ("--device", "no such card",
             "no device is called 'no such card'; `sdvk devices` lists what is there (first: '{device}')"),
            ("--device", "99", "device 99 does not exist; `sdvk devices` lists 0 to 0")]:
        t.generate([option, value], message)


def output_rows(t):
    t.file("there.png", b"mine")
    os.mkdir(t.folder / "folder.png")
    t.generate(["-o", "a.gif"], "--output: expected a name that ends in .png, .jpg or .jpeg, found 'a.gif'")
    t.generate(["-o", "a"], "--output: expected a name that ends in .png, .jpg or .jpeg, found 'a'")
    t.generate(["-o", ""], "--output: the file name is empty or longer than 4095 bytes")
    t.generate(["-o", "a.b/c"], "--output: expected a name that ends in .png, .jpg or .jpeg, found 'a.b/c'")
    t.generate(["-o", "none/a.png"], "--output: the folder 'none/' cannot be used: No such file or directory")
    t.generate(["-o", "{tmp}/there.png"], "--output: '{tmp}/there.png' exists; --overwrite replaces it")
    t.generate(["-o", "{tmp}/there.png/a.png"],
               "--output: the folder '{tmp}/there.png/' cannot be used: Not a directory")
    t.generate(["-o", "{tmp}/folder.png", "--overwrite"],
               "--output: expected the name of a file to write, found the folder '{tmp}/folder.png'")
    t.generate(["-o", "{tmp}/there.png/../a.png"],
               "--output: the folder '{tmp}/there.png/../' cannot be used: Not a directory")
    t.generate(["-o", "x" * 300 + ".png"],
               "--output: '" + "x" * 200 + "' cannot be written: File name too long")
    t.generate(["-o", "x" * 5000 + ".png"], "--output: the file name is empty or longer than 4095 bytes")


class BadInput(refusals.Case):
    def check_rows(self, fill):
        table = refusals.Table(self.tmp)
        fill(table)
        self.check(table)

    def test_commands(self):
        self.check_rows(command_rows)

    def test_options(self):
        self.check_rows(option_rows)

    def test_outputs(self):
        self.check_rows(output_rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)
