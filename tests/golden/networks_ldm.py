"""Names of the single-file (LDM) checkpoints for weights that have diffusers and transformers names.

The reverse of what diffusers' single-file loader does; networks.py checks each file against that loader.
"""

import torch

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def moved(state, old, new, inner=None):
    """Everything below `old.` renamed to `new.`; `inner` maps the next part of the name where it has an entry."""
    out = {}
    for name, value in state.items():
        if not name.startswith(old + "."):
            continue
        rest = name[len(old) + 1 :]
        for a, b in (inner or {}).items():
            if rest.startswith(a + "."):
                rest = b + rest[len(a) :]
                break
        out[f"{new}.{rest}"] = value
    return out


def unet(state, config):
    """LDM names below model.diffusion_model. of a UNet2DConditionModel."""
    out, levels, layers = {}, len(config["block_out_channels"]), config["layers_per_block"]

    def take(old, new, inner=None):
        found = moved(state, old, "model.diffusion_model." + new, inner)
        out.update(found)
        return bool(found)

    take("conv_in", "input_blocks.0.0")
    take("time_embedding.linear_1", "time_embed.0")
    take("time_embedding.linear_2", "time_embed.2")
    take("add_embedding.linear_1", "label_emb.0.0")
    take("add_embedding.linear_2", "label_emb.0.2")
    index = 1
    for i in range(levels):
        for j in range(layers):
            take(f"down_blocks.{i}.resnets.{j}", f"input_blocks.{index}.0", RESNET)
            take(f"down_blocks.{i}.attentions.{j}", f"input_blocks.{index}.1")
            index += 1
        if take(f"down_blocks.{i}.downsamplers.0.conv", f"input_blocks.{index}.0.op"):
            index += 1
    take("mid_block.resnets.0", "middle_block.0", RESNET)
    take("mid_block.attentions.0", "middle_block.1")
    take("mid_block.resnets.1", "middle_block.2", RESNET)
    for i in range(levels):
        for j in range(layers + 1):
            index = i * (layers + 1) + j
            take(f"up_blocks.{i}.resnets.{j}", f"output_blocks.{index}.0", RESNET)
            attention = take(f"up_blocks.{i}.attentions.{j}", f"output_blocks.{index}.1")
        take(f"up_blocks.{i}.upsamplers.0.conv", f"output_blocks.{index}.{1 + attention}.conv")
    take("conv_norm_out", "out.0")
    take("conv_out", "out.2")
    assert len(out) == len(state)
    return out


def vae(state, config):
    """LDM names below first_stage_model. of an AutoencoderKL."""
    out, levels, layers = {}, len(config["block_out_channels"]), config["layers_per_block"]
    resnet = {"conv_shortcut": "nin_shortcut"}

    def take(old, new, inner=None):
        out.update(moved(state, old, "first_stage_model." + new, inner))

    for part in ("encoder", "decoder"):
        take(f"{part}.conv_in", f"{part}.conv_in")
        take(f"{part}.mid_block.resnets.0", f"{part}.mid.block_1", resnet)
        take(f"{part}.mid_block.attentions.0", f"{part}.mid.attn_1", VAE_ATTENTION)
        take(f"{part}.mid_block.resnets.1", f"{part}.mid.block_2", resnet)
        take(f"{part}.conv_norm_out", f"{part}.norm_out")
        take(f"{part}.conv_out", f"{part}.conv_out")
    for i in range(levels):
        for j in range(layers + 1):
            take(f"encoder.down_blocks.{i}.resnets.{j}", f"encoder.down.{i}.block.{j}", resnet)
            take(f"decoder.up_blocks.{i}.resnets.{j}", f"decoder.up.{levels - 1 - i}.block.{j}", resnet)
        take(f"encoder.down_blocks.{i}.downsamplers.0.conv", f"encoder.down.{i}.downsample.conv")
        take(f"decoder.up_blocks.{i}.upsamplers.0.conv", f"decoder.up.{levels - 1 - i}.upsample.conv")
    take("quant_conv", "quant_conv")
    take("post_quant_conv", "post_quant_conv")
    assert len(out) == len(state)
    for name, value in out.items():  # linear layers here, 1x1 convolutions there
        if ".attn_1." in name and value.ndim == 2:
            out[name] = value[:, :, None, None]
    return out


def clip(state, prefix):
    """Names of a CLIP text model as transformers 4 wrote it, as SD 1 files hold it."""
    tokens = state["text_model.embeddings.position_embedding.weight"].shape[0]
    out = {prefix + name: value for name, value in state.items()}
    out[prefix + "text_model.embeddings.position_ids"] = torch.arange(tokens)[None]
    return out


def open_clip(state, prefix, projection):
    """OpenCLIP's names: fused query, key and value, and the projection transposed.  `projection` is [out, in]."""
    out = {
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": projection.T.contiguous(),
        "logit_scale": torch.tensor(4.6052),
    }
    out.update(moved(state, "text_model.embeddings.token_embedding", "token_embedding"))
    out.update(moved(state, "text_model.final_layer_norm", "ln_final"))
    layer = 0
    while f"text_model.encoder.layers.{layer}.mlp.fc1.weight" in state:
        old, new = f"text_model.encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        own = {k: v for k, v in state.items() if not any(f"attn.{p}_proj" in k for p in "qkv")}
        out.update(moved(own, old, new, OPEN_CLIP))
        for kind in ("weight", "bias"):
            parts = [state[f"{old}.self_attn.{p}_proj.{kind}"] for p in "qkv"]
            out[f"{new}.attn.in_proj_{kind}"] = torch.cat(parts)
        layer += 1
    return {prefix + name: value for name, value in out.items()}
