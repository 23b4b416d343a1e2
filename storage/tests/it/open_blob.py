"""Opens an object of dia without dia: written from the module documentation of `storage::vault` alone.

usage: open_blob.py ROOT_KEY_FILE CASE_ID KEY_VERSION WRAPPED_CASE_KEY_HEX BLOB_ID KIND OBJECT_FILE > PLAINTEXT
"""

import hashlib
import hmac
import sys
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK = 16384
TAG = 16


def derive(key: bytes, label: bytes) -> bytes:
    return hmac.new(key, label, hashlib.sha256).digest()


def open_envelope(key: bytes, associated: bytes, sealed: bytes) -> bytes:
    assert sealed[0] == 1, "unknown version of envelope"
    salt, nonce, ciphertext = sealed[1:13], sealed[13:25], sealed[25:]
    return AESGCM(derive(key, b"dia/1/envelope" + salt)).decrypt(nonce, ciphertext, associated)


def open_object(key: bytes, context: bytes, sealed: bytes) -> bytes:
    salt, commitment, body = sealed[:24], sealed[24:56], sealed[56:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + context
    output = HKDFExpand(SHA256(), 76, info).derive(key)
    assert hmac.compare_digest(output[44:], commitment), "the commitment differs"
    cipher, base_nonce = AESGCM(output[:32]), int.from_bytes(output[32:44], "big")
    plaintext, number = b"", 0
    while True:
        chunk, body = body[: CHUNK + TAG], body[CHUNK + TAG :]
        plaintext += cipher.decrypt((base_nonce ^ number).to_bytes(12, "big"), chunk, None)
        number += 1
        if len(chunk) < CHUNK + TAG:
            assert not body
            return plaintext


def main() -> None:
    root_file, case, version, wrapped, blob, kind, object_file = sys.argv[1:]
    with open(root_file, "rb") as file:
        root = file.read()
    case_bytes = uuid.UUID(case).bytes
    associated = b"case-key" + case_bytes + int(version).to_bytes(4, "big")
    case_key = open_envelope(derive(root, b"dia/1/wrap"), associated, bytes.fromhex(wrapped))
    context = case_bytes + uuid.UUID(blob).bytes + kind.encode("ascii")
    with open(object_file, "rb") as file:
        sys.stdout.buffer.write(open_object(derive(case_key, b"dia/1/blobs"), context, file.read()))


main()
