"""Pickles written by hand, instruction by instruction, in files as NumPy and torch write them."""

import io
import struct
import zipfile

NPY_HEADER = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (%d,), }"
HUGE = b"\x8a\x06\x00\x00\x00\x00\x00\x10"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def npy(pickled, count=1):
    return (NPY_HEADER % count).ljust(127) + b"\n" + pickled


def array(shape, raw, *, code="f4", count=None):
    """Return the pickle of an array; `shape` is pickled already."""
    head = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray")
    head += b"(" + (count or b"K\x00") + b"tC\x01b\x87R(K\x01" + shape
    dtype = (
        named("numpy", "dtype") + text(code) + b"\x89\x88\x87R(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xff"
    )
    return head + dtype + b"J\xff\xff\xff\xffK\x00tb\x89" + raw + b"tb"


def listed(items, count):
    return b"\x80\x03" + array(b"(K" + bytes([count]) + b"t", b"](" + items + b"e", code="O8") + b"."


def torch_zip(pickled, **members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in members.items():
            archive.writestr(f"archive/data/{name}", content)
    return stream.getvalue()


def tensor(shape, strides, *, count=4, key="0", kind="FloatStorage", offset=0):
    storage = (
        b"("
        + text("storage")
        + named("torch", kind)
        + text(key)
        + text("cpu")
        + struct.pack("<cI", b"J", count)
    )
    return (
        named("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + storage
        + b"tQJ"
        + struct.pack("<i", offset)
        + shape
        + strides
        + b"\x89NtR"
    )


def state_dict(value):
    layer = text("alpha_linear.weight") + value + text("alpha_linear.bias") + value
    return b"\x80\x02}" + text("network_fn_state_dict") + b"}(" + layer + b"us."
