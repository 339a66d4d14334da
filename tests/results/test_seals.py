import hashlib
import io
import json
import zipfile

import pytest

from memexp.results import seals

CONTENT = {"format": 2, "分": [1, 0.1, None], "b": {"c": "x"}}


def test_a_seal_is_size_and_sha_256():
    # the hash of "abc" is the standard's first example (FIPS 180-2, appendix B.1)
    assert seals.seal_of(b"abc") == [3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
    assert seals.broken(b"abc", seals.seal_of(b"abc")) == ""
    assert seals.broken(b"abd", seals.seal_of(b"abc")) == "it is not what was written"
    assert seals.broken(b"ab" * 1000, seals.seal_of(b"abc")) == "it has 2,000 bytes, and had 3"


@pytest.mark.parametrize("value", [None, [], [3], [3, "x"], [-1, "0" * 64], [True, "0" * 64], ["3", "0" * 64], "3"])
def test_what_is_no_seal(value: object):
    assert not seals.is_seal(value)
    assert seals.is_seal([3, "0" * 64])


def test_json_ends_with_the_hash_of_what_stands_before_it():
    stored = seals.to_json(CONTENT)
    body, _, rest = stored.partition(b',\n "seal": "')
    assert rest == hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'
    assert json.loads(stored) == CONTENT | {"seal": hashlib.sha256(body).hexdigest()}
    assert seals.from_json(stored) == (CONTENT, "sealed")
    assert seals.to_json(json.loads(stored)) == stored  # a seal that was there is made anew


def test_every_bit_of_sealed_json_counts():
    """A flipped bit is seen as such, or it is no JSON any more, or no seal that anyone would take for one."""
    stored = seals.to_json(CONTENT)
    for place in range(8 * len(stored)):
        damaged = bytearray(stored)
        damaged[place // 8] ^= 1 << place % 8
        try:
            content, state = seals.from_json(bytes(damaged))
        except ValueError:
            continue
        assert state == "broken" or (state == "unsealed" and content.keys() - CONTENT.keys())


def test_json_without_a_seal_is_said_to_have_none():
    assert seals.from_json(json.dumps(CONTENT).encode()) == (CONTENT, "unsealed")
    with pytest.raises(ValueError, match="not an object"):
        seals.from_json(b"[1]")
    with pytest.raises(RecursionError):
        seals.from_json(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_a_zip_file_is_compared_with_its_checksums():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as parts:
        parts.writestr("archive/data/0", bytes(range(100)))
    stored = file.getvalue()
    seals.check_zip(stored)
    place = stored.index(bytes(range(100))) + 50
    with pytest.raises(seals.DamagedError, match="^its part 0$"):
        seals.check_zip(stored[:place] + b"x" + stored[place + 1 :])
    with pytest.raises(zipfile.BadZipFile):
        seals.check_zip(stored[:-30])
