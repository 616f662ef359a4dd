"""Which adapters loras.py makes: modules, ranks, alphas, algorithms and namings."""

import torch
from peft import BOFTConfig, IA3Config, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig

F16, F32 = torch.float16, torch.float32
ALL = (1.0, 0.5, -0.5)

# ---------------------------------------------------------------- modules

A1 = "unet.down_blocks.1.attentions.0."
B1 = A1 + "transformer_blocks.0."
R1 = "unet.down_blocks.1.resnets.0."
T1 = "text_encoder.text_model.encoder.layers.1."
X1 = "text_encoder_2.text_model.encoder.layers.2."
LINEAR = [B1 + "attn1.to_q", B1 + "attn1.to_out.0", B1 + "attn2.to_k"]
# SD 1 and 2: projections are 1x1 convolutions in the former, linear in the latter.
MIXED = LINEAR + [B1 + "ff.net.2", A1 + "proj_in", R1 + "conv1"]
CONV = [R1 + "conv1", "unet.up_blocks.1.upsamplers.0.conv", "unet.down_blocks.3.resnets.0.conv_shortcut"]
NORMS = [B1 + "norm1", A1 + "norm", R1 + "norm1"]
EVERY_KIND = [
    *LINEAR,
    B1 + "ff.net.0.proj",
    B1 + "ff.net.2",
    A1 + "proj_in",
    "unet.mid_block.attentions.0.proj_out",
    R1 + "conv1",
    R1 + "time_emb_proj",
    "unet.time_embedding.linear_1",
    "unet.conv_in",
    "unet.down_blocks.0.downsamplers.0.conv",
    "unet.up_blocks.2.upsamplers.0.conv",
    "unet.up_blocks.3.resnets.1.conv_shortcut",
    "unet.conv_out",
    T1 + "self_attn.q_proj",
    T1 + "self_attn.out_proj",
    T1 + "mlp.fc1",
]
XL = [
    *LINEAR,
    "unet.down_blocks.2.attentions.1.transformer_blocks.2.ff.net.0.proj",
    A1 + "proj_in",
    R1 + "conv1",
    R1 + "conv_shortcut",
    R1 + "time_emb_proj",
    "unet.down_blocks.0.downsamplers.0.conv",
    "unet.mid_block.resnets.1.conv2",
    "unet.up_blocks.1.upsamplers.0.conv",
]
XL_ENDS = ["unet.conv_in", "unet.conv_out", "unet.time_embedding.linear_2", "unet.add_embedding.linear_1"]
XL_TEXT = [T1 + "self_attn.out_proj", T1 + "mlp.fc2", X1 + "self_attn.out_proj", X1 + "mlp.fc1"]


def paths(modules, part="unet"):
    """Module paths as PEFT wants them: without the part, and without text_model., which transformers 5 lacks."""
    mine = (m.removeprefix(part + ".") for m in modules if m.startswith(part + "."))
    return sorted(m.removeprefix("text_model.") for m in mine)


def namings(g):
    kohya = {
        "ss_network_module": "networks.lora",
        "ss_base_model_version": "sd_v1",
        "ss_output_name": "kohya_sd1",
    }
    xl = kohya | {"ss_base_model_version": "sdxl_base_v1-0", "ss_output_name": "kohya_sdxl"}
    few = LINEAR + [T1 + "self_attn.q_proj", T1 + "self_attn.out_proj"]
    # diffusers knows kohya's attention names of a text encoder only where an out_proj is among them.
    text = [T1 + "self_attn.v_proj", T1 + "self_attn.out_proj", T1 + "mlp.fc2"]
    g.lora("kohya_sd1", "sd1", "kohya", EVERY_KIND, (4, 2), (2, 3), 1, strengths=(1.0, -0.5), header=kohya)
    g.lora("kohya_sd2_no_alpha", "sd2", "kohya", MIXED + text, 3, None, 2, F32)
    g.lora("kohya_plain_text", "sd1", "kohya_plain_text", text, 2, 1, 3)
    g.lora("kohya_sdxl", "sdxl", "kohya", XL + XL_TEXT, 3, 3, 4, header=xl)
    # diffusers gives attention layers the alpha that most modules have: linear layers must be in the majority here.
    g.lora("kohya_sdxl_ldm", "sdxl", "kohya_ldm", XL + XL_ENDS + XL_TEXT, (2, 3), (1, 2), 5, header=xl)
    g.lora("onetrainer_sdxl", "sdxl", "omi", LINEAR + XL[3:6] + XL_TEXT, 2, 1, 6, F32)
    stray = {
        "lora_unet_down_blocks_7_attentions_0_proj_in.lora_down.weight": torch.ones(2, 16).half(),
        "lora_unet_down_blocks_7_attentions_0_proj_in.lora_up.weight": torch.ones(16, 2).half(),
        "lora_unet_down_blocks_7_attentions_0_proj_in.alpha": torch.tensor(1.0).half(),
        "lora_te_text_model_encoder_layers_1_mlp_fc3.lora_down.weight": torch.ones(2, 32).half(),
    }
    g.lora("kohya_unmatched", "sd1", "kohya", LINEAR, 2, 1, 7, extra=stray)
    g.lora("processors", "sd1", "processors", few, 4, None, 8, F32)
    g.lora("processors_bare", "sd1", "processors_bare", LINEAR, 2, None, 9, F32)
    g.lora("diffusers_old", "sd1", "diffusers_old", MIXED + text, 2, None, 10)
    g.lora("diffusers_no_header", "sd1", "diffusers", MIXED, 3, None, 11)


def by_diffusers(g):
    def config(modules, part="unet", **more):
        return LoraConfig(target_modules=paths(modules, part), init_lora_weights=False, **more)

    text = [T1 + "self_attn.q_proj", T1 + "mlp.fc1"]
    g.diffusers(
        "diffusers_sd1",
        "sd1",
        "LoCon",
        {
            "unet": config(
                MIXED, r=4, lora_alpha=2, rank_pattern={"conv1": 2}, alpha_pattern={"conv1": 3, "to_q": 5}
            ),
            "text_encoder": config(text, "text_encoder", r=2, lora_alpha=3),
        },
        21,
        {"text_encoder": 2, "unet": 4, "conv1": 2},
        {"text_encoder": 3, "unet": 2, "conv1": 3, "to_q": 5},
        rules=lambda m: {
            "alpha": 3 if m.startswith("text") or "conv1" in m else 5 if m.endswith("to_q") else 2
        },
    )
    g.diffusers(
        "diffusers_sdxl",
        "sdxl",
        "LoCon",
        {
            "unet": config(XL[:7], r=3, lora_alpha=3),
            "text_encoder": config(XL_TEXT, "text_encoder", r=3, lora_alpha=3),
            "text_encoder_2": config(XL_TEXT, "text_encoder_2", r=2, lora_alpha=2),
        },
        22,
        {"text_encoder_2": 2, "": 3},
        None,
        header=False,
        text_model=True,
    )
    rslora = {"unet": config(MIXED, r=3, lora_alpha=2, use_rslora=True)}
    g.diffusers(
        "diffusers_rslora",
        "sd1",
        "LoCon, rank-stabilised",
        rslora,
        23,
        3,
        2,
        rules={"alpha": 2, "rslora": True},
    )
    dora = {"unet": config(MIXED, r=3, lora_alpha=2, use_dora=True)}
    g.diffusers("diffusers_dora", "sd1", "DoRA", dora, 24, 3, 2, ALL, {"alpha": 2}, strength_rule="inside")
    bias = {"unet": config(MIXED[1:2] + MIXED[3:], r=2, lora_alpha=1, lora_bias=True)}
    g.diffusers("diffusers_bias", "sd1", "LoCon with biases", bias, 25, 2, 1, (1.0, 0.5), {"alpha": 1})


def by_peft(g):
    unet = {"target_modules": paths(MIXED)}
    g.folder(
        "peft_patterns",
        "sd1",
        "LoCon",
        LoraConfig(
            r=3,
            lora_alpha=2,
            rank_pattern={"attn1.to_q": 2, "resnets.0.conv1": 4},
            alpha_pattern={"to_q": 5, r"net\.\d": 1},
            init_lora_weights=False,
            **unet,
        ),
        31,
        {"attn1.to_q": 2, "resnets.0.conv1": 4, "": 3},
        {"to_q": 5, r"net\.\d": 1, "": 2},
        (1.0, 0.5),
        lambda m: {"alpha": 5 if m.endswith("to_q") else 1 if ".net." in m else 2},
    )
    rslora = LoraConfig(r=3, lora_alpha=2, use_rslora=True, init_lora_weights=False, **unet)
    g.folder(
        "peft_rslora", "sd2", "LoCon, rank-stabilised", rslora, 32, 3, 2, rules={"alpha": 2, "rslora": True}
    )
    dora = LoraConfig(r=2, lora_alpha=4, use_dora=True, init_lora_weights=False, **unet)
    g.folder("peft_dora", "sd1", "DoRA", dora, 33, 2, 4, ALL, {"alpha": 4}, strength_rule="inside")
    text = LoraConfig(
        r=2,
        lora_alpha=1,
        target_modules=["encoder.layers.1.self_attn.q_proj", "encoder.layers.1.mlp.fc1"],
        init_lora_weights=False,
    )
    g.folder("peft_text", "sd1", "LoRA", text, 34, 2, 1, rules={"alpha": 1}, part="text_encoder")
    on_input = paths([B1 + "ff.net.2", R1 + "conv1"])
    ia3 = IA3Config(feedforward_modules=on_input, init_ia3_weights=False, **unet)
    rules = lambda m: {"on_input": m.endswith(tuple(on_input))}
    g.folder("peft_ia3", "sd1", "(IA)^3", ia3, 35, None, None, rules=rules)
    oft = {"r": 0, "oft_block_size": 4, **unet}
    g.folder("peft_oft", "sd1", "OFT", OFTConfig(**oft), 36, None, None)
    exact = OFTConfig(use_cayley_neumann=False, **oft)
    g.folder(
        "peft_oft_exact",
        "sd1",
        "OFT, exact Cayley transform",
        exact,
        37,
        None,
        None,
        rules={"neumann": False},
    )
    g.folder(
        "peft_oft_shared", "sd1", "OFT, shared blocks", OFTConfig(block_share=True, **oft), 38, None, None
    )
    coft = OFTConfig(coft=True, eps=1.2, **oft)
    rules = lambda m: {"coft": 1.2}
    g.folder("peft_coft", "sd1", "OFT, constrained", coft, 42, None, None, rules=rules)
    one = BOFTConfig(boft_block_size=4, **unet)
    g.folder("peft_boft", "sd1", "BOFT, one stage", one, 43, None, None)
    stages = BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=3, **unet)
    g.folder("peft_boft_stages", "sd1", "BOFT, three stages", stages, 44, None, None)
    bin = LoraConfig(r=2, lora_alpha=3, init_lora_weights=False, **unet)
    g.folder("peft_bin", "sd1", "LoCon", bin, 45, 2, 3, rules={"alpha": 3}, pickled=True)
    loha = LoHaConfig(r=2, alpha=1, use_effective_conv2d=True, **unet)
    g.folder("peft_loha", "sd1", "LoHa, Tucker for convolutions", loha, 39, 2, 1, (1.0, 0.5), {"alpha": 1})
    lokr = LoKrConfig(r=2, alpha=3, decompose_factor=2, use_effective_conv2d=True, **unet)
    g.folder(
        "peft_lokr",
        "sd1",
        "LoKr, Tucker for convolutions",
        lokr,
        40,
        2,
        3,
        (1.0, 0.5),
        {"alpha": 3, "rank": 2},
    )
    whole = LoKrConfig(r=8, alpha=4, decompose_factor=4, **unet)
    g.folder("peft_lokr_whole", "sd1", "LoKr, both whole", whole, 41, 8, 4, rules={"alpha": 4, "rank": 8})


def by_formula(g):
    """Layouts whose programs are no libraries: expected is what the table's formulas give."""
    g.formula(
        "oft_onetrainer",
        "sd1",
        "OFT",
        {m: {"oft_R.weight": (shape[1:].numel() // 4, 6)} for m, shape in g.shapes("sd1", MIXED)},
        81,
        {"onetrainer": True},
        strength_rule="none",
    )
    biased = [B1 + "attn1.to_out.0", R1 + "conv1"]
    g.formula(
        "kohya_diff_b",
        "sd1",
        "LoCon with bias differences",
        {
            m: {
                "lora_down.weight": (2, *shape[1:]),
                "lora_up.weight": (shape[0], 2, *[1] * (len(shape) - 2)),
                "diff_b": (shape[0],),
            }
            for m, shape in g.shapes("sd1", biased)
        },
        82,
        {},
    )


def by_lycoris(g):
    tucker, text = {"use_tucker": True}, [T1 + "self_attn.q_proj", T1 + "mlp.fc2"]
    g.lyco("locon_mid", "sd1", "LoCon with mid", CONV, "locon", 3, 1.5, 51, F16, (1.0, -0.5), options=tucker)
    g.lyco(
        "locon_mid_sdxl",
        "sdxl",
        "LoCon with mid",
        XL[3:],
        "locon",
        2,
        1.0,
        52,
        F16,
        names="ldm",
        options=tucker,
    )
    g.lyco(
        "locon_rslora", "sd2", "LoCon, rank-stabilised", MIXED, "locon", 3, 2.0, 53, options={"rs_lora": True}
    )
    dora = {"weight_decompose": True}
    on_input = dora | {"wd_on_out": False}
    g.lyco(
        "dora_output", "sd1", "DoRA, output axis", MIXED + text, "locon", 3, 1.5, 54, F32, ALL, options=dora
    )
    g.lyco("dora_input", "sd1", "DoRA, input axis", MIXED, "locon", 2, 1.0, 55, F16, ALL, options=on_input)
    g.lyco("loha", "sd1", "LoHa", MIXED + text[:1], "loha", 2, 1.0, 56, F16, (1.0, -0.5))
    g.lyco("loha_tucker", "sd2", "LoHa, Tucker", MIXED + CONV[1:2], "loha", 3, 2.0, 57, options=tucker)
    g.lyco("loha_dora", "sd2", "DoRA on LoHa", MIXED, "loha", 2, 1.0, 58, F32, (1.0, 0.5), options=dora)
    factor = {"factor": 4}
    g.lyco("lokr", "sd1", "LoKr", MIXED + text, "lokr", 1, 0.5, 59, F16, (1.0, -0.5), options=factor)
    g.lyco("lokr_whole", "sd1", "LoKr, both whole", MIXED, "lokr", 8, 2.0, 60, options={"full_matrix": True})
    both = {"decompose_both": True, "factor": -1}
    wide = [B1 + "ff.net.0.proj", T1 + "mlp.fc1"]
    g.lyco("lokr_factored", "sd1", "LoKr, both factored", wide, "lokr", 2, 3.0, 61, options=both)
    low = {"factor": 2, **tucker}
    g.lyco("lokr_tucker", "sd1", "LoKr, Tucker", MIXED + CONV[1:], "lokr", 2, 3.0, 62, options=low)
    unbalanced = {"factor": 2, "unbalanced_factorization": True}
    g.lyco("lokr_unbalanced", "sd1", "LoKr, o1 > o2", MIXED, "lokr", 2, 1.0, 63, options=unbalanced)
    g.lyco(
        "lokr_dora", "sd1", "DoRA on LoKr", MIXED, "lokr", 1, 0.5, 64, F32, (1.0, 0.5), options=factor | dora
    )
    g.lyco("lokr_own_names", "sd1", "LoKr", MIXED, "lokr", 1, 0.5, 65, names="lycoris", options=factor)
    g.lyco("oft", "sd1", "OFT", MIXED + text, "diag-oft", 4, None, 66, F16, ALL)
    tight = {"constraint": 0.03125, "rescaled": True}
    g.lyco(
        "oft_constrained",
        "sd1",
        "OFT with constraint and rescale",
        MIXED,
        "diag-oft",
        4,
        None,
        67,
        F32,
        ALL,
        options=tight,
    )
    g.lyco(
        "oft_kohya",
        "sd1",
        "OFT",
        MIXED,
        "diag-oft",
        4,
        None,
        68,
        names="kohya_oft",
        options={"constraint": 0.0625},
    )
    g.lyco("boft", "sd1", "BOFT", MIXED, "boft", 4, None, 69, F16, ALL)
    g.lyco(
        "boft_constrained",
        "sd1",
        "BOFT with constraint and rescale",
        MIXED,
        "boft",
        4,
        None,
        70,
        F32,
        ALL,
        options=tight,
    )
    g.lyco("ia3_output", "sd1", "(IA)^3 on the output", MIXED + text, "ia3", None, None, 71, F16, (1.0, -0.5))
    on = {"train_on_input": True}
    g.lyco(
        "ia3_input", "sd1", "(IA)^3 on the input", MIXED, "ia3", None, None, 72, F32, (1.0, 0.5), options=on
    )
    g.lyco("glora", "sd1", "GLoRA", MIXED + text[:1], "glora", 3, 1.5, 73, F32, (1.0, -0.5))
    g.lyco("full", "sd2", "full difference with biases", MIXED, "full", None, None, 74, F16, (1.0, 0.5))
    g.lyco(
        "norm",
        "sd1",
        "norm layers",
        NORMS + LINEAR[:1],
        "locon",
        2,
        1.0,
        75,
        F32,
        (1.0, -0.5),
        options={"train_norm": True},
    )


KINDS = (namings, by_diffusers, by_peft, by_lycoris, by_formula)
