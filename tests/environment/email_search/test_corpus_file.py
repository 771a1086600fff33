from environment.email_search.corpus_file import read_mails, write_mails

from .builders import mail


def test_mails_come_back_as_they_were_written(tmp_path):
    mails = [
        mail(1, cc=["eve@x.com"], bcc=["zoe@x.com"], file_name="inbox/1."),
        mail(2, sender="", to=[], date="", subject="", body="é😀\n\n\t\x01"),
        mail(3, body="x" * 2_000_000),
    ]
    assert write_mails(tmp_path / "mails.parquet", iter(mails)) == 3
    assert list(read_mails(tmp_path / "mails.parquet")) == mails


def test_more_mails_than_one_batch_keep_their_order(tmp_path):
    assert write_mails(tmp_path / "mails.parquet", (mail(n) for n in range(12_345))) == 12_345
    ids = [m.message_id for m in read_mails(tmp_path / "mails.parquet")]
    assert ids == [f"<{n}@x>" for n in range(12_345)]


def test_no_mails_make_a_file_without_mails(tmp_path):
    assert write_mails(tmp_path / "mails.parquet", []) == 0
    assert list(read_mails(tmp_path / "mails.parquet")) == []
