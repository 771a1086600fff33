"""Decodes message bytes: missing or wrong charsets, and encoded words in headers.

Behaves like email clients: charset labels follow the WHATWG Encoding Standard, and bytes that are
invalid in the declared charset are read as UTF-8 if valid, otherwise as windows-1252.
"""

from __future__ import annotations

import binascii
import codecs
import quopri
import re

# RFC 2047, section 2, minus its rule on adjacent characters, which many senders break.
_WORD = re.compile(rb"=\?([^?*\s]*)(?:\*[^?]*)?\?([BbQq])\?([^?]*)\?=")
_FOLD = re.compile(rb"\r?\n(?=[ \t])|[\r\n]+")
# Labels that the WHATWG maps to a superset.
_WHATWG = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}


def _as_control(error: UnicodeError) -> tuple[str, int]:
    """Map the five bytes undefined in windows-1252 to the control characters of the same value."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("as_control", _as_control)


def decode(raw: bytes, charset: str | None = None) -> str:
    """Decode any bytes: never fails, never returns lone surrogates."""
    text = _declared(raw, charset) if charset else None
    if text is None:
        text = _decoded(raw, "utf-8")
    if text is None:
        text = raw.decode("cp1252", "as_control")
    return text.encode("utf-8", "replace").decode()


def _declared(raw: bytes, charset: str) -> str | None:
    """None if the charset is unknown or the bytes are invalid in it."""
    try:
        name = codecs.lookup(charset.strip().strip("'\"")).name
    except (LookupError, ValueError):
        return None
    if name == "ascii" and (text := _decoded(raw, "utf-8")) is not None:
        return text
    name = _WHATWG.get(name, name)
    if name == "cp1252":
        return raw.decode(name, "as_control")
    return _decoded(raw, name)


def _decoded(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except (UnicodeError, LookupError, AssertionError, TypeError):  # binary codecs, too
        return None


def unfold(raw: bytes) -> bytes:
    """Join the lines of a folded header."""
    return _FOLD.sub(b"", raw)


def decode_header(raw: bytes) -> str:
    """Decode a header with its encoded words."""
    raw = unfold(raw)
    pieces: list[tuple[str | None, bytes]] = []  # (charset, or None for plain text; bytes)
    end = 0
    for word in _WORD.finditer(raw):
        between = raw[end : word.start()]
        follows = bool(pieces) and pieces[-1][0] is not None and not between.strip()
        if not follows and between:
            pieces.append((None, between))
        charset = word[1].decode("latin-1").lower()
        payload = _payload(word[2], word[3])
        if payload is None:
            pieces.append((None, between * follows + word[0]))
            end = word.end()
            continue
        if follows and pieces[-1][0] == charset:
            # A multi-byte character may span two words.
            payload = pieces.pop()[1] + payload
        pieces.append((charset, payload))
        end = word.end()
    pieces.append((None, raw[end:]))
    return "".join(decode(payload, charset) for charset, payload in pieces)


def _payload(encoding: bytes, text: bytes) -> bytes | None:
    """None if the encoding is invalid."""
    if encoding in b"Qq":
        return quopri.decodestring(text, header=True)
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", text)
    if len(letters) % 4 == 1:  # truncated
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4)) or (None if text else b"")
