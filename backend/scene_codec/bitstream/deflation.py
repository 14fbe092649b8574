"""Raw DEFLATE streams of headers, never inflated beyond a bound."""

from __future__ import annotations

import zlib

from scene_codec.errors import CorruptFileError

_RAW_DEFLATE = -zlib.MAX_WBITS


def deflated(raw: bytes) -> bytes:
    """Return the raw DEFLATE stream (RFC 1951) of `raw`."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE)
    return deflater.compress(raw) + deflater.flush()


def inflated(stored: bytes, most: int) -> bytes:
    """Inflate a stream that ends exactly where `stored` does to at most `most` bytes.

    Never allocates more than one byte beyond. Raises `CorruptFileError`.
    """
    inflater = zlib.decompressobj(_RAW_DEFLATE)
    try:
        raw = inflater.decompress(stored, most + 1)
    except zlib.error as error:
        raise CorruptFileError(f"The header cannot be inflated: {error}.") from error
    if not inflater.eof or inflater.unused_data or len(raw) > most:
        raise CorruptFileError(f"The deflated header does not end where the file says, within {most} bytes.")
    return raw
