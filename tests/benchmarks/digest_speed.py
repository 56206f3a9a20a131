"""How fast tensors are digested, against bare SHA-256 over the very bytes that the digest covers.

Narrow element types are widened to float32 on the way, so that a megabyte stored is more than one digested; the figures
count digested ones. Aim: at most twice SHA-256. float16 is widened by a table with numpy, as here; where numpy is not
loaded, as while equal files are compared, it takes three to four times SHA-256, and to import it takes longer still.
"""

import hashlib
import time

from results import MB_PER_SECOND, Figure, Measured
from run import Run, isolated

WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1}
STORED = {
    "float32": lambda values: values.tobytes(),
    "float16": lambda values: values.astype("<f2").tobytes(),
    "bfloat16": lambda values: values.view("<u2")[1::2].tobytes(),
    "float8_e4m3fn": lambda values: values.view("u1")[3::4].tobytes(),  # any bytes will do
}
"""Element type -> normally distributed values as bytes."""


def measure(run: Run):
    run.stage("digesting")
    megabytes = 2 if run.quick else 32
    return isolated(throughput, megabytes, run.samples)


def throughput(megabytes, samples):
    """Return the figures of each element type, over that many megabytes stored."""
    import numpy as np

    from vqcheck.checkpoint.opened import PIECE_BYTES
    from vqcheck.checkpoint.stored_tensor import Extent, StoredTensor, contiguous_stride
    from vqcheck.codebook.digest import F32V1, Hasher
    from vqcheck.codebook.float_bytes import widen
    from vqcheck.codebook.vq_encoder import RoleTensor

    figures = []
    for dtype, width in WIDTHS.items():
        values = np.random.default_rng(0).standard_normal((megabytes << 20) // width, "f4")
        data = STORED[dtype](values)
        shape = (1, len(data) // width // 256, 256)
        stored = StoredTensor("codes", dtype, shape, contiguous_stride(shape), 0, Extent("codes", 0, len(data)))
        tensor = RoleTensor("codes", "", 0, 0, 0, stored, shape)
        pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
        widened = [bytes(widen(piece, dtype)) for piece in pieces]

        def digested(tensor=tensor, pieces=pieces):
            hasher = Hasher(tensor, F32V1)
            for piece in pieces:
                hasher.update(piece)
            hasher.digest()

        def bare(widened=widened):
            state = hashlib.sha256()
            for piece in widened:
                state.update(piece)
            state.hexdigest()

        speed = {digested: [], bare: []}
        for sample in range(samples + 1):
            for work, values in speed.items():
                begun = time.perf_counter()
                work()
                if sample:
                    values.append(sum(map(len, widened)) / 1e6 / (time.perf_counter() - begun))
        ours, floor = Measured("digest", tuple(speed[digested])), Measured("bare SHA-256", tuple(speed[bare]))
        figures.append(Figure("digest", f"digest of {dtype}", MB_PER_SECOND, ours, (floor,), floor))
    return figures
