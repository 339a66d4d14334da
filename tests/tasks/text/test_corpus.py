import hashlib
import http.client
import io
import os
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


def test_an_archive_with_one_text(tmp_path: Path):
    archive(tmp_path / "own.ZIP", "readme.md", "in/a/folder.TXT")
    assert corpus.read(f"{tmp_path}/own.ZIP", tmp_path) == TINY.decode() * 9


def test_what_macos_adds_to_an_archive_does_not_count(tmp_path: Path):
    archive(tmp_path / "own.zip", "own.txt", "__MACOSX/._own.txt")
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
        ("a.txt", b"ab\xff", r"a.txt is not UTF-8 text \(byte 2\); save it as UTF-8"),
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


def test_a_damaged_archive_is_named(tmp_path: Path):
    archive(tmp_path / "a.zip", "a.txt")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[35:45] = b"\xff" * 10  # in the compressed text, after a header of 30 bytes and the name
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="cannot read .*a.zip: "):
        corpus.read(f"{tmp_path}/a.zip", tmp_path)


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
