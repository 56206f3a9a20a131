"""What is an address, what it is called in reports, and what none of them may tell."""

import pickle

import pytest

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.remote.address import Address, scheme_of, web_place
from vqcheck.errors import CheckpointError, UsageError
from vqcheck.sanitize import without_credentials


@pytest.mark.parametrize(
    "path", ["C:\\x.pth", "C://x.pth", "c:/x", "x.pth", "./https://x", "/a//b", "a:b", "://x", "1a://x"]
)
def test_a_path_is_no_address(path):
    assert scheme_of(path) == ""


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ("https://example.org/a/G_400.pth", "https://example.org/a/G_400.pth"),
        ("https://me:secret@example.org/a.pth", "https://example.org/a.pth"),
        ("https://secret@example.org:8443/a.pth", "https://example.org:8443/a.pth"),
        ("https://me:secret@@example.org/a.pth", "https://example.org/a.pth"),
        ("https://me:a/secret@example.org/a.pth", "https://example.org/a.pth"),
        ("https://example.org/a.pth?X-Amz-Signature=secret", "https://example.org/a.pth"),
        ("https://example.org/a.pth#secret", "https://example.org/a.pth"),
        ("https://me:secret@[::1]:80/a.pth?secret", "https://[::1]:80/a.pth"),
        ("HTTPS://me:secret@Example.org/A.pth", "https://example.org/A.pth"),
        ("s3://secret:secret@bucket/key.pth", "s3://bucket/key.pth"),
        ("https://me:secret@example.org:port/a.pth?secret", "https://example.org:port/a.pth"),
        ("https://me:secret@[broken/a.pth?secret", "https://[broken/a.pth"),
        ("hf://me/voices/a.pth", "hf://me/voices/a.pth"),
        ("hf://me/voices/a.pth@refs/pr/1", "hf://me/voices@refs%2Fpr%2F1/a.pth"),
        ("hf://secret@me/voices", "hf://me/voices"),
        ("hf://me/voices/a.pth?download=secret", "hf://me/voices/a.pth"),
    ],
)
def test_the_name_of_an_address_has_no_login_and_no_query(named, shown):
    address = Address(named)
    assert address == shown
    assert f"{address}" == str(address) == shown
    assert address.target == named
    assert Address(address).target == named
    assert pickle.loads(pickle.dumps(address)).target == named


def test_what_is_in_the_name_of_a_hub_file_is_what_was_named():
    address = Address("hf://me/voices@refs%2Fpr%2F1/a@b.pth")
    assert Address(str(address)) == address == "hf://me/voices@refs%2Fpr%2F1/a@b.pth"


@pytest.mark.parametrize(
    "named", ["https:///a.pth", "https://:80/a.pth", "https://h:port/a", "https://h:99999/a", "https://[x/a"]
)
def test_an_address_without_a_host_is_refused(named):
    with pytest.raises((UsageError, CheckpointError), match="no address of a file"):
        open_checkpoint(named)


def test_a_file_beside_has_the_login_and_no_signature():
    place = web_place(Address("https://me:p%40ss@h:8/a/index.json?X-Amz-Signature=1"))
    assert place.login == ("me", "p@ss")
    assert place.beside("b #1?.bin") == "https://me:p%40ss@h:8/a/b%20%231%3F.bin"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("no such file: https://me:secret@h/a?secret=1: x", "no such file: https://h/a x"),
        ("got 'https://me:sec@ret@h/a.pth?x=secret'", "got 'https://h/a.pth'"),
        ("vqcheck diff 'https://secret@h/a' b@c ?x", "vqcheck diff 'https://h/a' b@c ?x"),
        ("https:/me:secret@h/a?secret: x", "https:/h/a x"),
        ("https//me:secret@h/a", "https//h/a"),
        (r"https:\\me:secret@h\a", r"https:\\h\a"),
        ("a::https://me:secret@h/a", "a::https://h/a"),
        ("a@b and no address?", "a@b and no address?"),
        (r"C:\me@work\a.pth: lies in C:/me@work/b#1", r"C:\me@work\a.pth: lies in C:/me@work/b#1"),
        ("a//me:b@c", "a//me:b@c"),
        ("hf://me/voices@main/a.pth", "hf://me/voices@main/a.pth"),
    ],
)
def test_a_text_loses_what_addresses_in_it_tell(text, clean):
    assert without_credentials(text) == clean


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("file:///etc/passwd", "of this machine; name its path"),
        ("nosuch://bucket/a.pth", "not opened by fsspec"),
        ("simplecache::memory://a.pth", "is an address"),
        ("zip://a.pth::memory://b.zip", "inside an address"),
    ],
)
def test_what_is_not_read_is_said(named, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(named)
