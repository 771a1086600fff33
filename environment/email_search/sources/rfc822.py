"""A raw mail (RFC 822 and MIME) as an ``Email``; shared by the file-based sources.

Attachments are left out. Of a mail without a plain-text part, the text of its HTML is taken.
"""

from __future__ import annotations

import email
import hashlib
import re
from datetime import UTC
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from html.parser import HTMLParser

from environment.email_search.models import Email
from environment.email_search.sources import Tally

# Four digits that are not the offset of a time zone.
_YEAR = re.compile(r"(?<![+\-:\d])(\d{4})\b")
_TAG = re.compile(r"<[^>]*>")
_OLDEST_YEAR, _NEWEST_YEAR = 1970, 2100


class NotAMail(ValueError):
    """Bytes that are no mail. ``str()`` is the reason to count them under."""


def parse_mail(raw: bytes, file_name: str, tally: Tally) -> Email:
    """
    Raises:
        NotAMail: the bytes are binary, empty, or no mail that can be made sense of.
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
        # On broken headers, charsets and HTML the standard library raises nearly anything:
        # AssertionError, TypeError, RecursionError have been seen.
        raise NotAMail("unreadable") from error


def _parse(raw: bytes, file_name: str, tally: Tally) -> Email:
    message = email.message_from_bytes(raw)
    if not any(message[name] for name in ("From", "Date", "Message-ID", "Subject")):
        raise NotAMail("no_mail_headers")
    message_id = _header(message, "Message-ID").strip()
    if not message_id:
        # From the content, so that the same mail gets the same id in every build.
        message_id = f"<{hashlib.sha256(raw).hexdigest()[:20]}@no-message-id>"
        tally.notes["no_message_id"] += 1
    date = _utc(_header(message, "Date"))
    if not date:
        tally.notes["no_usable_date"] += 1
    return Email(
        message_id=message_id,
        date=date,
        subject=" ".join(_header(message, "Subject").split()),
        sender=next(iter(_addresses(message, "From")), ""),
        to=_addresses(message, "To"),
        cc=_addresses(message, "Cc"),
        bcc=_addresses(message, "Bcc"),
        body=_utf8(_body(message)).replace("\r\n", "\n").replace("\0", "").strip(),
        file_name=_utf8(file_name),
    )


def _header(message: Message, name: str) -> str:
    value = message[name]
    if value is None:
        return ""
    try:
        text = str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        text = str(value)
    return _utf8(text)


def _utf8(text: str) -> str:
    """Without what UTF-8 cannot hold (lone surrogates)."""
    return text.encode("utf-8", "replace").decode()


def _addresses(message: Message, name: str) -> list[str]:
    values = [str(value) for value in message.get_all(name, [])]
    return [_utf8(address.strip().lower()) for _, address in getaddresses(values) if "@" in address]


def _utc(header: str) -> str:
    """The date in UTC, or nothing if there is none or its year is out of range.

    The year is checked in the text itself: the standard parser reads year 0001 as 2001.
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
    plain = [_text(part) for part in shown if part.get_content_type() == "text/plain"]
    if plain:
        return "\n".join(plain)
    return "\n".join(
        _html_text(_text(part)) for part in shown if part.get_content_type() == "text/html"
    )


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else str(part.get_payload()).encode()
    try:
        return raw.decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError, TypeError):  # no such charset, or no sense in its header
        return raw.decode("utf-8", "replace")


class _TextOf(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("script", "style"):
            self._hidden += 1
        elif tag in ("p", "div", "br", "tr", "li", "h1", "h2", "h3"):
            self.text.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)


def _html_text(html: str) -> str:
    parser = _TextOf()
    try:
        parser.feed(html)
        parser.close()
        text = "".join(parser.text)
    except AssertionError:  # how the parser says that it cannot go on
        text = _TAG.sub(" ", html)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)
