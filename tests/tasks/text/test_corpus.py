import hashlib
import http.client
import io
import os
import re
import tracemalloc
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from memexp.errors import DataError
from memexp.tasks.text import corpus

TINY = b"The Time Traveller,\r\nfor so\n"
ADDRESS = "http://example.invalid/tiny.txt"


@pytest.mark.parametrize("name", corpus.EMBEDDED)
def test_the_texts_that_come_with_memexp(name: str, tmp_path: Path):
    assert len(corpus.clean(corpus.read(name, tmp_path), None, False, False)) >= 10_000


def test_the_chinese_text_parts_and_does_not_part(tmp_path: Path):
    text = corpus.read("fenkai", tmp_path)
    assert text.count("分开") > text.count("不分开") > 10


# --- cleaning ---


@pytest.mark.parametrize(
    ("text", "options", "cleaned"),
    [
        ("One\r\n two\n\n\tthree \u3000!\n", (None, False, False), "One two three !"),
        ("One Two", (None, True, False), "one two"),
        ("“Don't”, he said:\n2 Cafés_now!", (None, False, True), "Don t he said Cafés now"),
        ("我说：“不分开”，\n真的。", (None, False, False), "我说：“不分开”， 真的。"),
        ("我说：“不分开”，\n真的。", (None, False, True), "我说 不分开 真的"),
        ("  Ab, Cd", (4, False, False), "Ab, "),  # of the cleaned text
        ("  Ab, Cd", (4, True, True), "ab c"),
        ("ab", (4, False, False), "ab"),
        ("\n One\r\n\r\n two\t three \n\u3000\n!\n", (None, False, False, True), "One\ntwo three\n!"),
        ("“Don't”,\n2\n Cafés_now!\n", (None, False, True, True), "Don t\nCafés now"),
        ("我说：\n“不分开”，\n\n真的。", (8, False, False, True), "我说：\n“不分开"),
        ("A\nb", (None, True, False, False), "a b"),
    ],
)
def test_cleaning(text: str, options: tuple[int | None, bool, bool, bool], cleaned: str):
    assert corpus.clean(text, *options) == cleaned


@pytest.mark.parametrize("keep_newlines", [False, True])
def test_a_text_without_letters_of_which_nothing_is_left(keep_newlines: bool):
    with pytest.raises(DataError, match=r"^nothing is left of the text: task.strip_punctuation=true keeps only letter"):
        corpus.clean("1, 2.\n3\n", None, False, True, keep_newlines)


@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
def test_a_long_text_is_cleaned_in_pieces(monkeypatch: pytest.MonkeyPatch, at_once: int):
    text = " A b,  - \r\n\t c\u3000!! d\n\n1e  f ... g  "
    options = [(None, False, strip, keep) for strip in (False, True) for keep in (False, True)]
    whole = [corpus.clean(text, *each) for each in options]
    monkeypatch.setattr(corpus, "CLEANED_AT_ONCE", at_once)
    assert [corpus.clean(text, *each) for each in options] == whole


def test_lines_may_end_with_a_carriage_return_alone():
    assert corpus.clean("One\r\rtwo\rthree", None, False, False, True) == "One\ntwo\nthree"


def test_the_vocabulary_is_sorted():
    assert corpus.vocabulary("开 banana分") == [" ", "a", "b", "n", "分", "开"]


# --- files ---


def archive(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, TINY * 9)


@pytest.mark.parametrize(
    ("content", "text"), [(b"a\r\nb", "a\r\nb"), (b"\xef\xbb\xbfa", "a"), ("分开".encode(), "分开")]
)
def test_a_text_file_with_or_without_a_byte_order_mark(tmp_path: Path, content: bytes, text: str):
    (tmp_path / "own.txt").write_bytes(content)
    assert corpus.read(f"{tmp_path}/own.txt", tmp_path) == text


CHINESE = "\u6211\u8bf4\uff1a\u4e0d\u5206\u5f00\r\n"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("gb18030", CHINESE), ("GBK", CHINESE), ("big5", "\u4e0d\u5206\u958b"), ("utf-16-le", "ab"), ("cp1252", "caf\xe9"),
     ("utf-8", CHINESE), ("utf_8_sig", CHINESE), ("ascii", "ab"), ("shift_jis", "ab")],
)  # fmt: skip
def test_a_text_file_in_an_encoding_that_is_given(tmp_path: Path, encoding: str, text: str):
    (tmp_path / "own.txt").write_bytes(text.encode(encoding))
    assert corpus.known(encoding)
    assert corpus.read(f"{tmp_path}/own.txt", tmp_path, encoding) == text


@pytest.mark.parametrize("given", ["utf-8", "gb18030"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe\0\0", "utf-32-le"),
     (b"\0\0\xfe\xff", "utf-32-be"),
     (b"\xef\xbb\xbf", "utf-8")],
)  # fmt: skip
def test_a_byte_order_mark_says_the_encoding_itself(tmp_path: Path, mark: bytes, encoding: str, given: str):
    (tmp_path / "own.txt").write_bytes(mark + CHINESE.encode(encoding))
    assert corpus.read(f"{tmp_path}/own.txt", tmp_path, given) == CHINESE


@pytest.mark.parametrize("encoding", ["", "gb18031", "hex", "rot13", "a\0b", "\u5206"])
def test_what_is_no_encoding(encoding: str):
    assert not corpus.known(encoding)


def test_texts_that_come_with_memexp_are_read_as_they_are(tmp_path: Path):
    assert corpus.read("fenkai", tmp_path, "gb18030") == corpus.read("fenkai", tmp_path)


@pytest.mark.parametrize(
    ("content", "encoding", "complaint"),
    [
        (CHINESE.encode("gbk"), "utf-8", r"own is not UTF-8 text \(byte 0\); save it as UTF-8, or give its enc"),
        (CHINESE.encode(), "ascii", r"own is not ascii text \(byte 0\)"),
        (CHINESE.encode(), "gb18030", "own is UTF-8 text, not gb18030; leave task.encoding out"),
        (CHINESE.encode(), "latin-1", "own is UTF-8 text, not latin-1"),
        (b"\xff\xfea\0b", "utf-8", r"own is not UTF-16 text, as its first bytes say \(byte 4\); save it"),
        ("ab".encode("utf-16-le"), "utf-8", r"own is no text in utf-8: it has the character U\+0000 \(place 1\)"),
        (b"ab\0", "utf-8", r"U\+0000 \(place 2\)"),
        (rb"a\ud800", "unicode_escape", r"U\+D800 \(place 1\)"),
        (b"\xed\xa0\x80", "utf-8", "own is not UTF-8 text"),
        (b"\xef\xbb\xbf", "utf-8", "own is empty"),
        (b"\xff\xfe", "utf-8", "own is empty"),
        (b"ab", "undefined", "own is not undefined text; save it"),
        (b"ab", "gb18031", "own is not gb18031 text; save it"),
    ],
)  # fmt: skip
def test_a_text_in_another_encoding_is_named(content: bytes, encoding: str, complaint: str):
    with pytest.raises(DataError, match=f"^{complaint}" if complaint.startswith("own") else complaint) as error:
        corpus.decode(content, "own", encoding)
    assert "\n" not in str(error.value)


def test_an_archive_with_one_text(tmp_path: Path):
    archive(tmp_path / "own.ZIP", "readme.md", "in/a/folder.TXT")
    assert corpus.read(f"{tmp_path}/own.ZIP", tmp_path) == TINY.decode() * 9


def test_what_macos_adds_to_an_archive_does_not_count(tmp_path: Path):
    archive(tmp_path / "own.zip", "own.txt", "__MACOSX/._own.txt", "._own.txt", "in/._a.TXT", "in/__MACOSX/b.txt")
    assert corpus.read(f"{tmp_path}/own.zip", tmp_path) == TINY.decode() * 9


@pytest.mark.parametrize("names", [["a.md"], ["a.txt", "b.txt"], []])
def test_an_archive_must_hold_one_text(tmp_path: Path, names: list[str]):
    archive(tmp_path / "own.zip", *names)
    texts = sum(name.endswith(".txt") for name in names)
    with pytest.raises(DataError, match=rf"own.zip holds {texts} .txt files; it must hold one$"):
        corpus.read(f"{tmp_path}/own.zip", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (
            "none.txt",
            None,
            "task.corpus=.*none.txt: there is no such file; give a .txt or .zip file, or one of harbour, ",
        ),
        ("none.zip", None, "task.corpus=.*none.zip: there is no such file"),
        ("a.txt", b"", "a.txt is empty"),
        ("a.txt", b" \r\n", "a.txt is empty"),
        ("a.txt", b"ab\xff", r"a.txt is not UTF-8 text \(byte 2\); save it as UTF-8, or give its encoding as task.enc"),
        ("a\0.txt", None, "cannot read .*: embedded null byte; give"),
        ("a" * 300, None, "cannot read .*: File name too long; give"),
        ("a.txt", "分开".encode("gbk"), "a.txt is not UTF-8 text"),
        ("a.zip", b"not an archive", "cannot read .*a.zip: File is not a zip file; give"),
        ("", None, "task.corpus= names no text; give a .txt or .zip file, or one of harbour, "),
        (".", None, "cannot read .*: Is a directory; give a .txt or .zip file, or one of"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, complaint: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=complaint) as error:
        corpus.read(name and f"{tmp_path}/{name}", tmp_path)
    assert "\n" not in str(error.value)


METHODS = {"stored": zipfile.ZIP_STORED, "deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2,
           "lzma": zipfile.ZIP_LZMA}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_archive_is_named_or_read_as_it_was(tmp_path: Path, method: str):
    """Cut off at every place, and with each byte changed, in some bits or all."""
    path, whole = tmp_path / "a.zip", TINY.decode() * 9
    with zipfile.ZipFile(path, "w", METHODS[method]) as file:
        file.writestr("a.txt", whole)
    content, complaints = path.read_bytes(), []
    damaged = [content[:end] for end in range(len(content))]
    damaged += [
        content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]
        for place in range(len(content))
        for bits in (1, 128, 255)
    ]
    for each in damaged:
        path.write_bytes(each)
        try:
            assert corpus.read(str(path), tmp_path) == whole
        except DataError as error:
            complaints.append(str(error))
    assert len(complaints) > len(damaged) / 2
    expected = rf"cannot read {path}: [^\n]+; give a|{path} (holds 0 .txt|holds more than 256 MB|is encrypted)[^\n]+"
    assert all(re.match(expected, complaint) for complaint in complaints)


def test_an_archive_that_is_encrypted_is_named(tmp_path: Path):
    archive(tmp_path / "a.zip", "a.txt")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a.zip is encrypted; unpack it, and give the .txt file"):
        corpus.read(f"{tmp_path}/a.zip", tmp_path)


@pytest.mark.parametrize("said", [None, 100])
def test_an_archive_that_would_explode_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int | None
):
    """Neither one that says how large it is nor one that says less."""
    monkeypatch.setattr(corpus, "LARGEST", 8)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", b"ab" * (16 << 20))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    if said is not None:
        place = content.rindex(b"PK\1\2") + 24
        content[place : place + 4] = said.to_bytes(4, "little")
        (tmp_path / "a.zip").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match="a.zip holds more than 8 MB of text; unpack it" if said is None else "Bad CRC"):
        corpus.read(f"{tmp_path}/a.zip", tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


# --- published texts ---

Answer = Callable[..., io.BytesIO]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Publish a text of a few words, and let the network answer what the test says."""
    published = corpus.Published(ADDRESS, "tiny.txt", hashlib.sha1(TINY).hexdigest())
    monkeypatch.setitem(corpus.PUBLISHED, "tiny", published)
    return lambda answer: monkeypatch.setattr(urllib.request, "urlopen", answer)


def no_network(*_: object, **__: object) -> io.BytesIO:
    raise urllib.error.URLError("Name or service not known")


def test_the_time_machine_is_that_of_the_tutorials():
    text = corpus.PUBLISHED["time_machine"]
    assert text.address.endswith("timemachine.txt")
    assert text.sha1 == "090b5e7e70c295757f55df93cb0a180b9691891a"  # d2l.DATA_HUB['time_machine']


def test_a_text_that_is_there_is_not_fetched(tmp_path: Path, answers: Callable[[Answer], None]):
    answers(no_network)
    (tmp_path / "tiny.txt").write_bytes(TINY)
    assert corpus.read("tiny", tmp_path) == TINY.decode()


def test_a_download_is_kept(tmp_path: Path, answers: Callable[[Answer], None]):
    asked = []
    answers(lambda address, timeout: asked.append((address, timeout)) or io.BytesIO(TINY))
    for _ in range(2):
        assert corpus.read("tiny", tmp_path / "new") == TINY.decode()
    assert asked == [(ADDRESS, corpus.TIMEOUT)]
    assert os.listdir(tmp_path / "new") == ["tiny.txt"]


def test_another_text_is_refused_and_not_kept(tmp_path: Path, answers: Callable[[Answer], None]):
    answers(lambda address, timeout: io.BytesIO(b"<html>"))
    for source in (ADDRESS, f"{tmp_path}/tiny.txt"):
        with pytest.raises(
            DataError, match=f"{source} has sha1 .*, which is not the published one; put the file there"
        ):
            corpus.read("tiny", tmp_path)
        assert os.listdir(tmp_path) == ["tiny.txt"] * (source != ADDRESS)
        (tmp_path / "tiny.txt").write_bytes(b"<html>")


def cut_off(*_: object, **__: object) -> io.BytesIO:
    raise http.client.IncompleteRead(b"The T", 23)


@pytest.mark.parametrize(
    ("answer", "reason"), [(no_network, "Name or service not known"), (cut_off, "IncompleteRead.5 bytes read, 23 more")]
)
def test_without_a_network_it_says_where_the_file_goes(
    tmp_path: Path, answers: Callable[[Answer], None], answer: Answer, reason: str
):
    answers(answer)
    where = rf"put the file there by hand: {tmp_path}/tiny.txt, sha1 {hashlib.sha1(TINY).hexdigest()}$"
    with pytest.raises(DataError, match=rf"^cannot fetch {ADDRESS} \({reason}.*\); {where}") as error:
        corpus.read("tiny", tmp_path)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_half_a_download_is_not_kept(
    tmp_path: Path, answers: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    answers(lambda address, timeout: io.BytesIO(TINY))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="cannot keep .*tiny.txt: No space left on device; set datasets_dir to"):
        corpus.read("tiny", tmp_path)
    assert os.listdir(tmp_path) == []


def test_what_is_there_but_cannot_be_read_is_named(tmp_path: Path, answers: Callable[[Answer], None]):
    (tmp_path / "tiny.txt").mkdir()
    with pytest.raises(DataError, match="cannot read .*tiny.txt: Is a directory"):
        corpus.read("tiny", tmp_path)
