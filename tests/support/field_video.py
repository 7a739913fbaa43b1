"""Interlaced H.264 by hand, one field a packet, which no encoder at hand writes: every macroblock holds plain bytes."""

from fractions import Fraction
from pathlib import Path

import av

from tests.support.coded_video import Picture, coded_picture

WIDTH, HEIGHT = 64, 64
START = b"\0\0\0\1"


def write_fields(path: Path, num_frames: int = 20) -> Path:
    """`num_frames` coded frames, each of two packets: the even rows, then the odd ones."""
    head = START + _unit(0x67, _SPS) + START + _unit(0x68, _PPS)
    fields = [
        START + _field(coded_picture(n // 2, WIDTH, HEIGHT)[n % 2 :: 2], n // 2, n % 2) for n in range(2 * num_frames)
    ]
    raw = path.with_suffix(".h264")
    raw.write_bytes(head + b"".join(fields))
    with av.open(str(raw)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, field in enumerate(fields):
            packet = av.Packet(field if number else head + field)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 50), number % 2 == 0
            packet.pts = packet.dts = number
            packet.duration = 1
            container.mux(packet)
    raw.unlink()
    return path


def _golomb(value: int) -> str:
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


# Main profile, level 3; 4 bits of frame number, 8 of display order, one reference frame, fields allowed.
_SPS = f"{77:08b}{0:08b}{30:08b}" + _golomb(0) + _golomb(0) + _golomb(0) + _golomb(4) + _golomb(1) + "0"
_SPS += _golomb(WIDTH // 16 - 1) + _golomb(HEIGHT // 32 - 1) + "0" + "0" + "1" + "0" + "0"
_PPS = _golomb(0) * 2 + "0" + "0" + _golomb(0) * 3 + "0" + "00" + _golomb(0) * 3 + "0" + "0" + "0"


def _field(rows: Picture, index: int, bottom: int) -> bytes:
    """The NAL unit of one field, [HEIGHT / 2, WIDTH, 3] of grey; the top one needs nothing before it."""
    header = _golomb(0) + _golomb(7) + _golomb(0) + "0000" + "1" + str(bottom)
    header += ("" if bottom else _golomb(index % 2)) + f"{bottom:08b}" + ("0" if bottom else "00") + _golomb(0)
    luma = (16 + rows[:, :, 0].astype(int) * 219 // 255).astype("u1")
    bits = header
    for y in range(0, HEIGHT // 2, 16):
        for x in range(0, WIDTH, 16):
            bits += _golomb(25)
            bits += "0" * (-len(bits) % 8)
            block = luma[y : y + 16, x : x + 16].tobytes() + bytes([128]) * 128
            bits += "".join(f"{byte:08b}" for byte in block)
    return _unit(0x41 if bottom else 0x65, bits)


def _unit(kind: int, bits: str) -> bytes:
    """A NAL unit: header, payload with its closing bit, and a 3 wherever two zeros would make it look like a start."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    out = bytearray([kind])
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if out[-2:] == b"\0\0" and byte <= 3:
            out.append(3)
        out.append(byte)
    return bytes(out)
