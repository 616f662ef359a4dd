#!/usr/bin/env python3
"""Renders the data set: <work>/images.npy (plain) and <work>/brand.npy (acme), uint8 [count, 256, 256, 3]."""
import argparse
import multiprocessing as mp
import time
from pathlib import Path

import numpy as np

import mockups

HERE = Path(__file__).resolve().parent


def paint(job):
    index, brand = job
    return mockups.render(mockups.scene(index, brand=brand))


if __name__ == "__main__":
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--work", type=Path, default=HERE / "work")
    a.add_argument("--count", type=int, default=24000)
    a.add_argument("--brand-count", type=int, default=2400)
    a.add_argument("--workers", type=int, default=2)
    a = a.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    start = time.time()
    with mp.Pool(a.workers) as pool:
        for name, count, brand in (("brand", a.brand_count, True), ("images", a.count, False)):
            out = np.lib.format.open_memmap(
                a.work / f"{name}.tmp", "w+", np.uint8, (count, mockups.SIZE, mockups.SIZE, 3)
            )
            for i, picture in enumerate(pool.imap(paint, ((i, brand) for i in range(count)), chunksize=64)):
                out[i] = picture
            out.flush()
            (a.work / f"{name}.tmp").rename(a.work / f"{name}.npy")
            print(f"{name}: {count} pictures, {time.time() - start:.0f} s", flush=True)
