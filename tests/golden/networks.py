#!/usr/bin/env python3
"""Tiny networks of every family with random weights, and what diffusers and transformers compute with them.

    python tests/golden/networks.py

writes networks/<family>/ (a diffusers folder), networks/<family>.safetensors (the same weights in one file with LDM
names) and networks/<family>/golden.safetensors (inputs, outputs and activations in between); README.md explains the
names.  Made with torch 2.13.0 (CPU), diffusers 0.42.1, transformers 5.23.0, safetensors 0.8.0, on one thread; other
versions or processors may round differently.
"""
import json
import os
import shutil
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import networks_ldm as ldm

HERE = Path(__file__).resolve().parent
OUT = HERE / "networks"
MERGES = HERE.parent.parent / "samples" / "mockup" / "tokenizer" / "merges.txt"
HEIGHT, WIDTH, TOKENS, VOCABULARY = 9, 13, 77, 600
PROMPTS = ["a red mug on a wooden table, studio light", "", "photo of 3 BLUE bottles; on white marble!"]


# ---------------------------------------------------------------- models


def fill(model, seed):
    """Random weights that keep activations near one; each is a half-precision number, so that files can be small."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=g)
            if "norm" in name:
                value = (1 if name.endswith("weight") else 0) + 0.2 * r
            elif p.ndim == 1:
                value = 0.1 * r
            elif "embedding.weight" in name:
                value = 0.5 * r
            else:
                value = r * p[0].numel() ** -0.5
            p.copy_(value.half().float())
    return model.eval().requires_grad_(False)


def text_encoder(seed, hidden, heads, layers, activation, pad, projected):
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        projection_dim=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=TOKENS,
        hidden_act=activation,
        bos_token_id=VOCABULARY - 2,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=pad,
    )
    config._attn_implementation = "eager"
    return fill((CLIPTextModelWithProjection if projected else CLIPTextModel)(config), seed)


def clip_l(seed):
    return text_encoder(seed, 32, 2, 4, "quick_gelu", VOCABULARY - 1, False)


def open_clip_h(seed):
    """SD 2 takes the last but one of OpenCLIP's layers: folders leave the last one out, single files keep it."""
    return text_encoder(seed, 48, 3, 4, "gelu", 0, False)


def open_clip_big_g(seed):
    return text_encoder(seed, 48, 3, 4, "gelu", 0, True)


def vae(seed, scale):
    return fill(
        AutoencoderKL(
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=104,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=scale,
        ),
        seed,
    )


def unet(seed, down, channels, groups, heads, context, **more):
    """`down` has one letter a level: C with cross-attention, D without."""
    down_types = {"C": "CrossAttnDownBlock2D", "D": "DownBlock2D"}
    up_types = {"C": "CrossAttnUpBlock2D", "D": "UpBlock2D"}
    return fill(
        UNet2DConditionModel(
            sample_size=HEIGHT,
            block_out_channels=channels,
            layers_per_block=2,
            norm_num_groups=groups,
            attention_head_dim=heads,
            cross_attention_dim=context,
            down_block_types=tuple(down_types[d] for d in down),
            up_block_types=tuple(up_types[d] for d in reversed(down)),
            **more,
        ),
        seed,
    )


def tokenizer(folder, pad):
    """CLIP's tokenizer with only the first 86 merges, so that the embedding table stays small."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    merges = MERGES.read_text(encoding="utf-8").split("\n")[1 : VOCABULARY - 512 - 2 + 1]
    start, end = "<|startoftext|>", "<|endoftext|>"
    words = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges] + [start, end]
    assert len(set(words)) == VOCABULARY
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = json.dumps({w: i for i, w in enumerate(words)}, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(vocabulary, encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": pad}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TOKENS,
        "do_lower_case": True,
        **special,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def scheduler(prediction):
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
        prediction_type=prediction,
    )


# ---------------------------------------------------------------- goldens


def record(model, names, call):
    """Runs `call` and returns its result with the outputs of the named modules."""
    kept, hooks = {}, []

    def keep(name):
        def hook(_, inputs, out):
            out = out[0] if isinstance(out, tuple) else out
            kept[name] = getattr(out, "sample", out).clone()

        return hook

    for name, module in model.named_modules():
        if name in names:
            hooks.append(module.register_forward_hook(keep(name)))
    with torch.no_grad():
        result = call()
    for hook in hooks:
        hook.remove()
    assert set(kept) == set(names), set(names) - set(kept)
    return result, kept


def text_goldens(name, model, words):
    ids = words(
        PROMPTS, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    body = getattr(model, "text_model", model)
    inside = "text_model." if body is not model else ""
    out = {}
    for batch, rows in (("b1", ids[:1]), ("b3", ids)):
        names = [inside + n for n in ("embeddings", "encoder.layers.0.self_attn", "encoder.layers.0")]
        result, kept = record(model, names, lambda: model(rows, output_hidden_states=True))
        last_but_one = result.hidden_states[-2]
        key = f"{name}.{batch}"
        out[f"{key}.in.ids"] = rows.int()
        out[f"{key}.out.last_hidden_state"] = result.last_hidden_state
        out[f"{key}.out.penultimate"] = last_but_one
        out[f"{key}.out.penultimate_normed"] = body.final_layer_norm(last_but_one)
        ends = (rows == VOCABULARY - 1).int().argmax(1)
        pooled = result.last_hidden_state[torch.arange(len(rows)), ends]
        out[f"{key}.out.pooled"] = pooled
        if hasattr(model, "text_projection"):
            out[f"{key}.out.projected"] = result.text_embeds
            assert torch.equal(model.text_projection(pooled), result.text_embeds)
        else:
            assert torch.equal(result.pooler_output, pooled)
        if batch == "b1":
            out.update({f"{key}.hook.{k.removeprefix('text_model.')}": v for k, v in kept.items()})
    return out


def unet_goldens(model, seed):
    c, g, out = model.config, torch.Generator().manual_seed(seed), {}
    first = next(i for i, kind in enumerate(c.down_block_types) if "Cross" in kind)
    levels = range(len(c.block_out_channels))
    names = [
        "conv_in",
        "time_proj",
        "time_embedding",
        "down_blocks.0.resnets.0",
        "mid_block",
        "conv_norm_out",
    ]
    names += [f"down_blocks.{first}.attentions.0", f"down_blocks.{first}.attentions.0.transformer_blocks.0"]
    names += [f"{way}_blocks.{i}" for way in ("down", "up") for i in levels]
    if c.addition_embed_type:
        names.append("add_embedding")
    for key, batch, step in (("b1", 1, 981.0), ("b1_frac", 1, 123.456), ("b3", 3, 500.25)):
        latent = torch.randn(batch, 4, HEIGHT, WIDTH, generator=g)
        context = torch.randn(batch, TOKENS, c.cross_attention_dim, generator=g)
        t, more = torch.tensor([step]), {}
        out[f"unet.{key}.in.latent"], out[f"unet.{key}.in.context"] = latent, context
        out[f"unet.{key}.in.timestep"] = t
        if c.addition_embed_type:
            pooled = 48
            count = (c.projection_class_embeddings_input_dim - pooled) // c.addition_time_embed_dim
            ids = [72.0, 104.0, 0.0, 8.0] + ([72.0, 104.0] if count == 6 else [6.0])  # size, crop, target or score
            more = {
                "text_embeds": torch.randn(batch, pooled, generator=g),
                "time_ids": torch.tensor([ids] * batch),
            }
            out.update({f"unet.{key}.in.{k}": v for k, v in more.items()})
        call = lambda: model(latent, t.expand(batch), context, added_cond_kwargs=more).sample
        result, kept = record(model, names, call)
        out[f"unet.{key}.out"] = result
        if key == "b1":
            out.update({f"unet.{key}.hook.{k}": v for k, v in kept.items()})
    return out


def vae_goldens(model, seed, inside):
    g, out = torch.Generator().manual_seed(seed), {}
    levels = range(len(model.config.block_out_channels))
    decoder = ["post_quant_conv", "decoder.conv_in", "decoder.mid_block", "decoder.mid_block.attentions.0"]
    decoder += ["decoder.up_blocks.0.resnets.0"] + [f"decoder.up_blocks.{i}" for i in levels]
    encoder = ["encoder.mid_block"] + [f"encoder.down_blocks.{i}" for i in levels]
    for key, batch in (("b1", 1), ("b3", 3)):
        if key == "b3" and not inside:
            continue
        height, width = (HEIGHT, WIDTH) if batch == 1 else (5, 7)
        latent = torch.randn(batch, 4, height, width, generator=g)
        picture, kept = record(model, decoder, lambda: model.decode(latent).sample)
        out[f"vae.{key}.in.latent"], out[f"vae.{key}.out.picture"] = latent, picture
        if inside and key == "b1":
            out.update({f"vae.{key}.hook.{k}": v for k, v in kept.items()})
        source = torch.rand(batch, 3, 8 * height, 8 * width, generator=g) * 2 - 1
        posterior, kept = record(model, encoder, lambda: model.encode(source).latent_dist)
        out[f"vae.{key}.in.picture"] = source
        out[f"vae.{key}.out.moments"] = posterior.parameters
        out[f"vae.{key}.out.mean"] = posterior.mean
        if inside and key == "b1":
            out.update({f"vae.{key}.hook.{k}": v for k, v in kept.items()})
    return out


# ---------------------------------------------------------------- files


def text_state(model):
    """A text encoder's weights with the text_model. prefix that every published checkpoint has."""
    state = {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("position_ids")}
    return {k if k.startswith("text_") else "text_model." + k: v for k, v in state.items()}


def save_folder(folder, pipe):
    """The pipeline as a diffusers folder, weights in half precision, configurations without traces of this machine."""
    pipe.save_pretrained(folder, safe_serialization=True)
    for part in ("tokenizer", "tokenizer_2"):  # the files that published folders have, not transformers 5's
        if getattr(pipe, part, None) is not None:
            pad = getattr(pipe, part).pad_token
            shutil.rmtree(folder / part)
            tokenizer(folder / part, pad)
    for part in ("text_encoder", "text_encoder_2"):
        if getattr(pipe, part, None) is not None:
            save_file(text_state(getattr(pipe, part)), folder / part / "model.safetensors", {"format": "pt"})
    for file in folder.rglob("*.safetensors"):
        save_file({k: v.half() for k, v in load_file(file).items()}, file, {"format": "pt"})
    for file in folder.rglob("*.json"):
        if file.parent.name.startswith("tokenizer"):
            continue
        config = json.loads(file.read_text())
        config = {k: v for k, v in config.items() if k != "_name_or_path"}
        file.write_text(json.dumps(config, indent=2) + "\n")


def save_single(family, pipe, text):
    state = {
        **ldm.unet(pipe.unet.state_dict(), pipe.unet.config),
        **ldm.vae(pipe.vae.state_dict(), pipe.vae.config),
    }
    check_names(pipe, state)
    state |= text
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    state["alphas_cumprod"] = pipe.scheduler.alphas_cumprod.float()
    save_file(state, OUT / f"{family}.safetensors", {"format": "pt"})


def check_names(pipe, state):
    """diffusers' own reader of single files must give back every tensor."""
    config = dict(pipe.unet.config)
    if config["addition_embed_type"]:
        config["class_embed_type"] = None
    unet_back = single_file_utils.convert_ldm_unet_checkpoint(dict(state), config)
    vae_back = single_file_utils.convert_ldm_vae_checkpoint(dict(state), pipe.vae.config)
    for back, model in ((unet_back, pipe.unet), (vae_back, pipe.vae)):
        wanted = model.state_dict()
        assert set(back) == set(wanted), set(back) ^ set(wanted)
        assert all(torch.equal(back[k].reshape(wanted[k].shape), wanted[k]) for k in wanted)


def check_open_clip(model, state, prefix):
    back = single_file_utils.convert_open_clip_checkpoint(model, dict(state), prefix)
    for name, value in text_state(model).items():
        other = name if name in back else name.removeprefix("text_model.")
        assert torch.equal(back[other], value), name


def fused(model, prefix, seed, extra_layer=False):
    """OpenCLIP's part of a single file; where the folder leaves out the last layer, it is here."""
    state = text_state(model)
    if extra_layer:
        bigger = text_encoder(
            seed, model.config.hidden_size, model.config.num_attention_heads, 5, "gelu", 0, False
        )
        state |= {k: v for k, v in text_state(bigger).items() if ".layers.4." in k}
    g = torch.Generator().manual_seed(seed)
    width = model.config.hidden_size
    projection = state.pop("text_projection.weight", torch.randn(width, width, generator=g).half().float())
    out = ldm.open_clip(state, prefix, projection)
    check_open_clip(model, out, prefix)
    return out


# ---------------------------------------------------------------- families


def base_parts(family, prediction="epsilon"):
    folder = OUT / family
    end = "<|endoftext|>"
    words = tokenizer(folder / "tokenizer", "!" if family == "sd2" else end) if family != "refiner" else None
    big = tokenizer(folder / "tokenizer_2", "!") if family in ("sdxl", "refiner") else None
    return folder, words, big, scheduler(prediction)


def finish(family, folder, pipe, texts, single, seed):
    save_folder(folder, pipe)
    save_single(family, pipe, single)
    golden = {}
    for name, model, words in texts:
        golden |= text_goldens(name, model, words)
    golden |= unet_goldens(pipe.unet, seed)
    golden |= vae_goldens(pipe.vae, seed + 1, inside=family == "sd1")
    save_file({k: v.contiguous().clone() for k, v in sorted(golden.items())}, folder / "golden.safetensors")
    print(family, *(f"{n} {sum(p.numel() for p in getattr(pipe, n).parameters())}" for n in ("unet", "vae")))
    for key, value in golden.items():
        if key.endswith(("out", "picture", "last_hidden_state")):
            print(f"  {key:44} {list(value.shape)} mean square {value.float().square().mean():.3f}")


def sd1():
    folder, words, _, sampler = base_parts("sd1")
    text = clip_l(10)
    net = unet(11, "CCCD", (16, 16, 16, 32), 8, 2, 32)
    pipe = StableDiffusionPipeline(
        vae(12, 0.18215), text, words, net, sampler, None, None, requires_safety_checker=False
    )
    single = ldm.clip(text_state(text), "cond_stage_model.transformer.")
    finish("sd1", folder, pipe, [("text_encoder", text, words)], single, 13)


def sd2():
    folder, words, _, sampler = base_parts("sd2", "v_prediction")
    text = open_clip_h(20)
    net = unet(
        21, "CCCD", (8, 16, 16, 16), 4, (1, 2, 2, 2), 48, use_linear_projection=True, upcast_attention=True
    )
    pipe = StableDiffusionPipeline(
        vae(22, 0.18215), text, words, net, sampler, None, None, requires_safety_checker=False
    )
    single = fused(text, "cond_stage_model.model.", 24, extra_layer=True)
    finish("sd2", folder, pipe, [("text_encoder", text, words)], single, 23)


def text_time(ids):
    """The embedding of picture sizes and pooled text that SDXL adds to that of the timestep."""
    return {
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 48 + 8 * ids,
    }


def sdxl():
    folder, words, big, sampler = base_parts("sdxl")
    text, text2 = clip_l(30), open_clip_big_g(31)
    net = unet(
        32, "DCC", (8, 16, 16), 4, (1, 2, 2), 80, transformer_layers_per_block=(1, 2, 3), **text_time(6)
    )
    pipe = StableDiffusionXLPipeline(vae(33, 0.13025), text, text2, words, big, net, sampler)
    single = ldm.clip(text_state(text), "conditioner.embedders.0.transformer.")
    single |= fused(text2, "conditioner.embedders.1.model.", 35)
    finish("sdxl", folder, pipe, [("text_encoder", text, words), ("text_encoder_2", text2, big)], single, 34)


def refiner():
    folder, _, big, sampler = base_parts("refiner")
    text2 = open_clip_big_g(40)
    net = unet(
        41, "DCCD", (8, 8, 16, 16), 4, (1, 1, 2, 2), 48, transformer_layers_per_block=2, **text_time(5)
    )
    pipe = StableDiffusionXLImg2ImgPipeline(
        vae(42, 0.13025), None, text2, None, big, net, sampler, requires_aesthetics_score=True
    )
    single = fused(text2, "conditioner.embedders.0.model.", 44)
    finish("refiner", folder, pipe, [("text_encoder_2", text2, big)], single, 43)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    shutil.rmtree(OUT, ignore_errors=True)
    for family in (sd1, sd2, sdxl, refiner):
        family()
