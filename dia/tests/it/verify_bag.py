"""Verifies a case that was taken away: RFC 8493, and the log in it by verify_log.py. Shares no code with dia.

usage: verify_bag.py FOLDER KEY
"""

import glob
import hashlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../storage/tests/it"))
from verify_log import fail, note_text, verify


def text(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
            return file.read()
    except OSError:
        fail(f"{name} is missing")


def manifest(folder, name):
    listed = {}
    for line in text(folder, name).splitlines():
        digest, _, path = line.partition("  ")
        if ".." in path.split("/") or path.startswith("/"):
            fail(f"{name} leads out of the bag")
        try:
            with open(os.path.join(folder, path), "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            fail(f"{path} is missing")
        if found != digest:
            fail(f"{path} was changed")
        listed[path] = digest
    return listed


def main(folder, key):
    lines = note_text(text(folder, "tagmanifest-sha256.txt.note"), key).splitlines()
    tags = text(folder, "tagmanifest-sha256.txt")
    if lines[1] != "dia-custody/1" or lines[3] != hashlib.sha256(tags.encode()).hexdigest():
        fail("the list of tag files is not the one that was signed")
    manifest(folder, "tagmanifest-sha256.txt")
    payload = manifest(folder, "manifest-sha256.txt")
    here = {os.path.relpath(path, folder) for path in glob.glob(folder + "/data/**", recursive=True) if os.path.isfile(path)}
    if here != set(payload):
        fail("the payload is not what the manifest lists")
    documents = {}
    for part in sorted(path for path in payload if path.startswith("data/custody-")):
        for line in text(folder, part).splitlines():
            told = json.loads(line)
            documents[told["id"]] = told
    for told in documents.values():
        if told["file"] and payload[told["file"]] != told["sha256"]:
            fail(f"{told['file']} is not the file of its document")
        if told["parent_id"] and told["containers"][-1]["sha256"] != documents[told["parent_id"]]["sha256"]:
            fail(f"{told['id']} lay in another container")
    log = "".join(text(folder, part) for part in sorted(path for path in payload if path.startswith("data/audit-")))
    if json.loads(log.split("\n")[0])["case"] != lines[2]:
        fail("the log is of another case")
    verify(log, key)


main(*sys.argv[1:])
