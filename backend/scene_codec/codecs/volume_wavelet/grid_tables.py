"""The probability tables of one grid."""

from __future__ import annotations

from dataclasses import dataclass

from scene_codec.codecs.volume_wavelet.residual_coding import CONTEXTS as RESIDUAL_CONTEXTS
from scene_codec.codecs.volume_wavelet.syntax import GridHeader
from scene_codec.codecs.volume_wavelet.tile_coding import CONTEXTS
from scene_codec.codecs.volume_wavelet.topology_coding import TopologyModel, read_topology_model
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.context_tables import ContextTables, read_context_tables

CORRECTED = ("steps", "bits")
"""Residuals that are coded with tables."""


@dataclass(frozen=True, eq=False)
class GridTables:
    """Tables of a grid's streams, None where it has no such streams."""

    values: ContextTables | None = None
    topology: TopologyModel | None = None
    residuals: ContextTables | None = None

    def to_bytes(self) -> bytes:
        """Return what `read_tables` reads."""
        parts = [tables.description for tables in (self.values, self.residuals) if tables is not None]
        return b"".join(parts) + (b"" if self.topology is None else self.topology.to_bytes())


def read_tables(reader: ByteReader, header: GridHeader) -> GridTables:
    """Return the tables of the next grid. Raises `CorruptFileError`."""
    return GridTables(
        values=read_context_tables(reader, CONTEXTS) if header.has_coefficients else None,
        residuals=read_context_tables(reader, RESIDUAL_CONTEXTS) if header.residual in CORRECTED else None,
        topology=read_topology_model(reader) if header.topology == "exact" else None,
    )
