"""Bytes of a file as they lie there, made into UTF-8: gzip unpacked, marks removed, UTF-16 decoded."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator

from flowwatch.errors import InputError

_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PIECE = 1024 * 1024

# First bytes of what isn't text and isn't read, with what to do about it.
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive", "unpack it first (unzip -p FILE | … --input-file -)"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it first (zstd -dc FILE | … --input-file -)"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unpack it first (xz -dc FILE | … --input-file -)"),
    (b"BZh", "bzip2-compressed", "unpack it first (bzip2 -dc FILE | … --input-file -)"),
    (b"\xd4\xc3\xb2\xa1", "a packet capture (pcap)", "flowwatch reads Hubble's flows as JSON"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture (pcapng)", "flowwatch reads Hubble's flows as JSON"),
)
_LONGEST_MAGIC = 6


def unpack(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield the text in ``blocks`` (a file named ``name``) as UTF-8 without a byte order mark.

    Empty blocks pass through. Raises InputError for what can't be read, and at the end for gzip
    data that is damaged or cut off, after everything before the damage was yielded.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _LONGEST_MAGIC:
            break
        if not block:
            yield b""
    for magic, what, advice in _FOREIGN:
        if head.startswith(magic):
            raise InputError(f"{name} is {what}", advice)
    whole = _joined(head, blocks)
    if head.startswith(_GZIP):
        whole = _gunzip(whole, name)
    yield from _text(whole)


def _joined(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from blocks


def _text(blocks: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    for block in blocks:
        head += block
        if len(head) >= len(codecs.BOM_UTF8):
            break
        if not block:
            yield b""
    if head.startswith(_UTF16):
        decode = codecs.getincrementaldecoder("utf-16")("replace").decode
        yield decode(head).encode()
        for block in blocks:
            yield decode(block).encode()
        return
    yield head.removeprefix(codecs.BOM_UTF8)
    yield from blocks


def _gunzip(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """All members of a gzip file. A piece never unpacks to more than _PIECE at once."""
    unzip = zlib.decompressobj(wbits=31)
    begun = False
    try:
        for block in blocks:
            if not block:
                yield b""
            rest = block
            while rest:
                if unzip.eof:
                    # Another member, as log rotation appends them; zero bytes are padding.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    unzip = zlib.decompressobj(wbits=31)
                begun = True
                if piece := unzip.decompress(rest, _PIECE):
                    yield piece
                rest = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
        while begun and not unzip.eof:
            piece = unzip.decompress(unzip.unconsumed_tail, _PIECE)
            if not piece:
                break
            yield piece
    except zlib.error:
        raise InputError(
            f"{name} is damaged gzip data", "what came before the damage was read"
        ) from None
    if begun and not unzip.eof:
        raise InputError(f"{name} is cut off (gzip without its end)", "what was there was read")
