"""Checksums of content, as text."""

import hashlib


def digest(content: bytes) -> str:
    """Checksum of bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
