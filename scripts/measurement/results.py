"""The format of `docs/results/*.json`: one table's rows with where they come from.

A file holds `table` (which table of docs/RESULTS.md it is for), `rows` (a `label` and any of `MEASURES`
each), `notes` (sentences under the table) and `provenance`. Rows of other authors have `quoted` instead:
where they were published.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurement.pipeline import RoundTrip
from measurement.provenance import CHECKOUT, provenance

RESULTS = CHECKOUT / "docs" / "results"

MEASURES = {
    "objects": "meshes",
    "bytes_per_object": "bytes / mesh",
    "ratio_to_binary": "ratio to binary",
    "ratio_to_source": "ratio to files",
    "chamfer": "CD e-3",
    "chamfer_excess": "excess CD e-3",
    "point_to_surface": "P2S e-3",
    "decoded_to_reference_p99": "p99 to original e-3",
    "reference_to_decoded_p99": "p99 from original e-3",
    "normal_consistency": "NC",
    "f1_0005": "F1 0.005",
    "f1_0010": "F1 0.01",
    "bytes_at_error_010": "bytes, P2S 1.0e-3",
    "bytes_at_error_014": "1.4e-3",
    "bytes_at_error_020": "2.0e-3",
    "bytes_at_error_028": "2.8e-3",
    "bytes_at_error_040": "4.0e-3",
    "bytes_at_error_056": "5.6e-3",
    "bytes_at_error_080": "8.0e-3",
    "ratio_median": "median ratio to draco-hull",
    "ratio_worst": "worst ratio",
    "bd_rate_draco_hull": "BD-rate to draco-hull",
    "bd_mean_draco_hull": "mean",
    "bd_rate_draco": "BD-rate to draco",
    "bd_mean_draco": "mean",
    "bd_rate_gltfpack": "BD-rate to gltfpack",
    "bd_mean_gltfpack": "mean",
    "bd_rate_paper": "BD-rate to paper",
    "bd_mean_paper": "mean",
    "encode_seconds": "encode s / object",
    "decode_seconds": "decode s / object",
    "mse": "MSE",
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "published_compression": "published x",
    "batch_loss": "loss of a batch",
    "pruned": "pruned",
    "ratio_to_float32": "ratio to float32",
    "cpu_seconds": "rendering CPU s",
    "times_fewer_cpu_seconds": "times fewer CPU s",
    "frames_per_second": "frames / s",
    "psnr_loss": "PSNR loss dB",
    "psnr_to_exact": "PSNR to exact dB",
    "active_psnr": "PSNR of active voxels dB",
    "max_error": "largest error / range",
    "frames": "frames",
    "bytes_per_frame": "bytes / frame",
    "bits_per_voxel": "bits / voxel",
    "bits_at_35": "bits / voxel, 35 dB",
    "bits_at_40": "bits / voxel, 40 dB",
    "bits_at_45": "bits / voxel, 45 dB",
    "bits_at_50": "bits / voxel, 50 dB",
    "ratio_at_35": "ratio, 35 dB",
    "ratio_at_40": "ratio, 40 dB",
    "ratio_at_45": "ratio, 45 dB",
    "ratio_at_50": "ratio, 50 dB",
    "bd_rate": "BD-rate to SPERR",
    "bd_rate_sz3": "to SZ3",
    "bd_rate_zfp": "to zfp",
    "bd_rate_tthresh": "to TTHRESH",
    "bd_rate_dct": "to DCT-8 + zstd",
    "bd_rate_wavelet": "BD-rate to volume-wavelet",
    "lossless_ratio": "lossless ratio",
    "encode_cpu_seconds": "encode CPU s",
    "decode_cpu_seconds": "decode CPU s",
    "added_gb": "memory GB",
    "alone_cpu_seconds": "one frame alone CPU s",
    "decoded_per_second": "voxels / CPU s",
    "voxels": "voxels",
    "encoded_per_second": "encoded voxels / s",
    "restored_per_second": "decoded voxels / s",
    "process_seconds": "whole command s",
    "process_cpu_seconds": "whole command CPU s",
    "voxels_per_second": "voxels / s",
    "encode_peak_gb": "encoding memory GB",
    "decode_peak_gb": "decoding memory GB",
    "peak_gb": "peak memory GB",
    "peak_anonymous_gb": "of its own GB",
    "within_limit": "within the limit",
    "source_bytes": "source bytes",
    "half_blosc_bytes": "half + Blosc bytes",
    "coded_bytes": "coded bytes",
    "ratio_to_half_blosc": "ratio to half + Blosc",
    "topology_exact": "topology exact",
    "trained_on": "trained on",
    "file_bytes": "file bytes",
    "left_out": "left out",
}
"""Field of a row, and its heading. Distances are stored as they are and shown times 1000."""

DIGITS = {
    "normal_consistency": ".3f",
    "f1_0005": ".3f",
    "f1_0010": ".3f",
    "encode_seconds": ".3g",
    "decode_seconds": ".3g",
    "ratio_median": ".3f",
    "ratio_worst": ".3f",
    "bd_rate_draco_hull": "+.1%",
    "bd_mean_draco_hull": "+.1%",
    "bd_rate_draco": "+.1%",
    "bd_mean_draco": "+.1%",
    "bd_rate_gltfpack": "+.1%",
    "bd_mean_gltfpack": "+.1%",
    "bd_rate_paper": "+.1%",
    "bd_mean_paper": "+.1%",
    "added_gb": ".3f",
    "mse": ".2e",
    "psnr": ".2f",
    "ssim": ".3f",
    "published_compression": ".2f",
    "batch_loss": ".4f",
    "pruned": ".1%",
    "ratio_to_float32": ".1f",
    "cpu_seconds": ".3g",
    "times_fewer_cpu_seconds": ".1f",
    "frames_per_second": ".3g",
    "psnr_loss": ".2f",
    "psnr_to_exact": ".2f",
    "active_psnr": ".2f",
    "max_error": ".3f",
    "bits_per_voxel": ".3f",
    "bits_at_35": ".4f",
    "bits_at_40": ".4f",
    "bits_at_45": ".4f",
    "bits_at_50": ".4f",
    "ratio_at_35": ".3f",
    "ratio_at_40": ".3f",
    "ratio_at_45": ".3f",
    "ratio_at_50": ".3f",
    "bd_rate": "+.1%",
    "bd_rate_wavelet": "+.1%",
    "bd_rate_sz3": "+.1%",
    "bd_rate_zfp": "+.1%",
    "bd_rate_tthresh": "+.1%",
    "bd_rate_dct": "+.1%",
    "lossless_ratio": ".3f",
    "encode_cpu_seconds": ".3g",
    "decode_cpu_seconds": ".3g",
    "decoded_per_second": ".3g",
    "encoded_per_second": ".3g",
    "restored_per_second": ".3g",
    "process_seconds": ".3g",
    "process_cpu_seconds": ".3g",
    "voxels_per_second": ".3g",
    "encode_peak_gb": ".2f",
    "decode_peak_gb": ".2f",
    "peak_gb": ".2f",
    "peak_anonymous_gb": ".2f",
    "ratio_to_half_blosc": ".2f",
}
"""How the figures of a field are written; those of others as whole numbers."""

MEDIANS = ", medians"
"""End of the label of a row that repeats another one with medians for means."""

DISTANCES = (
    "chamfer",
    "chamfer_excess",
    "point_to_surface",
    "decoded_to_reference_p99",
    "reference_to_decoded_p99",
)


@dataclass(frozen=True)
class Table:
    """Rows for one table of the results document."""

    name: str
    rows: Sequence[dict[str, Any]]
    notes: Sequence[str] = ()


def row_of(label: str, trip: RoundTrip, *, statistic: str = "mean") -> dict[str, Any]:
    """Return the row that a round trip of a set comes to; `statistic` is mean or median over its meshes."""
    measured = trip.evaluate.report
    errors = measured[statistic] or {}
    count = max(len(measured["objects"]), 1)
    row: dict[str, Any] = {
        "label": label,
        "objects": len(measured["objects"]),
        "bytes_per_object": measured["bytes_per_object"],
        "ratio_to_binary": measured["ratio_to_binary"],
        "ratio_to_source": measured["ratio_to_source"],
        "encode_seconds": trip.encode.seconds / count,
        "decode_seconds": measured["decode_seconds"] / count,
        "left_out": [
            *trip.encode.report["failures"],
            *measured["failures"],
            *(
                {"name": name, "reason": "no object to compare with"}
                for name in measured["without_reference"]
            ),
        ],
    }
    return row | error_fields(errors)


def error_fields(errors: dict[str, float]) -> dict[str, float]:
    """Return the measures of a row that an error summary holds."""
    fields = {name: errors[name] for name in MEASURES if name in errors}
    both = ("decoded_to_reference_mean", "reference_to_decoded_mean")
    if all(name in errors for name in both):
        fields["point_to_surface"] = 0.5 * (errors[both[0]] + errors[both[1]])
    return fields


def write_results(file: Path, table: Table, details: dict[str, Any], private_paths: tuple[Path, ...]) -> None:
    """Write one result file; `details` (per-mesh figures, settings) are kept beside the rows."""
    document = {
        "table": table.name,
        "rows": list(table.rows),
        "notes": list(table.notes),
        "provenance": provenance(private_paths),
        **details,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(file)
