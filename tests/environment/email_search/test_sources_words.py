"""Raw bytes, wrong charsets, encoded words, tables and flowed text, read as mail clients do."""

from __future__ import annotations

import contextlib

import pytest

from environment.email_search.models import Email
from environment.email_search.sources import Tally
from environment.email_search.sources.rfc822 import NotAMail, parse_mail, unflow
from environment.email_search.sources.words import decode, decode_header


def parsed(headers: bytes, body: bytes = b"hi") -> Email:
    return parse_mail(b"From: a@b.c\r\n" + headers + b"\r\n\r\n" + body, "f", Tally())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("cp1252"), "Grüße"),
        (b"\x93hi\x94 \x80 5", "“hi” € 5"),
        (b"a\x81b", "a\x81b"),
        (b"=?utf-8?q?caf=C3=A9?= " + "tür".encode(), "café tür"),
        (b"=?utf-8?q?t\xc3\xbcr?=", "tür"),
        (b"=?iso-8859-1?q?=93hi=94?=", "“hi”"),
        # One character in two words, a language, lower case, no padding, underscores.
        (b"=?utf-8?q?=E2=82?= =?utf-8?q?=AC?=", "€"),
        (b"=?utf-8*en?Q?a=3Fb?=", "a?b"),
        (b"=?UTF-8?b?4oKs?=x", "€x"),
        (b"=?utf-8?b?4oKsYQ?=", "€a"),
        (b"=?us-ascii?q?a_b?= =?us-ascii?q?c?= d", "a bc d"),
        (b"=?koi8-r?b?8NLJ18XU?=", "Привет"),
        (b"=?gb2312?b?xOO6ww==?=", "你好"),
        (b"=?shift_jis?b?h0A=?=", "①"),
        (b"=??q?Bras=EDlia?=", "Brasília"),
        (b"=?utf-8?x?no?= =?utf-8?q?yes?=", "=?utf-8?x?no?= yes"),
        (b"a\r\n b\r\n\tc", "a b\tc"),
    ],
)
def test_a_header_is_read(raw: bytes, text: str) -> None:
    assert decode_header(raw) == text


def test_an_address_in_an_encoded_name_is_none() -> None:
    mail = parsed(b"To: =?utf-8?q?Ann_=3Ceve=40x=2Ecom=3E?= <ann@x.com>, b\xfcrger@x.com, c@x.com")
    assert mail.to == ["ann@x.com", "bürger@x.com", "c@x.com"]
    mail = parsed(b'Cc: "=?utf-8?b?PGVAeC5jPg==?=" <ann@x.com>')
    assert mail.cc == ["ann@x.com"]
    assert parsed(b"To: @list.x.com, ann@x.com").to == ["ann@x.com"]


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("", "naïve — “yes”".encode("cp1252"), "naïve — “yes”"),
        ("", "naïve — “yes”".encode(), "naïve — “yes”"),
        ("iso-8859-1", "“yes” €".encode("cp1252"), "“yes” €"),
        ("us-ascii", "“yes”".encode("cp1252"), "“yes”"),
        ("unknown-8bit", "“yes”".encode(), "“yes”"),
        ("utf-8", b"caf\xe9", "café"),
        ("gb2312", "镕".encode("gb18030"), "镕"),
        ("iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        ("base64", b"plain", "plain"),
    ],
)
def test_a_body_is_read_whatever_its_charset_says(charset: str, raw: bytes, text: str) -> None:
    header = f"Content-Type: text/plain; charset={charset}" if charset else "X: y"
    assert parsed(header.encode(), raw).body == text
    assert decode(raw, charset or None) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<table><tr><td>A</td><td>B</td></tr><tr><td>C</td></tr></table>", "A B\nC"),
        ("<table><tr><th>Due</th><th>May 3</th></tr></table>", "Due May 3"),
        ("a<b>b</b>c <i>d</i>", "abc d"),
        ("<p>one</p><p>two<br>three</p>", "one\ntwo\nthree"),
        ("<ul><li>x</li><li>y</li></ul>", "* x\n* y"),
        ("<style>p{}</style><script>x()</script>&euro;&nbsp;5", "€ 5"),
        ("<p>open <b>and never closed", "open and never closed"),
        ("", ""),
    ],
)
def test_html_keeps_its_words_apart(html: str, text: str) -> None:
    assert parsed(b"Content-Type: text/html; charset=utf-8", html.encode()).body == text


@pytest.mark.parametrize("html", ["<div>" * 5_000, "<table><tr><td>" * 3_000 + "x", "<" * 50_000])
def test_hostile_html_is_read_or_counted(html: str) -> None:
    with contextlib.suppress(NotAMail):
        assert len(parsed(b"Content-Type: text/html", html.encode()).body) <= len(html)


def test_flowed_text_is_unwrapped() -> None:
    text = "This is \none line.\n\n> quoted \n> too\n>> deeper\n From the start\n-- \nAnn \n"
    assert unflow(text, delete_space=False) == (
        "This is one line.\n\n> quoted too\n>> deeper\nFrom the start\n--\nAnn"
    )
    assert unflow("日本 \n語", delete_space=True) == "日本語"
    header = b"Content-Type: text/plain; charset=utf-8; format=flowed"
    assert parsed(header, b"Call \nme at 5").body == "Call me at 5"
    assert parsed(b"Content-Type: text/plain", b"Call \nme").body == "Call \nme"
