"""An SMTP server with TLS and one account: `mail.py PORT CERTIFICATE KEY MODE`. Each letter is printed as a line of JSON.

MODE `tls`: TLS from the start; `starttls`: after STARTTLS, which must come before anything else; `plain`: none, and no account.
"""
import asyncio
import email
import json
import ssl
import sys

from aiosmtpd.smtp import AuthResult, SMTP

port, certificate, key, mode = int(sys.argv[1]), *sys.argv[2:5]


class Letters:
    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content)
        print(json.dumps({
            "to": envelope.rcpt_tos,
            "from": letter["from"],
            "subject": letter["subject"],
            "automatic": letter["auto-submitted"],
            "text": letter.get_payload(decode=True).decode(),
            "private": session.ssl is not None or mode == "tls",
        }), flush=True)
        return "250 taken"


def known(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"dia" and data.password == b"a password of its own")


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    wants = {"authenticator": known, "auth_required": mode != "plain", "auth_require_tls": mode == "starttls"}
    if mode == "starttls":
        wants |= {"tls_context": context, "require_starttls": True}
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Letters(), hostname="localhost", **wants), "127.0.0.1", port, ssl=context if mode == "tls" else None
    )
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
