"""The tables of the block VAE: rows of means, and the change of rate against the wavelet codec."""

import pytest

import volume_vae_tables as tables


def points(label, bits_of_35_db):
    """Return a codec's rows on one volume: a bit a voxel more for each 6.02 dB, from some bits on."""
    variants = tables.curve(label, "", "")
    return {
        variant.label: [{"bits_per_voxel": bits_of_35_db * 2**index, "psnr": psnr, "mse": 10 ** (-psnr / 10)}]
        for index, (variant, psnr) in enumerate(zip(variants, tables.WANTED_PSNR, strict=True))
    }


def test_the_change_of_rate_is_the_ratio_of_curves_that_differ_by_a_factor():
    measured = points(tables.RATE, 0.15) | points(tables.WAVELET, 0.1)
    assert tables.bd_rate(measured, 0) == pytest.approx(0.5)


def test_sparse_volumes_are_compared_by_their_active_voxels():
    measured = points(tables.RATE, 0.1) | points(tables.WAVELET, 0.1)
    for rows in measured.values():
        rows[0]["active_psnr"] = rows[0]["psnr"] - 3.0
    measured[f"{tables.RATE}, 35 dB"][0]["psnr"] = 0.0
    assert tables.bd_rate(measured, 0) == pytest.approx(0.0)


def test_rows_begin_with_the_means_and_name_each_volume():
    measured = points(tables.RATE, 0.2) | points(tables.WAVELET, 0.1)
    measured["published two-wide"] = [{"psnr": 30.0, "bits_per_voxel": 2.0, "file_bytes": 5}]
    rows = tables.quality_rows(["engine"], measured)
    labels = [row["label"] for row in rows]
    assert labels[0] == f"mean of 1: {tables.RATE}, 35 dB"
    assert labels[-2:] == ["engine: published two-wide", f"engine: {tables.RATE}"]
    assert rows[-1]["bits_at_40"] == pytest.approx(0.4)
    assert rows[-1]["bd_rate_wavelet"] == pytest.approx(1.0)
