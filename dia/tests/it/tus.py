"""A platform that delivers with a load file and the tus client tuspy: `tus.py URL PASSWORD DATABASE FOLDER STEP`.

STEP `begin` opens the batch, sends the small files and half of the large one, and prints where that one lies. STEP `end`, given
that place, goes on with it, seals the batch, waits, and prints the batch's report, its items and its errors as JSON."""
import json
import os
import sys
import time

import requests
from tusclient.client import TusClient

url, password, database, folder, step = sys.argv[1:6]
login = requests.post(f"{url}/api/v1/auth/login", json={"email": "ada@example.org", "password": password})
login.raise_for_status()
headers = {"Authorization": "Bearer " + login.json()["access_token"]}
batches = f"{url}/api/v1/databases/{database}/batches"


def get(path):
    answer = requests.get(path, headers=headers)
    answer.raise_for_status()
    return answer.json()


def wait(holds):
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    sys.exit("waited too long")


def uploader(client, path, **more):
    metadata = {"filename": os.path.basename(path), "path": "VOL001/" + path}
    place = os.path.join(folder, path)
    return client.uploader(place, chunk_size=1 << 20, metadata=metadata, upload_checksum=True, retries=3, **more)


if step == "begin":
    with open(os.path.join(folder, "VOL001.dat"), "rb") as load_file:
        kind = {"Content-Type": "application/octet-stream", "Idempotency-Key": "one"}
        opened = requests.post(batches + "?name=VOL001", data=load_file, headers={**headers, **kind})
    opened.raise_for_status()
    batch = opened.json()["id"]
    wait(lambda: get(f"{batches}/{batch}/load-files")["items"][0]["state"] == "read")
    client = TusClient(f"{batches}/{batch}/uploads", headers=headers)
    for name in ("NATIVES/0001.txt", "NATIVES/0002.eml", "NATIVES/empty.txt"):
        uploader(client, name).upload()
    large = uploader(client, "NATIVES/large.txt")
    large.upload(stop_at=2 << 20)
    print(json.dumps({"batch": batch, "place": large.url, "offset": large.offset}))
else:
    begun = json.loads(step)
    batch = begun["batch"]
    client = TusClient(f"{batches}/{batch}/uploads", headers=headers)
    large = uploader(client, "NATIVES/large.txt", url=begun["place"])
    assert large.offset == begun["offset"], (large.offset, begun)
    large.upload()
    requests.post(f"{batches}/{batch}/seal", headers=headers).raise_for_status()

    def done():
        report = get(f"{batches}/{batch}")
        return report["uploads"]["complete"] == 0 and report["counts"]["in_flight"] == 0

    wait(done)
    told = {"report": get(f"{batches}/{batch}"), "items": get(f"{batches}/{batch}/items")["items"]}
    told["errors"] = [(one["path"], one["error"]) for one in get(f"{batches}/{batch}/errors")["items"]]
    print(json.dumps(told))
