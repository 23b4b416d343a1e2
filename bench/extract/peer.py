#!/usr/bin/env python3
"""Reads one file with one peer and writes its text to stdout: `peer.py TOOL FILE`. Run by `run`, in the peers' own venv."""
import sys


def extractous(path):
    from extractous import Extractor

    return Extractor().set_extract_string_max_length(1 << 28).extract_file_to_string(path)[0]


def kreuzberg(path):
    from kreuzberg import extract_file_sync

    return extract_file_sync(path).content


def pypdfium2(path):
    import pypdfium2

    return "\f".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path))


def markitdown(path):
    from markitdown import MarkItDown

    return MarkItDown().convert(path).text_content


def email(path):
    import email
    import email.policy

    with open(path, "rb") as file:
        message = email.message_from_binary_file(file, policy=email.policy.default)
    names = ("from", "to", "cc", "bcc", "date", "subject")
    head = "".join(f"{name}: {message[name]}\n" for name in names if message[name])
    body = message.get_body(preferencelist=("plain", "html"))
    return head + "\n" + (body.get_content() if body else "")


tool, file = sys.argv[1:]
text = {f.__name__: f for f in (extractous, kreuzberg, pypdfium2, markitdown, email)}[tool](file)
sys.stdout.buffer.write(text.encode("utf-8", "replace"))
