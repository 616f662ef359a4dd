"""Makes adapters with their expected weights, checks them by the formulas and keeps the index."""

import torch
from safetensors.torch import save_file

import loras_common as common
import loras_formula as formula
import loras_lycoris as lycoris
import loras_peft as peft
from loras_common import OUT

DIFFUSERS, PEFT, LYCORIS = "diffusers 0.42.1, peft 0.21.2", "peft 0.21.2", "lycoris-lora 4.1.3"


def for_each(modules, linear, conv=None):
    """{module: number}, with a number of their own for convolutions that are called so."""
    kernel = ("conv", "downsamplers")
    return {m: conv if conv and any(k in m.rsplit(".", 2)[-1] for k in kernel) else linear for m in modules}


class Goldens:
    def __init__(self):
        self.index, self.lycoris_runs = [], {}

    def add(
        self, name, family, naming, algorithm, rank, alpha, library, modules, expected, rules=None, **more
    ):
        folder = OUT / name
        file = common.weights_in(folder) if folder.is_dir() else OUT / f"{name}.safetensors"
        check(name, family, file, modules, expected, rules or {}, more.get("unmatched", []))
        tensors = {f"{s}.{k}": v for s, values in expected.items() for k, v in values.items()}
        save_file(tensors, OUT / f"{name}.expected.safetensors", {"format": "pt"})
        entry = {
            "name": name,
            "adapter": folder.name if folder.is_dir() else file.name,
            "expected": f"{name}.expected.safetensors",
            "model": f"networks/{family}",
            "naming": naming,
            "algorithm": algorithm,
            "rank": rank,
            "alpha": alpha,
            "library": library,
            "strengths": list(expected),
            "strength_rule": "linear",
            "modules": dict(sorted(modules.items())),
            "module_count": len(modules),
            "unmatched": [],
            "tensors": sorted(next(iter(expected.values()))),
            **more,
        }
        if entry["strength_rule"] == "linear" and list(expected) != [1.0]:
            check_linear(name, family, expected)
        self.index.append(entry)
        print(f"{name}: {len(modules)} modules, {len(entry['tensors'])} tensors", flush=True)

    def lora(
        self, name, family, naming, modules, rank, alpha, seed, dtype=torch.float16, strengths=(1.0,), **more
    ):
        """`rank` and `alpha` are numbers, or pairs for linear layers and convolutions; no alpha leaves it out."""
        own_ranks = for_each(modules, *(rank if isinstance(rank, tuple) else (rank,)))
        own_alphas = for_each(modules, *(alpha if isinstance(alpha, tuple) else (alpha,)))
        extra = more.pop("extra", None)
        found, expected = peft.by_script(
            OUT / f"{name}.safetensors",
            family,
            naming,
            own_ranks,
            own_alphas,
            seed,
            dtype,
            strengths,
            more.pop("header", None),
            extra,
        )
        algorithm = "LoCon" if any("conv" in m for m in modules) else "LoRA"
        unmatched = {"unmatched": sorted(extra)} if extra else {}
        self.add(
            name, family, naming, algorithm, rank, alpha, DIFFUSERS, found, expected, **more, **unmatched
        )

    def lyco(
        self,
        name,
        family,
        algorithm,
        modules,
        algo,
        rank,
        alpha,
        seed,
        dtype=torch.float32,
        strengths=(1.0,),
        **more,
    ):
        names, options = more.pop("names", "kohya"), more.pop("options", {})
        own_rank, own_alpha = rank or 4, alpha or 1  # wanted by the library where the algorithm has none
        kind = {"lora_dim": own_rank, "conv_lora_dim": own_rank, "alpha": own_alpha, "conv_alpha": own_alpha}
        made, pipe, found, expected = lycoris.make(
            OUT / f"{name}.safetensors",
            family,
            modules,
            algo,
            seed,
            dtype,
            strengths,
            names,
            **kind,
            **options,
        )
        self.lycoris_runs[name] = made, pipe
        naming = {"ldm": "kohya_ldm"}.get(names, names)
        if options.get("weight_decompose"):
            more["strength_rule"] = "magnitude"
        if algo == "boft" or options.get("rescaled"):
            more["strength_rule"] = "rotation"
        self.add(
            name, family, naming, algorithm, rank, alpha, LYCORIS, found, expected, options=options, **more
        )

    def diffusers(
        self, name, family, algorithm, configs, seed, rank, alpha, strengths=(1.0,), rules=None, **more
    ):
        path = OUT / f"{name}.safetensors"
        kind = {k: more.pop(k) for k in ("header", "text_model") if k in more}
        expected = peft.by_diffusers(path, family, configs, seed, strengths, **kind)
        found = peft.names_in(path, {p + ".": p for p in common.PARTS}, formula.split)
        self.add(name, family, "diffusers", algorithm, rank, alpha, DIFFUSERS, found, expected, rules, **more)

    def folder(
        self, name, family, algorithm, config, seed, rank, alpha, strengths=(1.0,), rules=None, **more
    ):
        part, pickled = more.pop("part", "unet"), more.pop("pickled", False)
        expected = peft.by_peft(OUT / name, family, part, config, seed, strengths, pickled)
        found = peft.names_in(common.weights_in(OUT / name), {"base_model.model.": part}, formula.split)
        if config.peft_type in ("IA3", "OFT", "BOFT"):
            more["strength_rule"] = "none"
        self.add(name, family, "peft", algorithm, rank, alpha, PEFT, found, expected, rules, **more)

    def shapes(self, family, modules):
        pipe = common.pipeline(family)
        return [(m, common.module_of(pipe, m).weight.shape) for m in modules]

    def formula(self, name, family, algorithm, tensors, seed, rules, **more):
        """`tensors` has shapes: {module: {ending: shape}}."""
        pipe, g = common.pipeline(family), torch.Generator().manual_seed(seed)
        names = peft.Names(pipe, "kohya")
        state = {
            f"{names.of(m)}.{ending}": common.random(g, ending.removesuffix(".weight"), torch.empty(shape))
            for m, endings in tensors.items()
            for ending, shape in endings.items()
        }
        save_file(state, OUT / f"{name}.safetensors", {"format": "pt"})
        common.settle(OUT / f"{name}.safetensors")
        base, found = common.weights(pipe), {names.of(m): m for m in tensors}
        merged = {}
        for key, values in formula.modules(state).items():
            module = found[key]
            w, b = formula.merged(base[module + ".weight"], base.get(module + ".bias"), values, 1.0, rules)
            merged[module + ".weight"] = w.float().contiguous()
            if "diff_b" in values:
                merged[module + ".bias"] = b.float()
        self.add(name, family, "kohya", algorithm, None, None, "formula", found, {1.0: merged}, rules, **more)


def check(name, family, file, modules, expected, rules, unmatched):
    """The file alone, by README.md's formulas, must give what the library gave; and nothing else may change."""
    base = common.weights(common.pipeline(family))
    tensors = formula.modules({k: v for k, v in common.read(file).items() if k not in unmatched})
    assert tensors.keys() == modules.keys(), (name, sorted(tensors.keys() ^ modules.keys()))
    for s, values in expected.items():
        named = {}
        for key, module in modules.items():
            own = rules(module) if callable(rules) else rules
            weight, bias = base[module + ".weight"], base.get(module + ".bias")
            w, b = formula.merged(weight, bias, tensors[key], s, own)
            named[module + ".weight"] = w
            if b is not None and not torch.equal(b, bias.double()):
                named[module + ".bias"] = b
        assert named.keys() == values.keys(), (name, s, sorted(named.keys() ^ values.keys()))
        for key, want in named.items():
            error = ((values[key].double() - want).norm() / want.norm()).item()
            moved = ((values[key] - base[key]).norm() / base[key].norm()).item()
            assert error < 5e-7, f"{name} at {s}: {key} differs from the formula by {error:.2e}"
            assert moved > 0.05, f"{name} at {s}: {key} hardly changes ({moved:.3f})"


def check_linear(name, family, expected):
    base = common.weights(common.pipeline(family))
    for s, values in expected.items():
        for key, value in values.items():
            want = base[key] + s * (expected[1.0][key] - base[key])
            error = ((value - want).norm() / want.norm()).item()
            assert error < 5e-7, f"{name} at {s}: {key} is not linear in the strength"
