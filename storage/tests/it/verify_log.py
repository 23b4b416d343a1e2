"""Verifies a bundle of dia's audit log: RFC 6962 hashes, RFC 9162 proofs, C2SP signed notes. Shares no code with dia.

usage: verify_log.py BUNDLE KEY
"""

import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def fail(why):
    print(why, file=sys.stderr)
    sys.exit(1)


def leaf_hash(data):
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree(hashes):
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(tree(hashes[:k]), tree(hashes[k:]))


def root_from_proof(index, size, leaf, proof):
    """RFC 9162, 2.1.3.2."""
    if index >= size:
        return None
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            if not fn & 1:
                while not fn & 1 and fn:
                    fn >>= 1
                    sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    return r if sn == 0 else None


def note_text(note, key):
    name, key_hash, key_data = key.split("+", 2)
    key_data = base64.b64decode(key_data, validate=True)
    if hashlib.sha256(name.encode() + b"\n" + key_data).hexdigest()[:8] != key_hash or key_data[0] != 1:
        fail("the key is damaged")
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        if not line.startswith("\u2014 " + name + " "):
            continue
        try:
            signature = base64.b64decode(line.rsplit(" ", 1)[1], validate=True)
        except ValueError:
            continue
        if signature[:4].hex() != key_hash:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key_data[1:]).verify(signature[4:], text.encode())
        except InvalidSignature:
            continue
        if text.split("\n")[0] != name:
            fail("the note is of another log")
        return text
    fail("the note is not signed with this key")


def open_note(note, key):
    size, root = note_text(note, key).split("\n")[1:3]
    return int(size), base64.b64decode(root)


def main(bundle, key):
    with open(bundle, encoding="utf-8") as file:
        verify(file.read(), key)


def verify(bundle, key):
    try:
        lines = [json.loads(line) for line in bundle.split("\n")[:-1]]
    except ValueError:
        fail("this is no bundle")
    if not lines or lines[0].get("format") != "dia-audit/1" or lines[0].get("key") != key:
        fail("the head is not that of a bundle of this log")
    head, leaves = lines[0], lines[1:]
    size, root = open_note(head["checkpoint"], key)
    case, last, hashes = head["case"], -1, []
    for line in leaves:
        try:
            index, text = line["index"], line["leaf"]
            if not isinstance(index, int) or index <= last or (case is None and index != last + 1):
                fail("positions are out of order")
            last = index
            hashes.append(leaf_hash(text.encode()))
            if case is not None:
                proof = [base64.b64decode(hash, validate=True) for hash in line["proof"]]
                if root_from_proof(index, size, hashes[-1], proof) != root:
                    fail(f"position {index} was not logged so")
                fields = json.loads(text)
                if fields["case_id"] != case:
                    fail(f"position {index} is not of this case")
                commitment = None
                if "disclosed" in line:
                    salt, details = line["disclosed"]["salt"], line["disclosed"]["details"]
                    salted = base64.b64decode(salt, validate=True) + details.encode()
                    commitment = hashlib.sha256(salted).hexdigest()
                if fields["commitment"] != commitment:
                    fail(f"position {index} said something else")
        except (KeyError, TypeError, ValueError, AttributeError):
            fail("a line is no leaf")
    if case is None and (len(hashes) != size or tree(hashes) != root):
        fail("these are not the events that were signed")


if __name__ == "__main__":
    main(*sys.argv[1:])
