"""Gives a case a webhook and prints its secret: `webhooks.py URL PASSWORD CASE RECEIVER`."""
import json
import sys
import urllib.request

url, password, case, receiver = sys.argv[1:5]


def post(path, body, headers):
    headers = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


login = post("/api/v1/auth/login", {"email": "ada@example.org", "password": password}, {})
headers = {"Authorization": "Bearer " + login["access_token"], "Idempotency-Key": "one"}
print(post(f"/api/v1/cases/{case}/webhooks", {"url": receiver}, headers)["secret"])
