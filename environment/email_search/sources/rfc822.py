"""Parses a raw RFC 822 / MIME message into an ``Email``; shared by the file-based sources.

Attachments are ignored. HTML is converted to text if there is no plain-text part.
"""

from __future__ import annotations

import email
import hashlib
import inspect
import re
from datetime import UTC
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

from inscriptis import get_text
from inscriptis.model.config import ParserConfig

from environment.email_search.models import Email
from environment.email_search.sources import Tally
from environment.email_search.sources.words import decode, decode_header, unfold

# Four digits that are not a time zone offset.
_YEAR = re.compile(r"(?<![+\-:\d])(\d{4})\b")
_SIGNATURE = "-- "
_AS_TEXT = ParserConfig(display_links=False, display_images=False)
# Newer Pythons reject a whole list for one odd address; older ones lack the argument.
_KNOWN = inspect.signature(getaddresses).parameters
_LENIENT: dict[str, Any] = {"strict": False} if "strict" in _KNOWN else {}
_OLDEST_YEAR, _NEWEST_YEAR = 1970, 2100


class NotAMail(ValueError):
    """Not a parsable message. ``str()`` is the reason to count it under."""


def parse_mail(raw: bytes, file_name: str, tally: Tally) -> Email:
    """
    Raises:
        NotAMail: the bytes are empty, binary or not a parsable message.
    """
    if not raw.strip():
        raise NotAMail("empty_file")
    if b"\0" in raw[:4096]:
        raise NotAMail("binary_file")
    try:
        return _parse(raw, file_name, tally)
    except NotAMail:
        raise
    except Exception as error:
        # Given broken headers, charsets or HTML, the libraries raise nearly anything, such as
        # AssertionError, TypeError or RecursionError.
        raise NotAMail("unreadable") from error


def _parse(raw: bytes, file_name: str, tally: Tally) -> Email:
    message = email.message_from_bytes(raw)
    if not any(message[name] for name in ("From", "Date", "Message-ID", "Subject")):
        raise NotAMail("no_mail_headers")
    message_id = _header(message, "message-id").strip()
    if not message_id:
        # A content hash, so that the email keeps its id across builds.
        message_id = f"<{hashlib.sha256(raw).hexdigest()[:20]}@no-message-id>"
        tally.notes["no_message_id"] += 1
    date = _utc(_header(message, "date"))
    if not date:
        tally.notes["no_usable_date"] += 1
    return Email(
        message_id=message_id,
        date=date,
        subject=" ".join(_header(message, "subject").split()),
        sender=next(iter(_addresses(message, "from")), ""),
        to=_addresses(message, "to"),
        cc=_addresses(message, "cc"),
        bcc=_addresses(message, "bcc"),
        body=_body(message).replace("\0", "").strip(),
        file_name=file_name.encode("utf-8", "replace").decode(),
    )


def _raw(message: Message, name: str) -> list[bytes]:
    """The raw, unfolded values of a header."""
    return [
        unfold(str(value).encode("utf-8", "surrogateescape"))
        for key, value in message.raw_items()
        if key.lower() == name
    ]


def _header(message: Message, name: str) -> str:
    """The decoded text of the first such header, or an empty string."""
    return next((decode_header(value) for value in _raw(message, name)), "")


def _addresses(message: Message, name: str) -> list[str]:
    """Parsed before decoding: an address inside a display name is part of the name."""
    # Latin-1 maps bytes to characters one to one for getaddresses, which takes text only.
    values = [value.decode("latin-1") for value in _raw(message, name)]
    decoded = (decode(address.encode("latin-1")) for _, address in getaddresses(values, **_LENIENT))
    addresses = (address.strip().lower() for address in decoded)
    return [address for address in addresses if address.find("@") > 0]


def _utc(header: str) -> str:
    """The date in UTC, or an empty string if it is missing, invalid or out of range.

    Checks the year in the text as well: the standard parser reads year 0001 as 2001.
    """
    year = _YEAR.search(header)
    if year and not _OLDEST_YEAR <= int(year[1]) <= _NEWEST_YEAR:
        return ""
    try:
        moment = parsedate_to_datetime(header)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
    if not _OLDEST_YEAR <= moment.year <= _NEWEST_YEAR:
        return ""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _body(message: Message) -> str:
    parts = [part for part in message.walk() if not part.is_multipart()]
    shown = [part for part in parts if part.get_content_disposition() != "attachment"]
    plain = [_plain(part) for part in shown if part.get_content_type() == "text/plain"]
    if plain:
        return "\n".join(plain)
    return "\n".join(
        _html_text(_text(part)) for part in shown if part.get_content_type() == "text/html"
    )


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else str(part.get_payload()).encode()
    text = decode(raw, _parameter(part, "charset"))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parameter(part: Message, name: str) -> str:
    """A content type parameter in lower case; empty if missing or malformed."""
    try:
        value = part.get_param(name)
    except (TypeError, ValueError):
        return ""
    # RFC 2231: (charset, language, value).
    value = value[2] if isinstance(value, tuple) else value
    return (value or "").lower()


def _plain(part: Message) -> str:
    text = _text(part)
    if _parameter(part, "format") != "flowed":
        return text
    return unflow(text, _parameter(part, "delsp") == "yes")


def unflow(text: str, delete_space: bool) -> str:
    """Join the lines of each ``format=flowed`` paragraph (RFC 3676)."""
    paragraphs: list[str] = []
    open_at = -1  # quote depth of the unfinished paragraph
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        flows = content.endswith(" ") and content != _SIGNATURE
        if depth == open_at and content != _SIGNATURE:
            paragraphs[-1] += content
        else:
            paragraphs.append(">" * depth + " " * bool(depth) + content)
        if flows and delete_space:
            paragraphs[-1] = paragraphs[-1][:-1]
        open_at = depth if flows else -1
    return "\n".join(paragraph.rstrip() for paragraph in paragraphs)


def _html_text(html: str) -> str:
    lines = (" ".join(line.split()) for line in get_text(html, _AS_TEXT).splitlines())
    return "\n".join(line for line in lines if line)
