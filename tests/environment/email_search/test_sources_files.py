import gzip
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environment.email_search.sources import SourceError, Tally
from environment.email_search.sources.files import MaildirSource, MboxSource
from environment.email_search.sources.rfc822 import NotAMail, parse_mail

from .builders import raw_mail


def parse(*headers, body="hello"):
    return parse_mail(raw_mail(*headers, body=body), "inbox/1.", Tally())


def read(source):
    tally = Tally()
    return list(source.emails(tally)), tally


# One mail


def test_a_plain_mail_gives_every_field():
    mail = parse(
        "Cc: Eve <EVE@x.com>", "Bcc: zoe@x.com", "To: Ann <ann@x.com>, al@x.com", body=" a\r\nb\n"
    )
    assert mail.message_id == "<1@x>"
    assert mail.date == "2001-05-14 09:00:00"
    assert (mail.subject, mail.sender) == ("review", "bob@x.com")
    assert (mail.to, mail.cc, mail.bcc) == (["ann@x.com", "al@x.com"], ["eve@x.com"], ["zoe@x.com"])
    assert (mail.body, mail.file_name) == ("a\nb", "inbox/1.")


def test_a_mail_without_an_id_gets_the_same_one_in_every_build():
    tally = Tally()
    one, again, other = (
        parse_mail(raw_mail("Message-ID: ", body=body), "f", tally)
        for body in ("hello", "hello", "other")
    )
    assert one.message_id == again.message_id != other.message_id
    assert one.message_id == "<db03fd12a23884b3c4ea@no-message-id>"
    assert tally.notes == {"no_message_id": 3}
    assert not tally.skipped


def test_a_mail_of_one_header_has_all_fields_but_empty():
    tally = Tally()
    mail = parse_mail(b"From: bob@x.com\n\nhello", "f", tally)
    assert (mail.date, mail.subject, mail.to, mail.cc, mail.bcc) == ("", "", [], [], [])
    assert (mail.sender, mail.body) == ("bob@x.com", "hello")
    assert tally.notes == {"no_message_id": 1, "no_usable_date": 1}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty_file"),
        (b" \r\n\t\n", "empty_file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary_file"),
        (gzip.compress(b"hello " * 99, mtime=0), "binary_file"),
        (raw_mail().decode().encode("utf-16"), "binary_file"),
        (b"just some text\nwithout headers", "no_mail_headers"),
        (b"X-Mailer: none\n\nhello", "no_mail_headers"),
        ("größer\n".encode("latin-1") * 9, "no_mail_headers"),
    ],
)
def test_bytes_that_are_no_mail_have_a_reason(raw, reason):
    with pytest.raises(NotAMail, match=f"^{reason}$"):
        parse_mail(raw, "f", Tally())


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda body: raw_mail(body=body)))
def test_any_bytes_are_a_mail_or_not_and_nothing_else(raw):
    try:
        mail = parse_mail(raw, "f", Tally())
    except NotAMail:
        return
    assert mail.message_id


# Dates


@pytest.mark.parametrize(
    ("header", "utc"),
    [
        ("Mon, 14 May 2001 16:39:00 -0700 (PDT)", "2001-05-14 23:39:00"),
        ("Mon, 14 May 2001 23:39:00 +0200", "2001-05-14 21:39:00"),
        ("14 May 2001 16:39 EST", "2001-05-14 21:39:00"),
        ("Mon, 14 May 2001 16:39:00 -0000", "2001-05-14 16:39:00"),
        ("Mon, 14 May 2001 16:39:00", "2001-05-14 16:39:00"),
        ("Mon, 14 May 01 16:39:00 -0700", "2001-05-14 23:39:00"),
        ("Fri, 14 May 99 16:39:00 +0000", "1999-05-14 16:39:00"),
        ("Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01 00:00:00"),
        ("Fri, 31 Dec 2100 12:00:00 +0000", "2100-12-31 12:00:00"),
    ],
)
def test_a_date_is_kept_in_utc(header, utc):
    assert parse(f"Date: {header}").date == utc


@pytest.mark.parametrize(
    "header",
    [
        "",
        "yesterday",
        "14",
        "Mon, 99 May 2001 16:39:00 +0000",
        "Mon, 14 May 2001 99:99:99 +0000",
        "Mon, 1 Jan 0001 00:00:00 +0000",
        "Mon, 1 Jan 0001 16:39:00 -0800 (PST)",
        "Fri, 1 Jan 1960 00:00:00 +0000",
        "Fri, 1 Jan 2101 00:00:00 +0000",
        "1 Jan 12001 00:00:00 +0000",
        "Mon, 14 May 2001 16:39:00 +99999999",
        "=?utf-8?q?=00?=",
        "Thu, 1 Jan 1970 00:00:00 +0100",
    ],
)
def test_an_unusable_date_leaves_the_mail_undated_with_a_note(header):
    tally = Tally()
    mail = parse_mail(raw_mail(f"Date: {header}"), "f", tally)
    assert mail.date == ""
    assert tally.notes == {"no_usable_date": 1}
    assert not tally.skipped


# Headers and addresses


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("=?utf-8?q?caf=C3=A9?=", "café"),
        ("=?iso-8859-1?q?caf=E9?= =?utf-8?b?4oKs?=", "café€"),
        ("Re: =?utf-8?b?8J+YgA==?= party", "Re: 😀 party"),
        ("a long\n  folded\n\tsubject", "a long folded subject"),
        (b"caf\xe9", "café"),
        ("=?nosuch?q?caf=E9?=", "café"),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("=?undefined?q?x?=", "x"),
    ],
)
def test_an_encoded_subject_is_decoded_where_it_can_be(header, subject):
    line = header if isinstance(header, bytes) else header.encode()
    assert parse(b"Subject: " + line).subject == subject


@pytest.mark.parametrize(
    ("header", "addresses"),
    [
        ("ANN@X.com", ["ann@x.com"]),
        ('"Ann, the first" <ann@x.com>, bob@x.com', ["ann@x.com", "bob@x.com"]),
        ("=?utf-8?q?J=C3=B6rg=2C_A=2E?= <joerg@x.com>", ["joerg@x.com"]),
        ("team: ann@x.com, bob@x.com;", ["ann@x.com", "bob@x.com"]),
        ("ann@x.com,\n\tbob@x.com", ["ann@x.com", "bob@x.com"]),
        ("undisclosed-recipients:;", []),
        ("Ann", []),
        ("", []),
        ("<>, ,;", []),
    ],
)
def test_addresses_are_taken_from_every_form_of_a_header(header, addresses):
    assert parse(f"To: {header}").to == addresses


def test_several_to_headers_are_one_list():
    assert parse("To: ann@x.com", "To: bob@x.com").to == ["ann@x.com", "bob@x.com"]


def test_a_mail_without_sender_or_recipients_is_a_mail():
    mail = parse("From: ", "To: ")
    assert (mail.sender, mail.to, mail.body) == ("", [], "hello")


# Bodies


def multipart(*parts, kind="mixed"):
    lines = [line for part in parts for line in ("--B", *part)]
    return [f'Content-Type: multipart/{kind}; boundary="B"'], "\n".join([*lines, "--B--"])


def test_of_a_mail_in_two_forms_the_plain_one_is_taken():
    headers, body = multipart(
        ["Content-Type: text/plain", "", "plain words"],
        ["Content-Type: text/html", "", "<b>html words</b>"],
        kind="alternative",
    )
    assert parse(*headers, body=body).body == "plain words"


def test_attachments_are_left_out():
    headers, body = multipart(
        ["Content-Type: text/plain", "", "see attached"],
        ["Content-Type: text/plain", "Content-Disposition: attachment; filename=a.txt", "", "no"],
        ["Content-Type: application/pdf", "Content-Transfer-Encoding: base64", "", "JVBERi0="],
    )
    assert parse(*headers, body=body).body == "see attached"


def test_an_html_only_mail_gives_its_text():
    html = """<html><head><style>p {color: red}</style><script>evil()</script></head>
    <body><h1>Review</h1><p>It is on <b>Monday</b> &amp; costs&nbsp;&euro;5.<br>Bob</p></body>"""
    mail = parse("Content-Type: text/html; charset=utf-8", body=html)
    assert mail.body == "Review\nIt is on Monday & costs €5.\nBob"


@pytest.mark.parametrize(
    "html",
    [
        "hello <",
        "hello <b",
        "<p>hello<!-- never closed",
        "hello</p></script></style>",
        "<!DOCTYPE html>hello",
        "hello<?xml",
        "hello &#xD800; &#99999999; &nosuch;",
        "<p>hello<![if !supportLists]>-<![endif]></p>",
        "<p>hello<![endif]--></p>",
        "<p>hello<![foo]></p>",
        "hello<![CDATA[x",
        "hello<!x",
        "hello<![",
        "hello<!ELEMENT <",
    ],
)
def test_broken_html_still_gives_its_text(html):
    assert "hello" in parse("Content-Type: text/html", body=html).body


@pytest.mark.parametrize(
    ("charset", "body", "text"),
    [
        ("utf-8", "café".encode(), "café"),
        ("iso-8859-1", b"caf\xe9", "café"),
        ("windows-1252", b"\x93hi\x94", "“hi”"),
        ("utf-8", b"caf\xe9", "café"),
        ("us-ascii", b"caf\xe9", "café"),
        ("nosuch", "café".encode(), "café"),
        ("", "café".encode(), "café"),
        ("hex", "café".encode(), "café"),
        ("undefined", b"cafe", "cafe"),
        ("idna", b"cafe", "cafe"),
        ("punycode", "caf\u00e9".encode(), "caf"),
        ("a b;;; =", b"cafe", "cafe"),
    ],
)
def test_a_wrong_charset_costs_letters_and_never_the_mail(charset, body, text):
    assert text in parse(f'Content-Type: text/plain; charset="{charset}"', body=body).body


@pytest.mark.parametrize(
    "parameters",
    ["charset*=us-ascii''a%00b", "charset*0=utf; charset*=x''y", "charset*x=y", "charset*=", ";=;"],
)
def test_a_charset_that_is_none_costs_no_mail(parameters):
    assert parse(f"Content-Type: text/plain; {parameters}", body="hello").body == "hello"


@pytest.mark.parametrize(
    ("charset", "body"), [("utf-7", b"hello +2AA-"), ("unicode_escape", rb"hello \ud800")]
)
def test_no_charset_makes_a_text_that_cannot_be_written(charset, body):
    mail = parse(f"Content-Type: text/plain; charset={charset}", body=body)
    assert mail.body.startswith("hello")
    mail.body.encode()


@pytest.mark.parametrize(
    ("encoding", "body", "text"),
    [
        ("base64", "aGVsbG8=", "hello"),
        ("quoted-printable", "hel=\nlo=21", "hello!"),
        ("x-uuencode", "hello", "hello"),
        ("nosuch", "hello", "hello"),
    ],
)
def test_a_transfer_encoding_is_undone_where_it_can_be(encoding, body, text):
    assert parse(f"Content-Transfer-Encoding: {encoding}", body=body).body == text


def test_a_nul_far_into_a_body_is_taken_out():
    assert parse(body=b"x" * 5_000 + b"\0end").body == "x" * 5_000 + "end"


def test_a_body_of_two_megabytes_is_read_whole():
    assert len(parse(body="x" * 2_000_000).body) == 2_000_000


def test_a_mail_of_endless_parts_does_not_stop_the_others(tmp_path):
    headers = [f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}' for n in range(3_000)]
    (tmp_path / "1.").write_bytes(b"From: bob@x.com\n" + "\n".join(headers).encode())
    (tmp_path / "2.").write_bytes(raw_mail())
    mails, tally = read(MaildirSource(tmp_path))
    assert mails[-1].message_id == "<1@x>"
    assert len(mails) + tally.skipped.total() == 2


# A folder of mails


def test_every_file_of_a_folder_is_read_or_counted(tmp_path):
    files = {
        "ann/inbox/1.": raw_mail("Message-ID: <1@x>"),
        "ann/inbox/2.": raw_mail("Message-ID: <2@x>", "Date: Mon, 1 Jan 0001 00:00:00 +0000"),
        "bob/sent items/1.": raw_mail("Message-ID: "),
        "bob/.DS_Store": b"\0\0\0\1Bud1",
        "bob/empty": b"",
        "bob/notes.txt": b"no mail",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    mails, tally = read(MaildirSource(tmp_path))
    assert [mail.file_name for mail in mails] == [
        "ann/inbox/1.",
        "ann/inbox/2.",
        "bob/sent items/1.",
    ]
    assert tally.skipped == {"binary_file": 1, "empty_file": 1, "no_mail_headers": 1}
    assert tally.notes == {"no_usable_date": 1, "no_message_id": 1}
    assert len(mails) + tally.skipped.total() == len(files)


def test_a_broken_mail_does_not_stop_the_others(tmp_path):
    (tmp_path / "1.").write_bytes(raw_mail("Content-Type: text/plain; charset=undefined"))
    (tmp_path / "2.").write_bytes(raw_mail("Content-Type: text/html", body="<![foo]>"))
    (tmp_path / "3.").write_bytes(raw_mail("Message-ID: <3@x>"))
    mails, tally = read(MaildirSource(tmp_path))
    assert "<3@x>" in [mail.message_id for mail in mails]
    assert len(mails) + tally.skipped.total() == 3


def test_a_file_that_goes_away_does_not_stop_the_others(tmp_path):
    for n in range(3):
        (tmp_path / str(n)).write_bytes(raw_mail(f"Message-ID: <{n}@x>"))
    tally = Tally()
    mails = MaildirSource(tmp_path).emails(tally)
    first = next(mails)
    (tmp_path / "1").unlink()
    assert [first.message_id, *(mail.message_id for mail in mails)] == ["<0@x>", "<2@x>"]
    assert tally.skipped.total() == 1


def test_a_file_name_that_is_no_utf8_can_be_written_down(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.eml")).write_bytes(raw_mail())
    (mail,), _ = read(MaildirSource(tmp_path))
    mail.file_name.encode()


def test_an_empty_folder_holds_no_mail(tmp_path):
    mails, tally = read(MaildirSource(tmp_path))
    assert (mails, tally) == ([], Tally())


def test_dangling_links_and_pipes_are_no_mails(tmp_path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    os.mkfifo(tmp_path / "pipe")
    assert read(MaildirSource(tmp_path))[0] == []


def test_a_folder_that_is_none_is_an_error_that_names_it(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for path in (file, tmp_path / "nowhere"):
        with pytest.raises(SourceError, match=f"{path} is not a folder: point data.path"):
            MaildirSource(path)


# Mbox archives


def mbox(*mails):
    return b"".join(b"From bob@x.com Mon May 14 09:00:00 2001\n" + m + b"\n\n" for m in mails)


def test_every_mail_of_an_archive_is_read_or_counted(tmp_path):
    path = tmp_path / "inbox.mbox"
    path.write_bytes(
        mbox(raw_mail(), raw_mail("Message-ID: ", body=">From here"), b"no mail", b"\0", b"")
    )
    mails, tally = read(MboxSource(path))
    assert [mail.file_name for mail in mails] == ["inbox.mbox#0", "inbox.mbox#1"]
    assert tally.skipped == {"no_mail_headers": 1, "binary_file": 1, "empty_file": 1}
    assert tally.notes == {"no_message_id": 1}


def test_every_archive_of_a_folder_is_read(tmp_path):
    for name in ("b.mbox", "a.mbox", "deep/c.mbox", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(mbox(raw_mail(f"Message-ID: <{name[-6:]}>")))
    mails, _ = read(MboxSource(tmp_path))
    assert [mail.message_id for mail in mails] == ["<a.mbox>", "<b.mbox>", "<c.mbox>"]


def test_a_folder_named_like_an_archive_does_not_stop_the_others(tmp_path):
    (tmp_path / "Mail.mbox").mkdir()
    (tmp_path / "inbox.mbox").write_bytes(mbox(raw_mail()))
    mails, _ = read(MboxSource(tmp_path))
    assert [mail.message_id for mail in mails] == ["<1@x>"]


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(range(256)) * 20])
def test_an_archive_without_mails_holds_none(tmp_path, content):
    path = tmp_path / "inbox.mbox"
    path.write_bytes(content)
    assert read(MboxSource(path))[0] == []
    assert path.read_bytes() == content


def test_a_missing_archive_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match=r"there is no .*nowhere\.mbox: point data\.path"):
        MboxSource(tmp_path / "nowhere.mbox")


def test_a_folder_without_archives_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match=rf"no \*\.mbox file in {tmp_path}"):
        MboxSource(tmp_path)
