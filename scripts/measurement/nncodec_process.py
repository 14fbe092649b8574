"""Codes tensors with NNCodec (ISO/IEC 15938-17): run with a Python that has the package `nncodec`.

    PYTHON scripts/measurement/nncodec_process.py TENSORS.npz RESULT.npz QP

RESULT.npz holds the decoded tensors under their names, and `bytes` of all their bitstreams together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

_FINE_QP = -75
"""For biases: the package's own setting, next to no loss."""


def main(tensors: Path, result: Path, quality: int) -> None:
    """Code and decode all tensors, each by itself, with dependent (trellis-coded) quantisation."""
    import torch
    from nncodec.tensor import decode, encode

    decoded, size = {}, 0
    with np.load(tensors) as stored:
        for name in stored.files:
            values = stored[name]
            settings = {
                "approx_method": "uniform",
                "qp": quality if values.ndim > 1 else _FINE_QP,
                "nonweight_qp": _FINE_QP,
                "use_dq": True,
                "bitdepth": None,
                "quantize_only": False,
                "tca": False,
                "row_skipping": True,
                "sparsity": 0.0,
                "struct_spars_factor": 0.0,
                "job_identifier": "tensor",
                "results": ".",
                "tensor_id": "0",
                "tensor_path": None,
                "compress_differences": False,
                "verbose": False,
            }
            stream = encode(torch.from_numpy(values), settings)
            size += len(stream)
            decoded[name] = np.asarray(decode(stream, "0"), np.float32).reshape(values.shape)
    np.savez(result, bytes=size, **decoded)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
