"""Alerts of TLS at a moment when OpenSSL would send none: by a server that has taken the request and then breaks off.

The record is put together with the keys that OpenSSL writes into the context's key log.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ALERTS: Final = {
    "bad_certificate": (42, True),
    "unsupported_certificate": (43, True),
    "certificate_revoked": (44, True),
    "certificate_expired": (45, True),
    "certificate_unknown": (46, True),
    "unknown_ca": (48, True),
    "access_denied": (49, True),
    "certificate_required": (116, True),
    "unexpected_message": (10, False),
    "handshake_failure": (40, False),
    "internal_error": (80, False),
}
"""Name → number, and whether it is about a certificate (RFC 8446, section 6)."""
OLD_SUITE: Final = "ECDHE-ECDSA-AES128-GCM-SHA256"
"""What a server that speaks TLS 1.2 must be limited to; of TLS 1.3 it is the one that OpenSSL prefers."""
_FATAL: Final = 2
_ALERT: Final = 21
_APPLICATION: Final = 23
_VERSION: Final = 0x0303


def record_of_alert(alert: int, *, key_log: Path, first_sent: bytes, records: int) -> bytes:
    """Return the record with a fatal alert that a server sends next on the only connection of its context.

    `first_sent` is what it has sent first, and `records` how many it has sent with its present key.
    """
    lines = [line.split() for line in key_log.read_text().splitlines() if not line.startswith("#")]
    secrets = {label: (bytes.fromhex(random), bytes.fromhex(secret)) for label, random, secret in lines}
    text = bytes([_FATAL, alert])
    if "SERVER_TRAFFIC_SECRET_0" in secrets:
        return _record(text, secrets["SERVER_TRAFFIC_SECRET_0"][1], records)
    client_random, master = secrets["CLIENT_RANDOM"]
    return _old_record(text, master, first_sent[11:43] + client_random, records)


def _record(text: bytes, secret: bytes, number: int) -> bytes:
    """Encrypt as TLS 1.3 does with AES-256-GCM (RFC 8446, section 5.2)."""
    key, first = _derived(secret, b"key", 32), _derived(secret, b"iv", 12)
    nonce = (int.from_bytes(first, "big") ^ number).to_bytes(12, "big")
    inner = text + bytes([_ALERT])
    head = struct.pack(">BHH", _APPLICATION, _VERSION, len(inner) + 16)
    return head + AESGCM(key).encrypt(nonce, inner, head)


def _derived(secret: bytes, label: bytes, length: int) -> bytes:
    full = b"tls13 " + label
    info = struct.pack(">HB", length, len(full)) + full + b"\0"
    return HKDFExpand(hashes.SHA384(), length, info).derive(secret)


def _old_record(text: bytes, master: bytes, randoms: bytes, number: int) -> bytes:
    """Encrypt as TLS 1.2 does with AES-128-GCM (RFC 5246, section 6.3; RFC 5288)."""
    block = _expanded(master, b"key expansion" + randoms, 40)
    key, salt, explicit = block[16:32], block[36:40], struct.pack(">Q", number)
    bound = explicit + struct.pack(">BHH", _ALERT, _VERSION, len(text))
    sealed = explicit + AESGCM(key).encrypt(salt + explicit, text, bound)
    return struct.pack(">BHH", _ALERT, _VERSION, len(sealed)) + sealed


def _expanded(secret: bytes, seed: bytes, length: int) -> bytes:
    block, link = b"", seed
    while len(block) < length:
        link = hmac.digest(secret, link, hashlib.sha256)
        block += hmac.digest(secret, link + seed, hashlib.sha256)
    return block[:length]
