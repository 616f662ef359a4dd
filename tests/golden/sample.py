#!/usr/bin/env python3
"""Writes the goldens of tests/unit/sample and tests/unit/base/rng.c.

Pinned: torch 2.13, diffusers 0.42.1, k-diffusion 0.1.1.post1, torchsde 0.2.6, numpy 1.26.4, scipy.
Run with OMP_NUM_THREADS=1 from anywhere:  python3 tests/golden/sample.py [philox_vectors.json]
The argument (draws of PyTorch's CUDA randn) is only needed to write rng_gpu.bin anew.

All references run in double precision on float32 noise, so that what a test sees is the C code's rounding alone.
"""
import json, math, pathlib, struct, sys, types, warnings

import numpy as np
import scipy.stats
import torch

warnings.filterwarnings("ignore")

# k-diffusion's package needs torchvision, its samplers do not.
import importlib.util


def load_k_diffusion():
    spec = importlib.util.find_spec("k_diffusion")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["k_diffusion"] = package
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    sys.modules["k_diffusion.utils"] = package.utils = utils
    import k_diffusion.external
    import k_diffusion.sampling

    return k_diffusion.sampling, k_diffusion.external


K, KE = load_k_diffusion()
from diffusers import DDIMScheduler, DEISMultistepScheduler, EulerDiscreteScheduler, LCMScheduler, UniPCMultistepScheduler
from diffusers.schedulers import scheduling_lcm

OUT = pathlib.Path(__file__).resolve().parent / "sample"
N, SEED = 24, 1234
SD1 = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
f32 = lambda a: np.asarray(a, dtype="<f4")


# ---- the discrete model and the schedules -------------------------------------------------------------------
def table(**kw):
    s = EulerDiscreteScheduler(**kw)
    a = s.alphas_cumprod.numpy()
    return f32(a), f32(((1 - s.alphas_cumprod) / s.alphas_cumprod) ** 0.5)


ALPHAS, SIGMAS = table(**SD1)
DISCRETE = KE.DiscreteSchedule(torch.tensor(SIGMAS).double(), quantize=False)
LOW, HIGH = float(SIGMAS[0]), float(SIGMAS[-1])


def spaced(kind, n):
    s = EulerDiscreteScheduler(**SD1, timestep_spacing=kind, steps_offset=1)
    s.set_timesteps(n)
    return s.sigmas


def at(indices):
    return [SIGMAS[int(i)] for i in indices] + [0.0]


def linear_quadratic(n):
    # Mochi's schedule, stated as a function of the noise that is gone.
    half, t = n // 2, 0.025
    gone = [i * t / half for i in range(half)]
    c = (1 - t * n / half) / (n - half) ** 2
    gone += [t * i / half + c * (i - half) ** 2 for i in range(half, n)]
    return [(1 - g) * HIGH for g in gone] + [0.0]


def beta(n):
    ts = np.rint(scipy.stats.beta.ppf(1 - np.arange(n) / n, 0.6, 0.6) * 999)
    return at(dict.fromkeys(ts))


def lcm(n):
    s = LCMScheduler(**SD1)
    s.set_timesteps(n)
    return at(s.timesteps)


# arXiv 2404.14507, levels for SD 1.
AYS = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
T = lambda ts: torch.cat([DISCRETE.t_to_sigma(torch.as_tensor(ts, dtype=torch.float64)), torch.zeros(1)])
SCHEDULES = {
    "uniform": lambda n: DISCRETE.get_sigmas(n),
    "normal": lambda n: DISCRETE.get_sigmas(n),
    "karras": lambda n: K.get_sigmas_karras(n, LOW, HIGH),
    "exponential": lambda n: K.get_sigmas_exponential(n, LOW, HIGH),
    "polyexponential": lambda n: K.get_sigmas_polyexponential(n, LOW, HIGH),
    "sgm_uniform": lambda n: T(np.linspace(999, 0, n + 1)[:-1]),
    "simple": lambda n: at(999 - int(i * 1000 / n) for i in range(n)),
    "ddim": lambda n: at(list(range(1, 1000, 1000 // n))[::-1]),
    "trailing": lambda n: spaced("trailing", n),
    "leading": lambda n: spaced("leading", n),
    "beta": beta,
    "linear_quadratic": linear_quadratic,
    "kl_optimal": lambda n: list(np.tan(np.linspace(math.atan(HIGH), math.atan(LOW), n))) + [0.0],
    "align_your_steps": lambda n: list(np.exp(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, 11), np.log(AYS)))) + [0.0],
    "lcm": lcm,
}


# ---- the samplers -------------------------------------------------------------------------------------------
INDEX = torch.arange(N, dtype=torch.float64)
MEAN, DEVIATION = torch.cos(INDEX), 0.5 + 0.02 * INDEX


def model(x, sigma, **_):
    """The exact estimate for Gaussian data, bent by a sine so that no sampler is exact on it."""
    s = float(torch.as_tensor(sigma).flatten()[0])
    v = DEVIATION**2
    return (v * x + s * s * MEAN) / (v + s * s) + 0.1 * torch.sin(x / (1 + s))


class Noise:
    def __init__(self):
        self.generator = torch.Generator().manual_seed(SEED)

    def __call__(self, *_):
        return torch.randn(N, generator=self.generator).double()


def k_sampler(name, brownian=False, noisy=True, **options):
    def run(sigmas):
        noise, path = Noise(), []
        x = noise() * sigmas[0]
        if brownian and len(sigmas) > 2:
            low, high = sigmas[sigmas > 0].min().float(), sigmas.max().float()
            tree = K.BrownianTreeNoiseSampler(torch.zeros(N), low, high, seed=SEED)
            options["noise_sampler"] = lambda a, b: tree(a.float(), b.float()).double()
        elif noisy:
            options["noise_sampler"] = noise
        torch.randn_like = torch.zeros_like  # drawn but not used without churn
        seen = lambda info: path.append(info["x"].clone())
        path_end = getattr(K, name)(model, x, sigmas, callback=seen, disable=True, **options)
        return path[1:] + [path_end]

    return run


def vp(sigma):
    return 1 / math.sqrt(1 + sigma * sigma)


def ddim(eta):
    def run(sigmas, spacing, n):
        s = DDIMScheduler(**SD1, clip_sample=False, set_alpha_to_one=True, steps_offset=1, prediction_type="sample",
                          timestep_spacing=spacing)
        s.set_timesteps(n)
        s.alphas_cumprod = 1 / (1 + torch.tensor(SIGMAS).double() ** 2)
        noise, path = Noise(), []
        x = noise() * sigmas[0]
        for i, t in enumerate(s.timesteps):
            scale = vp(float(sigmas[i]))
            z = noise() if eta and sigmas[i + 1] > 0 else torch.zeros(N).double()
            out = s.step(model(x, sigmas[i]), t, x * scale, eta=eta, variance_noise=z).prev_sample
            x = out / vp(float(sigmas[i + 1]))
            path.append(x)
        return path

    return run


def unipc(order):
    def run(sigmas):
        s = UniPCMultistepScheduler(**SD1, solver_order=order, prediction_type="sample", final_sigmas_type="zero")
        s.set_timesteps(len(sigmas) - 1)
        s.sigmas = sigmas.clone()
        s.timesteps = torch.arange(len(sigmas) - 1, 0, -1)
        x, path = Noise()() * sigmas[0], []
        for i, t in enumerate(s.timesteps):
            out = s.step(model(x, sigmas[i])[None, None], t, (x * vp(float(sigmas[i])))[None, None]).prev_sample
            x = out[0, 0] / vp(float(sigmas[i + 1]))
            path.append(x)
        return path

    return run


def deis(order):
    def run(sigmas):
        s = DEISMultistepScheduler(**SD1, solver_order=order, prediction_type="sample")
        s.set_timesteps(len(sigmas) - 1)
        s.sigmas = sigmas.clone()
        s.timesteps = torch.arange(len(sigmas) - 1, 0, -1)
        x, path = Noise()() * sigmas[0], []
        for i, t in enumerate(s.timesteps):
            clean = model(x, sigmas[i])
            out = s.step(clean, t, x * vp(float(sigmas[i]))).prev_sample
            # diffusers takes log 0 in its last step when there are 15 or more; first order is the estimate itself.
            x = out / vp(float(sigmas[i + 1])) if sigmas[i + 1] > 0 else clean
            path.append(x)
        return path

    return run


def lcm_run(sigmas):
    s = LCMScheduler(**SD1, prediction_type="sample", clip_sample=False)
    s.set_timesteps(len(sigmas) - 1)
    s.alphas_cumprod = 1 / (1 + torch.tensor(SIGMAS).double() ** 2)
    noise, path = Noise(), []
    scheduling_lcm.randn_tensor = lambda *a, **k: noise()
    x = noise() * sigmas[0]
    for i, t in enumerate(s.timesteps):
        out = s.step(model(x, sigmas[i]), t, x * vp(float(sigmas[i]))).prev_sample
        x = out / vp(float(sigmas[i + 1]))
        path.append(x)
    return path


def churned(name, **options):
    """Every step on its own, so that the sample between steps is known."""

    def run(sigmas):
        noise, path, n = Noise(), [], len(sigmas) - 1
        x = noise() * sigmas[0]
        torch.randn_like = noise  # k-diffusion's churn takes no noise source
        for i in range(n):
            # k-diffusion divides s_churn by the number of steps of the call.
            o = dict(options, s_churn=options["s_churn"] / n)
            x = getattr(K, name)(model, x, sigmas[i : i + 2], disable=True, **o)
            path.append(x)
        return path

    return run


K_SAMPLERS = {
    "euler": k_sampler("sample_euler", noisy=False),
    "euler_a": k_sampler("sample_euler_ancestral"),
    "heun": k_sampler("sample_heun", noisy=False),
    "dpm2": k_sampler("sample_dpm_2", noisy=False),
    "dpm2_a": k_sampler("sample_dpm_2_ancestral"),
    "dpmpp_2s_a": k_sampler("sample_dpmpp_2s_ancestral"),
    "dpmpp_sde": k_sampler("sample_dpmpp_sde", brownian=True),
    "dpmpp_2m": k_sampler("sample_dpmpp_2m", noisy=False),
    "dpmpp_2m_sde": k_sampler("sample_dpmpp_2m_sde", brownian=True),
    "dpmpp_2m_sde_heun": k_sampler("sample_dpmpp_2m_sde", brownian=True, solver_type="heun"),
    "dpmpp_3m_sde": k_sampler("sample_dpmpp_3m_sde", brownian=True),
    "lms": k_sampler("sample_lms", noisy=False),
    "unipc": unipc(2),
    "deis": deis(2),
}


def cases():
    """sampler, schedule, steps, eta (-1: default), s_churn, order, trajectory"""
    for schedule, make in SCHEDULES.items():
        for n in (5, 20):
            sigmas = torch.tensor(f32(make(n))).double()
            for name, run in K_SAMPLERS.items():
                if (name, schedule, n) == ("lms", "linear_quadratic", 5):
                    continue  # extrapolates from steps 30 times smaller: weights of 1e4 make noise of float rounding
                yield name, schedule, n, -1, 0, 0, sigmas, run(sigmas)
            if schedule in ("leading", "trailing"):
                yield "ddim", schedule, n, -1, 0, 0, sigmas, ddim(0.0)(sigmas, schedule, n)
                yield "ddim", schedule, n, 0.5, 0, 0, sigmas, ddim(0.5)(sigmas, schedule, n)
                yield "ddpm", schedule, n, -1, 0, 0, sigmas, ddim(1.0)(sigmas, schedule, n)
            if schedule == "lcm":
                yield "lcm", schedule, n, -1, 0, 0, sigmas, lcm_run(sigmas)
            if schedule == "karras":
                if n == 20:
                    yield "deis", schedule, n, -1, 0, 3, sigmas, deis(3)(sigmas)
                for order in (1, 3):
                    yield "unipc", schedule, n, -1, 0, order, sigmas, unipc(order)(sigmas)
                for name in ("euler", "heun"):
                    run = churned("sample_" + name, s_churn=3.0, s_noise=1.0)
                    yield name, schedule, n, -1, 3.0, 0, sigmas, run(sigmas)
                yield "dpm2", schedule, n, -1, 3.0, 0, sigmas, churned("sample_dpm_2", s_churn=3.0)(sigmas)
                yield "lms", schedule, n, -1, 0, 2, sigmas, k_sampler("sample_lms", noisy=False, order=2)(sigmas)
                for name in ("dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_sde"):
                    yield name, schedule, n, 0.5, 0, 0, sigmas, k_sampler("sample_" + name, True, eta=0.5)(sigmas)
                yield "euler_a", schedule, n, 0.7, 0, 0, sigmas, k_sampler("sample_euler_ancestral", eta=0.7)(sigmas)


# ---- files --------------------------------------------------------------------------------------------------
def write_trajectories():
    rows = list(cases())
    with open(OUT / "trajectories.bin", "wb") as f:
        f.write(struct.pack("<II", len(rows), N))
        for name, schedule, n, eta, churn, order, sigmas, path in rows:
            assert len(path) == len(sigmas) - 1, (name, schedule)
            f.write(struct.pack("<24s24sIIffI", name.encode(), schedule.encode(), n, len(path), eta, churn, order))
            f.write(f32(sigmas).tobytes())
            for x in path:
                f.write(f32(x).tobytes())


def write_schedules():
    rows = [(name, n, f32(make(n))) for name, make in SCHEDULES.items() for n in (2, 4, 7, 10, 20, 33, 50)]
    with open(OUT / "schedules.bin", "wb") as f:
        f.write(struct.pack("<I", len(rows)))
        for name, n, sigmas in rows:
            f.write(struct.pack("<24sII", name.encode(), n, len(sigmas) - 1) + sigmas.tobytes())


def write_discrete():
    linear = dict(beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
    timesteps = np.array([0, 0.25, 1, 17.5, 500.125, 998.75, 999], dtype="<f4")
    with open(OUT / "discrete.bin", "wb") as f:
        for kw in (SD1, linear, dict(SD1, rescale_betas_zero_snr=True)):
            for values in table(**kw):
                f.write(values.tobytes())
        sigmas = DISCRETE.t_to_sigma(torch.tensor(timesteps))
        f.write(timesteps.tobytes() + f32(sigmas).tobytes() + f32(DISCRETE.sigma_to_t(sigmas)).tobytes())


def write_rng():
    """seed, draws, n, then the values of `draws` calls one after the other."""
    rows = [(seed, 2, n) for seed in (0, 1, 42, (1 << 40) + 5) for n in range(1, 41)] + [(7, 1, 16384)]
    with open(OUT / "rng_cpu.bin", "wb") as f:
        f.write(struct.pack("<I", len(rows)))
        for seed, draws, n in rows:
            g = torch.Generator().manual_seed(seed)
            f.write(struct.pack("<QII", seed, draws, n))
            for _ in range(draws):
                f.write(f32(torch.randn(n, generator=g)).tobytes())


def write_rng_gpu(path):
    data = json.load(open(path))
    blocks = data["philox_raw"]
    draws = [e for e in data["philox_randn"] if "values" in e]
    with open(OUT / "rng_gpu.bin", "wb") as f:
        f.write(struct.pack("<II", len(blocks), len(draws)))
        for b in blocks:
            f.write(struct.pack("<10I", *b["counter"], *b["key"], *b["out"]))
        for e in draws:
            f.write(struct.pack("<QI", e["seed"], e["n"]))
            f.write(f32(e["values"]).tobytes() + f32(e["second_draw_first8"]).tobytes())


def write_brownian():
    import torchsde

    n, low, high = 37, 0.0291675, 14.614642
    with open(OUT / "brownian.bin", "wb") as f:
        queries = [(0.5, 3.0), (0.0291675, 14.614642), (3.0, 7.123456), (2.9, 3.1), (10.0, 14.614642), (0.1, 0.100001)]
        f.write(struct.pack("<III", 2, n, len(queries)))
        for seed in (0, (1 << 33) + 9):
            f.write(struct.pack("<Q", seed))
            tree = torchsde.BrownianTree(torch.tensor(low).double(), torch.zeros(n), torch.tensor(high).double(), entropy=seed)
            for a, b in queries:
                f.write(struct.pack("<dd", a, b) + f32(tree(a, b)).tobytes())
        f.write(np.random.SeedSequence(5, pool_size=24).generate_state(4).astype("<u4").tobytes())
        key = np.random.SeedSequence((1 << 40) + 3, spawn_key=(12, 4), pool_size=24)
        f.write(key.generate_state(4).astype("<u4").tobytes())


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    randn_like = torch.randn_like
    write_rng()
    write_discrete()
    write_schedules()
    write_brownian()
    write_trajectories()
    torch.randn_like = randn_like
    if len(sys.argv) > 1:
        write_rng_gpu(sys.argv[1])
