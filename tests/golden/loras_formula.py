"""Merged weights from the tensors of an adapter file by the formulas of README.md, in f64.

loras.py compares every golden with these, so that the table cannot drift from what the libraries compute.
"""

import math

import torch

# Endings of keys, longest first; what remains is the module's name.
ROLES = {
    "down": ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_linear_layer.down.weight"),
    "up": ("lora_up.weight", "lora_B.weight", "lora.up.weight", "lora_linear_layer.up.weight"),
    "mid": ("lora_mid.weight",),
    "up_bias": ("lora_B.bias",),
    "peft_magnitude": ("lora_magnitude_vector",),
    **{
        name: (name,)
        for name in (
            "alpha dora_scale hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2 lokr_w1 lokr_w1_a lokr_w1_b "
            "lokr_w2 lokr_w2_a lokr_w2_b lokr_t2 oft_blocks rescale oft_R.weight on_input ia3_l a1.weight a2.weight "
            "boft_R boft_s b1.weight b2.weight diff diff_b w_norm b_norm weight"
        ).split()
    },
}
ENDINGS = {"." + ending: role for role, endings in ROLES.items() for ending in endings}
ENDINGS |= {"_lora.down.weight": "down", "_lora.up.weight": "up"}  # attention processors: to_q_lora
LONGEST_FIRST = sorted(ENDINGS, key=len, reverse=True)


def split(key):
    """(name of the module, role of the tensor)"""
    ending = next(e for e in LONGEST_FIRST if key.endswith(e))
    return key[: -len(ending)], ENDINGS[ending]


def modules(tensors):
    """{name: {role: tensor}} of a file, in f64."""
    out = {}
    for key, value in tensors.items():
        name, role = split(key)
        out.setdefault(name, {})[role] = value.double()
    return out


def flat(t):
    return t.reshape(t.shape[0], -1)


def tucker(t, a, b):
    """[p,q,kh,kw] of t [r,r,kh,kw], a [r,p] and b [r,q]."""
    return torch.einsum("mnhw,mp,nq->pqhw", t, a, b)


def scale(v, rank, rules):
    alpha = rules.get("alpha", v["alpha"].item() if "alpha" in v else rank)
    rank = rules.get("rank", rank)
    return alpha / (math.sqrt(rank) if rules.get("rslora") else rank)


def low_rank(w, v, rules):
    rank = v["down"].shape[0]
    if "mid" in v:
        delta = tucker(v["mid"], flat(v["up"]).T, flat(v["down"]))
    else:
        delta = (flat(v["up"]) @ flat(v["down"])).reshape(w.shape)
    return scale(v, rank, rules) * delta


def hadamard(w, v, rules):
    half = []
    for i in "12":
        a, b = v[f"hada_w{i}_a"], v[f"hada_w{i}_b"]
        half.append(tucker(v[f"hada_t{i}"], a, b) if "hada_t1" in v else a @ b)
    return (scale(v, v["hada_w1_b"].shape[0], rules) * half[0] * half[1]).reshape(w.shape)


def kronecker(w, v, rules):
    factored = [v[k] for k in ("lokr_w1_b", "lokr_w2_b") if k in v]
    c = scale(v, factored[0].shape[0], rules) if factored else scale(v, 1, rules) if "rank" in rules else 1
    w1 = v["lokr_w1"] if "lokr_w1" in v else v["lokr_w1_a"] @ v["lokr_w1_b"]
    if "lokr_w2" in v:
        w2 = v["lokr_w2"]
    elif "lokr_t2" in v:
        w2 = tucker(v["lokr_t2"], v["lokr_w2_a"], v["lokr_w2_b"])
    else:
        w2 = v["lokr_w2_a"] @ v["lokr_w2_b"]
    kernel = w[0, 0].numel()
    w2 = w2.reshape(w.shape[0] // w1.shape[0], w.shape[1] // w1.shape[1], kernel)
    return c * torch.einsum("ab,cdk->acbdk", w1, w2).reshape(w.shape)


def glora(w, v, rules):
    change = torch.einsum("oi...,ij->oj...", w, flat(v["a1.weight"]) @ flat(v["a2.weight"]))
    change = change + (flat(v["b1.weight"]) @ flat(v["b2.weight"])).reshape(w.shape)
    return scale(v, v["a2.weight"].shape[0], rules) * change


def decomposed(w, delta, m, s):
    """LyCORIS: the direction in full, the magnitude at strength s."""
    total = w + delta
    axes = [a for a in range(w.ndim) if a != (0 if m.shape[0] == w.shape[0] else 1)]
    n = total.square().sum(axes, keepdim=True).sqrt() + 2.0**-23
    return total * (1 + s * (m / n - 1))


def rotations(v, outputs):
    """R of every block, from blocks [...,b,b]."""
    q = v["oft_blocks"] - v["oft_blocks"].transpose(-1, -2)
    limit, n = v["alpha"].item() * outputs if "alpha" in v else 0, q.norm() + 1e-8
    if 0 < limit < n:
        q = q * limit / n
    i = torch.eye(q.shape[-1], dtype=q.dtype)
    return (i + q) @ (i - q).inverse()


def orthogonal(w, v, s):
    r = rotations(v, w.shape[0])
    b = r.shape[-1]
    r = torch.eye(b, dtype=r.dtype) + s * (r - torch.eye(b, dtype=r.dtype))
    x = flat(w)
    if r.ndim == 3:
        x = torch.einsum("knm,kni->kmi", r, x.reshape(-1, b, x.shape[1])).reshape(x.shape)
    else:
        for stage, blocks in enumerate(r):
            h = 2**stage * b // 2
            row = torch.arange(x.shape[0])
            rest, g, j = row // (2 * h), row // h % 2, row % h
            to = rest * 2 * h + 2 * j + g
            moved = torch.empty_like(x)
            moved[to] = x
            moved = torch.einsum("nij,njk->nik", blocks, moved.reshape(-1, b, x.shape[1])).reshape(x.shape)
            x = moved[to]
    return x.reshape(w.shape) * v.get("rescale", 1)


def peft_orthogonal(w, v, rules):
    vector = v["oft_R.weight"]
    b = round((1 + math.sqrt(1 + 8 * vector.shape[1])) / 2)
    q = torch.zeros(vector.shape[0], b, b, dtype=vector.dtype)
    row, column = torch.triu_indices(b, b, 1)
    q[:, row, column], q[:, column, row] = vector, -vector
    if "coft" in rules:
        limit, n = rules["coft"] / math.sqrt(len(q)), q.norm(dim=(1, 2), keepdim=True)
        q = torch.where(n > limit, q * limit / n, q)
    i = torch.eye(b, dtype=q.dtype)
    if rules.get("neumann", True):
        r = i + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q
    else:
        r = (i - q) @ (i + q).inverse()
    r = r.expand(w[0].numel() // b, b, b)
    if not (rules.get("onetrainer") and w.ndim == 4):
        r = r.transpose(1, 2)
    return torch.einsum("onc,ncd->ond", flat(w).reshape(w.shape[0], -1, b), r).reshape(w.shape)


def peft_butterfly(w, v):
    blocks, x = v["boft_R"], flat(w)
    b = blocks.shape[-1]
    column = torch.arange(x.shape[1])
    for stage, r in enumerate(blocks):
        h, q, i = 2**stage, (r - r.transpose(1, 2)) / 2, torch.eye(b, dtype=r.dtype)
        group, inside = column // (b // 2), column % (b // 2)
        rest, half, j = group // (2 * h), group // h % 2, group % h
        to = (rest * 2 * h + 2 * j + half) * (b // 2) + inside
        moved = torch.empty_like(x)
        moved[:, to] = x
        turned = torch.einsum("onc,ndc->ond", moved.reshape(len(x), -1, b), (i - q) @ (i + q).inverse())
        x = turned.reshape(x.shape)[:, to]
    return x.reshape(w.shape) * v["boft_s"].reshape(-1, *[1] * (w.ndim - 1))


def merged(w, bias, v, s, rules):
    """(weight, bias) with the tensors v of one module at strength s; bias may be None."""
    w = w.double()
    bias = None if bias is None else bias.double()
    for key in ("diff_b", "b_norm"):
        if key in v:
            bias = bias + s * v[key]
    if "up_bias" in v:
        bias = bias + s * scale(v, v["down"].shape[0], rules) * v["up_bias"]
    if "on_input" in v:
        axis = 1 if v["on_input"].item() else 0
        return w * (1 + s * v["weight"].reshape([-1 if a == axis else 1 for a in range(w.ndim)])), bias
    if "ia3_l" in v:
        on_output = not rules["on_input"]
        axis = 0 if on_output else 1
        factor = v["ia3_l"].flatten()
        w = w * factor.reshape([-1 if a == axis else 1 for a in range(w.ndim)])
        return w, bias * factor if on_output and bias is not None else bias
    if "oft_blocks" in v:
        return orthogonal(w, v, s), bias
    if "boft_R" in v:
        return peft_butterfly(w, v), bias
    if "oft_R.weight" in v:
        return peft_orthogonal(w, v, rules), bias
    if "a1.weight" in v:
        return w + s * glora(w, v, rules), bias
    for key in ("diff", "w_norm"):
        if key in v:
            return w + s * v[key], bias
    kinds = {"down": low_rank, "hada_w1_a": hadamard, "lokr_w1": kronecker, "lokr_w1_a": kronecker}
    delta = next(kind for role, kind in kinds.items() if role in v)(w, v, rules)
    if "dora_scale" in v:
        return decomposed(w, delta, v["dora_scale"], s), bias
    if "peft_magnitude" in v:
        total = w + s * delta
        n = flat(total).norm(dim=1).reshape(-1, *[1] * (w.ndim - 1))
        return total * v["peft_magnitude"].reshape(n.shape) / n, bias
    return w + s * delta, bias
