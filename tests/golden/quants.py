"""Writes tests/golden/quants: quantised blocks and what the reference implementations make of them.

Needs gguf==0.19.0, ggml-python==0.0.45 (which builds ggml), safetensors==0.8.0 and numpy==2.4.6. Run from anywhere:
    python tests/golden/quants.py
"""
import ctypes
import importlib.metadata
import pathlib

import ggml
import gguf
import numpy as np
import safetensors.numpy
from gguf import GGMLQuantizationType as Type

for package, version in (("gguf", "0.19.0"), ("ggml-python", "0.0.45"), ("safetensors", "0.8.0"), ("numpy", "2.4.6")):
    assert importlib.metadata.version(package) == version, package

OUT = pathlib.Path(__file__).resolve().parent / "quants"
# Where the half-precision scales lie in a block.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}
EXACT = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]  # the package quantises these itself
rng = np.random.default_rng(20)


def half(*values):
    return np.array(values, np.float16).view(np.uint8)


def random_blocks(name):
    """Random codes and scales, then the extremes: all zero, all ones, the largest, the smallest and negative scales."""
    values, size = gguf.GGML_QUANT_SIZES[Type[name]]
    count = 512 // values * 4
    blocks = rng.integers(0, 256, (count, size)).astype(np.uint8)
    for at in SCALES[name]:
        blocks[:, at:at + 2] = half(*rng.normal(0, 0.01, count)).reshape(count, 2)
    extremes = [(None, 0), (1.0, 255), (65504.0, None), (-65504.0, None), (6e-8, None), (-0.0, None), (6.1e-5, None)]
    for block, (scale, fill) in zip(blocks, extremes):
        if fill is not None:
            block[:] = fill
        if scale is not None:
            for at in SCALES[name]:
                block[at:at + 2] = half(scale)
    return blocks


def inputs():
    """Rows of 256: usual weights and what is hard to quantise."""
    row = lambda f: np.asarray(f, np.float32)
    ties = np.arange(256) % 16 - 8 + 0.5
    rows = [row(rng.normal(0, s, 256)) for s in (0.02, 1.0, 1e-3, 1e-5, 3000.0)]
    rows += [row(rng.laplace(0, 0.05, 256)), row(rng.uniform(-1, 1, 256)), row(rng.standard_t(2, 256))]
    rows += [row(np.zeros(256)), row(np.full(256, 0.7)), row(np.full(256, -0.3)), row(ties), row(-ties), row(ties / 127)]
    rows += [row(np.where(np.arange(256) % 32 == 5, 1, 0)), row(np.where(np.arange(256) % 32 == 9, -2, 0))]
    rows += [row(rng.uniform(0.5, 1, 256)), row(-rng.uniform(0.5, 1, 256)), row(np.tile([1, -1], 128))]
    rows += [row(np.tile([-1, 1], 128)), row(rng.choice([-60000, 60000, 0, 1], 256)), row(rng.normal(0, 1e-7, 256))]
    rows += [row(np.arange(256) - 128), row(np.linspace(-3, 5, 256))]
    return np.stack(rows)


def relative_error(x, y):
    return np.sqrt(np.sum((y.astype(np.float64) - x) ** 2) / np.sum(x.astype(np.float64) ** 2))


def ggml_error(name, x):
    """Of ggml's own quantisation without an importance matrix, relative to the values' root mean square."""
    values, size = gguf.GGML_QUANT_SIZES[Type[name]]
    blocks = np.zeros(x.size // values * size, np.uint8)
    pointer = lambda a: ctypes.c_void_p(a.ctypes.data)
    ggml.ggml_quantize_chunk(Type[name].value, ctypes.cast(pointer(x), ctypes.POINTER(ctypes.c_float)), pointer(blocks),
                             0, x.size // 256, 256, None)
    return relative_error(x, gguf.quants.dequantize(blocks, Type[name]))


def write_blocks():
    """The blocks in a GGUF file by the package, with metadata of every type. Returns blocks and values by name."""
    writer = gguf.GGUFWriter(OUT / "blocks.gguf", "sd1")
    writer.add_quantization_version(2)
    for kind, value in (("uint8", 200), ("int8", -100), ("uint16", 60000), ("int16", -30000), ("uint32", 4000000000),
                        ("int32", -2000000000), ("uint64", 1 << 63), ("int64", -(1 << 62)), ("float32", 0.1),
                        ("float64", 0.1), ("bool", True)):
        getattr(writer, f"add_{kind}")(f"test.{kind}", value)
    writer.add_string("test.string", "Gr\u00fc\u00dfe")
    writer.add_array("test.numbers", [1, -2, 3])
    writer.add_array("test.words", ["a", "", "\u00e9"])
    writer.add_array("test.floats", [0.5, 1e10])
    writer.add_array("comfy.gguf.orig_shape.reshaped", [2, 4, 8, 8])
    tensors = {}
    for name in SCALES:
        rows = random_blocks(name).reshape(4, -1)
        writer.add_tensor(name, rows, raw_dtype=Type[name])
        tensors[f"{name}.raw"] = rows.reshape(-1)
        tensors[f"{name}.values"] = gguf.quants.dequantize(rows, Type[name])
    plain = rng.normal(0, 1, (3, 2, 5)).astype(np.float32)
    writer.add_tensor("f32", plain)
    writer.add_tensor("f16", plain.astype(np.float16))
    writer.add_tensor("reshaped", np.arange(512, dtype=np.float32).reshape(2, 256))
    tensors["f32.values"] = plain
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    return tensors


def main():
    OUT.mkdir(exist_ok=True)
    tensors = write_blocks()
    x = inputs()
    tensors["x"] = x
    for name in EXACT:
        tensors[f"{name}.blocks"] = gguf.quants.quantize(x, Type[name]).reshape(-1)
    for kind, values in (("normal", rng.normal(0, 0.02, 4096)), ("laplace", rng.laplace(0, 0.05, 4096)),
                         ("uniform", rng.uniform(-1, 1, 4096))):
        values = np.ascontiguousarray(values, np.float32)
        tensors[f"x.{kind}"] = values
        for name in SCALES:
            tensors[f"{name}.error.{kind}"] = np.array([ggml_error(name, values)], np.float32)
    assert all(np.isfinite(v).all() for v in tensors.values())
    (OUT / "values.safetensors").write_bytes(safetensors.numpy.save(tensors))


main()
