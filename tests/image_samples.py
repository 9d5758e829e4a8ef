"""Picture files and colour profiles written byte by byte: no test asks Pillow what is right.

After PNG (ISO 15948), TIFF 6.0, GIF89a and ICC.1:2001.
"""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

# Adam7: the first pixel of each pass and the steps to the next, as (x, y, step x, step y)
_PASSES = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file."""
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


def png(
    pixels: np.ndarray, colour: int, *, bits: int = 0, chunks: bytes = b"", interlaced: bool = False
) -> bytes:
    """A PNG of (H, W) or (H, W, C) uint8 or uint16, its rows filtered in turn by None, Sub and Up.

    colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA; chunks stand before the pixels.
    """
    height, width = pixels.shape[:2]
    bits = bits or 8 * pixels.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = [pixels]
    if interlaced:
        parts = [pixels[y::down, x::right] for x, y, right, down in _PASSES]
    data = b"".join(_filtered(part, bits) for part in parts if part.size)
    body = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def _filtered(pixels: np.ndarray, bits: int) -> bytes:
    if bits < 8:
        rows = [_packed(row, bits) for row in pixels]
    else:
        rows = [row.astype(f">u{bits // 8}").tobytes() for row in pixels]
    unit = max(1, bits // 8) * (pixels.shape[2] if pixels.ndim == 3 else 1)  # bytes a pixel
    out, above = b"", bytes(len(rows[0]))
    for index, row in enumerate(rows):
        kind = index % 3
        before = [bytes(len(row)), bytes(unit) + row, above][kind]
        out += bytes([kind]) + bytes((a - b) % 256 for a, b in zip(row, before, strict=False))
        above = row
    return out


def _packed(values: Sequence[int], bits: int) -> bytes:
    text = "".join(f"{value:0{bits}b}" for value in values)
    text = text.ljust(-(-len(text) // 8) * 8, "0")
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def apng(frames: Sequence[np.ndarray]) -> bytes:
    """An animation of equally large (H, W, 3) uint8 frames."""
    height, width = frames[0].shape[:2]
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body += chunk(b"acTL", struct.pack(">II", len(frames), 0))
    number = 0
    for index, frame in enumerate(frames):
        control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 10, 0, 0)
        body += chunk(b"fcTL", control)
        data = zlib.compress(_filtered(frame, 8))
        number += 1
        if index == 0:
            body += chunk(b"IDAT", data)
        else:
            body += chunk(b"fdAT", struct.pack(">I", number) + data)
            number += 1
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def gif(frames: Sequence[np.ndarray], palette: bytes, transparent: int | None = None) -> bytes:
    """An animation of equally large (H, W) uint8 frames of indices into a palette of 4 colours."""
    height, width = frames[0].shape
    out = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x81, 0, 0) + palette
    for frame in frames:
        flags = 0 if transparent is None else 1
        out += b"\x21\xf9\4" + struct.pack("<BHB", flags, 10, transparent or 0) + b"\0"
        out += b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
        # 3 bits a code: 4 clears the table, 5 ends; clearing for each pixel keeps them that short
        codes = [code for value in frame.ravel() for code in (4, int(value))] + [5]
        text = "".join(f"{code:03b}" for code in reversed(codes))
        text = text.rjust(-(-len(text) // 8) * 8, "0")
        data = bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))[::-1]
        out += b"\2" + bytes([len(data)]) + data + b"\0"
    return out + b";"


def tiff(
    pixels: np.ndarray,
    photometric: int,
    *,
    order: str = "<",
    compression: int = 1,
    planes: bool = False,
    bits: int = 0,
    tags: dict[int, tuple[int, ...]] | None = None,
) -> bytes:
    """A TIFF of (H, W) or (H, W, C), one strip (or one a plane), with the numbers of its dtype.

    photometric: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK, 6 YCbCr, 8 CIELab;
    compression: 1 none, 5 LZW, 8 deflate; tags: more of them, or others, as SHORTs.
    """
    height, width = pixels.shape[:2]
    bands = pixels[..., None] if pixels.ndim == 2 else pixels  # (H, W, C)
    count = bands.shape[2]
    strips = [bands[..., [band]] for band in range(count)] if planes else [bands]
    data = [_strip(strip, order, compression, bits) for strip in strips]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    fields: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (bits or 8 * pixels.itemsize,) * count,
        259: (compression,),
        262: (photometric,),
        277: (count,),
        278: (height,),
        284: (2 if planes else 1,),
        339: (kind,) * count,
        **(tags or {}),
    }
    number = len(fields) + 2
    offset = 8 + 2 + 12 * number + 4
    far = b""  # what does not fit into its field

    def field(tag: int, code: str, values: Sequence[int]) -> bytes:
        nonlocal far
        content = struct.pack(order + code * len(values), *values)
        if len(content) > 4:
            content, far = struct.pack(order + "I", offset + len(far)), far + content
        head = struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[code], len(values))
        return head + content.ljust(4, b"\0")

    room = sum(2 * len(values) for values in fields.values() if len(values) > 2)
    room += 8 * len(data) if len(data) > 1 else 0
    starts = [offset + room + sum(map(len, data[:index])) for index in range(len(data))]
    longs = {273: starts, 279: [len(strip) for strip in data]}
    entries = b""
    for tag in sorted([*fields, *longs]):
        entries += field(tag, "I", longs[tag]) if tag in longs else field(tag, "H", fields[tag])
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, number)
    return start + entries + bytes(4) + far + b"".join(data)


def _strip(pixels: np.ndarray, order: str, compression: int, bits: int) -> bytes:
    if bits:
        data = b"".join(_packed(row.ravel(), bits) for row in pixels)
    else:
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    return {1: bytes, 5: _lzw, 8: zlib.compress}[compression](data)


def _lzw(data: bytes) -> bytes:
    # 9 bits a code: 256 clears the table, 257 ends; clearing often keeps them that short
    codes: list[int] = []
    for at in range(0, len(data), 200):
        codes += [256, *data[at : at + 200]]
    return _packed([*codes, 257], 9)


def matrix_profile(primaries: np.ndarray, gamma: int, name: str = "handmade") -> bytes:
    """An RGB display profile; `primaries` are the columns of RGB to XYZ (D50), gamma in 1/256."""
    columns = {
        tag: b"XYZ \0\0\0\0" + _fixed(column)
        for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, gamma) + bytes(2)
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**columns, **curves}, name)


def grey_profile(gamma: int) -> bytes:
    """A profile of greys, gamma in 1/256."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, gamma) + bytes(2)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve}, "grey")


def ink_profile(corners: np.ndarray) -> bytes:
    """A CMYK profile: (2, 2, 2, 2, 3) uint8 Lab for each full and absent ink, linear between.

    Lab as 8 bits: L* x 2.55, a* + 128, b* + 128.
    """
    ramp = bytes(range(256))
    head = struct.pack(">4sIBBBB", b"mft1", 0, 4, 3, 2, 0)
    identity = _fixed(np.eye(3).ravel())
    table = head + identity + ramp * 4 + corners.astype(np.uint8).tobytes() + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table}, "inks")


def _profile(
    kind: bytes, space: bytes, between: bytes, tags: dict[bytes, bytes], name: str
) -> bytes:
    text = name.encode() + b"\0"
    white = b"XYZ \0\0\0\0" + _fixed(np.array([0.9642, 1.0, 0.8249]))
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": white,
        **tags,
    }
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, offset + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, kind, space, between)
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += _fixed(np.array([0.9642, 1.0, 0.8249]))  # illuminant
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(values: np.ndarray) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)
