"""What the training scripts share: models, learning-rate schedule, moving average, checkpoints, token ids."""

import argparse
import copy
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import mockups

HERE = Path(__file__).resolve().parent
TOKENS, EOS = 77, 49407
UNKNOWN = 0  # row of the compact embedding table that stays zero: every word never seen in training


def arguments(description, **defaults):
    """Command line with --work, --seed, --threads and one option per default."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--work", type=Path, default=HERE / "work")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    for name, value in defaults.items():
        p.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    torch.nn.GroupNorm.forward = fp32_group_norm
    return a


def fp32_group_norm(self, x):
    """On CPUs the backward pass of group norm is about twice as fast in float32 as in bfloat16 (torch 2.13)."""
    y = torch.nn.functional.group_norm(
        x.float() if torch.is_grad_enabled() else x, self.num_groups, self.weight, self.bias, self.eps
    )
    return y.to(x.dtype)


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)  # runs on AMX tiles where the processor has them


def new_vae():
    vae = AutoencoderKL(
        block_out_channels=(16, 16, 48, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=256,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    with torch.no_grad():
        vae.quant_conv.bias[4:] = -5  # start with little sampling noise: the decoder learns faster
    return vae


def new_unet():
    """The shape of Stable Diffusion 1 with one layer a block; every attention head is 32 wide."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=64,
        attention_head_dim=(1, 2, 4, 4),
        norm_num_groups=8,
    )


def new_text_encoder(words):
    """A four-layer CLIP text model over `words` token rows (row 0 is UNKNOWN and stays zero)."""
    model = CLIPTextModel(
        CLIPTextConfig(
            attn_implementation="eager",
            vocab_size=words,
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            projection_dim=64,
            pad_token_id=1,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
        )
    )
    table = text_body(model).embeddings
    table.token_embedding = torch.nn.Embedding(words, 64, padding_idx=UNKNOWN)
    torch.nn.init.normal_(table.token_embedding.weight, std=0.3)
    torch.nn.init.normal_(table.position_embedding.weight, std=0.1)
    with torch.no_grad():
        table.token_embedding.weight[UNKNOWN].zero_()
    return model


def text_body(model):
    """The transformer inside a CLIPTextModel (older releases of transformers wrap it once more)."""
    return getattr(model, "text_model", model)


class Words:
    """Maps the 49408 CLIP token ids to the few that the captions use, and back."""

    def __init__(self, work):
        self.tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
        file = work / "words.txt"
        if not file.exists():  # collect the ids of all base captions once
            rng, seen = random.Random(0), set()
            for i in range(20000):
                seen.update(self.tokenizer(mockups.caption(mockups.scene(i), rng)).input_ids)
            file.write_text("\n".join(map(str, sorted(seen))))
        self.ids = [int(v) for v in file.read_text().split()]  # the last two are <start> and <end>
        self.row = {v: i + 1 for i, v in enumerate(self.ids)}

    def __len__(self):
        return len(self.ids) + 1

    def encode(self, text, extra=0, rng=None):
        """Compact ids [77] of a caption, padded with the end token; `extra` unknown words are strewn in."""
        rows = [
            self.row.get(v, UNKNOWN)
            for v in self.tokenizer(text, truncation=True, max_length=TOKENS).input_ids
        ]
        for _ in range(extra):
            rows.insert(rng.randint(1, len(rows) - 1), UNKNOWN)
        return (rows + [self.row[EOS]] * TOKENS)[:TOKENS]


def plain_attention(unet):
    """Plain matrix products for short sequences: the CPU's fused attention kernel is several times slower backwards.
    The fused one stays where 1024 tokens look at each other."""
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    unet.set_attn_processor(
        {
            name: (
                AttnProcessor2_0()
                if name.startswith(("down_blocks.0.", "up_blocks.3.")) and ".attn1." in name
                else AttnProcessor()
            )
            for name in unet.attn_processors
        }
    )
    return unet


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised for weight matrices (convolutions are flattened to [out, in*k*k]) and AdamW
    for everything else; the update's size is matched to AdamW's, so both share one learning rate.  On budgets of a few
    thousand steps it needs far fewer of them than AdamW alone."""

    def __init__(self, model, lr, momentum=0.95, betas=(0.9, 0.99), weight_decay=1e-2):
        plain = ("embedding", "conv_in", "conv_out", "quant_conv")
        named = list(model.named_parameters())
        self.matrices = [
            p for n, p in named if p.requires_grad and p.ndim >= 2 and not any(s in n for s in plain)
        ]
        chosen = {id(p) for p in self.matrices}
        rest = [p for n, p in named if p.requires_grad and id(p) not in chosen]
        self.adam = torch.optim.AdamW(rest, lr, betas=betas, weight_decay=weight_decay, fused=True)
        self.momentum, self.weight_decay = momentum, weight_decay
        super().__init__(self.matrices, {"lr": lr})

    @torch.no_grad()
    def step(self):
        lr = self.param_groups[0]["lr"]
        self.adam.param_groups[0]["lr"] = lr
        self.adam.step()
        shapes = {}
        for p in self.matrices:  # equal shapes share one batched product
            if p.grad is not None:
                shapes.setdefault((len(p), p.numel() // len(p)), []).append(p)
        for (rows, columns), group in shapes.items():
            updates = []
            for p in group:
                m = self.state[p].setdefault("momentum", torch.zeros_like(p))
                m.mul_(self.momentum).add_(p.grad)
                updates.append(p.grad.add(m, alpha=self.momentum).reshape(rows, columns))
            updates = orthogonal(torch.stack(updates))
            for p, u in zip(group, updates.float()):
                p.mul_(1 - lr * self.weight_decay).add_(
                    u.view(p.shape), alpha=-lr * 0.2 * max(rows, columns) ** 0.5
                )

    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none)
        self.adam.zero_grad(set_to_none)


def orthogonal(g):
    """Five Newton-Schulz steps towards the nearest matrix with all singular values near one; g is [n, rows, columns]."""
    flip = g.shape[1] > g.shape[2]
    x = (g.mT if flip else g).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if flip else x


def learning_rate(optimizer, peak, step, steps, warmup=200):
    lr = peak * min(1, (step + 1) / warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
    for group in optimizer.param_groups:
        group["lr"] = lr


class Average:
    """Exponential moving average of a model's parameters, with a ramp so that early steps are forgotten quickly."""

    def __init__(self, model, decay):
        self.model, self.decay, self.step = copy.deepcopy(model).eval().requires_grad_(False), decay, 0

    @torch.no_grad()
    def update(self, model):
        self.step += 1
        k = 1 - min(self.decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), k)


class Log:
    """Prints and keeps one line per report."""

    def __init__(self, file):
        self.file, self.start = open(file, "a"), time.time()

    def __call__(self, text):
        line = f"{time.time() - self.start:7.0f} s  {text}"
        print(line, flush=True)
        self.file.write(line + "\n")
        self.file.flush()


def to_float(pictures):
    """uint8 [N,H,W,3] array to float [N,3,H,W] in -1..1, channels last."""
    x = torch.tensor(np.asarray(pictures)).permute(0, 3, 1, 2)
    return (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def to_bytes(x):
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def top_attention(unet, enabled):
    """Switches the attention blocks at full latent resolution.  They are residual, and `new_unet` callers zero their last
    projection, so that a model trained without them can take them in later; half of a step's time is spent there.
    """
    for block in (unet.down_blocks[0], unet.up_blocks[-1]):
        for attention in block.attentions:
            if enabled:
                attention.__dict__.pop("forward", None)
            else:
                attention.forward = lambda x, *args, **kwargs: (x,)


def scheduler(kind="euler"):
    from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler

    kinds = {"euler": EulerDiscreteScheduler, "dpm++2m": DPMSolverMultistepScheduler, "pndm": PNDMScheduler}
    config = dict(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        timestep_spacing="leading",
        steps_offset=1,
    )
    if kind == "pndm":
        config.update(skip_prk_steps=True, set_alpha_to_one=False)
    return kinds[kind](**config)


@torch.no_grad()
def sample(vae, scale, text, unet, rows, seeds, steps=20, guidance=5.0, kind="euler", empty=None):
    """uint8 pictures [N,256,256,3] for compact token rows [N,77], one seed each, with classifier-free guidance."""
    s = scheduler(kind)
    s.set_timesteps(steps)
    x = (
        torch.stack([torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(v)) for v in seeds])
        * s.init_noise_sigma
    )
    with autocast():
        context = text(torch.cat([empty.expand_as(rows), rows])).last_hidden_state
        for t in s.timesteps:
            out = unet(s.scale_model_input(torch.cat([x, x]), t), t, context).sample.float()
            plain, wanted = out.chunk(2)
            x = s.step(plain + guidance * (wanted - plain), t, x).prev_sample
        return np.concatenate([to_bytes(vae.decode(part / scale).sample) for part in x.split(8)])
