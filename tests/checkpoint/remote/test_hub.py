"""Files of a hub through its own library, against a server that answers as the hub does, and the library's cache."""

import re
from pathlib import Path

import pytest
from huggingface_hub import constants
from loopback import serving

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.remote.transfers import with_transfers
from vqcheck.errors import CheckpointError, UsageError

FIXTURES = Path(__file__).parents[3] / "fixtures" / "checkpoints"
OLD, NEW = "a" * 40, "b" * 40
ETAG = "e" * 64
TOKEN = "hf_secret"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with one repository of two commits, whose files lie on another server as large files do."""
    content = FIXTURES / "base_v2.pth"
    size = content.stat().st_size
    revisions = {"main": NEW, "refs/pr/1": OLD, "v1": OLD, OLD: OLD, NEW: NEW}
    pattern = re.compile(r"/(datasets/)?me/voices/resolve/(.+?)/(model/s2G\.pth|gone\.pth)")

    def answer(handler):
        match = pattern.fullmatch(handler.path.replace("%2F", "/"))
        if not match:
            handler.say(404, {"X-Error-Code": "RepoNotFound"})
        elif match[2] not in revisions:
            handler.say(404, {"X-Error-Code": "RevisionNotFound"})
        elif match[3] == "gone.pth":
            handler.say(404, {"X-Error-Code": "EntryNotFound"})
        else:
            handler.say(
                302,
                {
                    "Location": f"{store.url}/{revisions[match[2]]}?X-Amz-Signature=signed",
                    "X-Repo-Commit": revisions[match[2]],
                    "X-Linked-Etag": f'"{ETAG}"',
                    "X-Linked-Size": str(size),
                },
            )
        return True

    with (
        serving(files={f"/{OLD}": FIXTURES / "G_437.pth", f"/{NEW}": content}) as store,
        serving(answer=answer) as served,
    ):
        served.store, served.revisions, served.size = store, revisions, size
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        yield served


def cached(tmp_path, commit, content, ref=""):
    """Put a file into the library's cache, as a download of it leaves it."""
    repository = tmp_path / "hub" / "models--me--voices"
    blob = repository / "blobs" / ETAG
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    place = repository / "snapshots" / commit / "model" / "s2G.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    if ref:
        (repository / "refs").mkdir()
        (repository / "refs" / ref).write_text(commit)
    return place


def resolved(hub):
    """Return what the hub was asked about files; its library asks other things of it when it starts."""
    return [each for each in hub.asked if "/resolve/" in each.path]


def names(address):
    with open_checkpoint(address) as file:
        return file.path, set(file.tensors)


TRUTH = set(open_checkpoint(FIXTURES / "base_v2.pth").tensors)


@pytest.mark.parametrize(
    ("address", "shown", "asked"),
    [
        ("hf://me/voices/model/s2G.pth", "hf://me/voices/model/s2G.pth", "main"),
        ("hf://me/voices/model/s2G.pth@main", "hf://me/voices@main/model/s2G.pth", "main"),
        ("hf://me/voices@main/model/s2G.pth", "hf://me/voices@main/model/s2G.pth", "main"),
        (f"hf://me/voices/model/s2G.pth@{NEW}", f"hf://me/voices@{NEW}/model/s2G.pth", NEW),
    ],
)
def test_a_file_of_a_hub_is_read_at_its_commit(hub, address, shown, asked):
    assert names(address) == (shown, TRUTH)
    assert [each.method for each in resolved(hub)] == ["HEAD", "GET"]
    assert f"/resolve/{asked}/" in resolved(hub)[0].path
    assert f"/resolve/{NEW}/" in resolved(hub)[1].path


@pytest.mark.parametrize("revision", ["v1", "refs/pr/1"])
def test_a_revision_is_any_that_the_hub_knows(hub, revision):
    hub.size = (FIXTURES / "G_437.pth").stat().st_size
    with pytest.raises(CheckpointError, match="bytes, and the hub says"):
        names(f"hf://me/voices/model/s2G.pth@{revision}")
    assert f"/resolve/{OLD}/" in resolved(hub)[1].path


def test_a_data_set_of_a_hub_is_read(hub):
    assert names("hf://datasets/me/voices/model/s2G.pth")[1] == TRUTH
    assert resolved(hub)[0].path.startswith("/datasets/me/voices/")


def test_a_branch_that_moves_meanwhile_changes_nothing(hub):
    """The commit is asked for once; what comes then is of that commit."""

    def moved(handler):
        hub.revisions["main"] = OLD
        return previous(handler)

    previous, hub.answer = hub.answer, moved
    # The answer to the first request has moved the branch already; the bytes are those of the commit that it named.
    hub.size = None
    with pytest.raises(CheckpointError, match="bytes, and the hub says"):
        names("hf://me/voices/model/s2G.pth")
    assert f"/resolve/{OLD}/" in resolved(hub)[1].path


def test_the_token_goes_to_the_hub_alone(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    names("hf://me/voices/model/s2G.pth")
    assert {each.headers.get("authorization", each.headers.get("Authorization")) for each in resolved(hub)} == {
        f"Bearer {TOKEN}"
    }
    assert hub.store.asked
    assert not any(name.lower() == "authorization" for each in hub.store.asked for name in each.headers)


def test_the_token_beats_a_login_of_netrc(hub, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    names("hf://me/voices/model/s2G.pth")
    assert resolved(hub)[-1].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://me/nothing/a.pth", "no such repository, or it is private: HF_TOKEN"),
        ("hf://me/voices/model/s2G.pth@nothing", "no such revision"),
        ("hf://me/voices/gone.pth", "no such file"),
    ],
)
def test_what_the_hub_lacks_is_named(hub, address, words):
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(address)
    assert len(resolved(hub)) == 1


def test_a_gated_repository_is_called_one(hub):
    hub.first = [(403, {"X-Error-Code": "GatedRepo"})]
    with pytest.raises(CheckpointError, match="is gated"):
        open_checkpoint("hf://me/voices/model/s2G.pth")


def test_a_hub_that_has_too_much_to_do_is_waited_for(hub, monkeypatch):
    waits = []
    monkeypatch.setattr("vqcheck.checkpoint.remote.web_requests.sleep", waits.append)
    hub.first = [(429, {"Retry-After": "9"}), (503, {})]
    assert names("hf://me/voices/model/s2G.pth")[1] == TRUTH
    assert waits == [9, 1.0]


def test_a_hub_that_names_no_commit_is_refused(hub):
    hub.first = [(200, {"ETag": '"x"'})]
    with pytest.raises(CheckpointError, match="which commit"):
        open_checkpoint("hf://me/voices/model/s2G.pth")


def test_a_hub_that_sends_another_commit_is_refused(hub):
    hub.revisions[OLD] = NEW
    with pytest.raises(CheckpointError, match="another commit"):
        open_checkpoint(f"hf://me/voices/model/s2G.pth@{OLD}")


def test_a_token_is_sent_to_no_hub_that_is_not_encrypted(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.example.org")
    with pytest.raises(CheckpointError, match="not encrypted"):
        open_checkpoint("hf://me/voices/model/s2G.pth")
    assert not hub.asked


@pytest.mark.parametrize(
    "address",
    [
        "hf://me/voices",
        "hf://me",
        "hf://",
        "hf://me/voices/",
        "hf://me/voices/../other/a.pth",
        "hf://me/voices/a.pth@",
        "hf://me/voices/a.pth@../x",
        "hf://me/voices@/a.pth",
        "hf://../voices/a.pth",
        "hf://me/voices/a\\b.pth",
        "hf://me@x/voices/a.pth",
    ],
)
def test_an_address_that_names_no_file_is_refused(hub, address):
    with pytest.raises((UsageError, CheckpointError), match=r"hf://OWNER/REPO/FILE"):
        open_checkpoint(address)
    assert not resolved(hub)


def test_what_is_in_the_cache_is_read_there(hub, tmp_path):
    cached(tmp_path, NEW, (FIXTURES / "base_v2.pth").read_bytes())
    assert names("hf://me/voices/model/s2G.pth") == ("hf://me/voices/model/s2G.pth", TRUTH)
    assert [each.method for each in resolved(hub)] == ["HEAD"]
    assert not hub.store.asked


def test_a_commit_in_the_cache_takes_no_network(hub, tmp_path):
    cached(tmp_path, NEW, (FIXTURES / "base_v2.pth").read_bytes())
    assert names(f"hf://me/voices/model/s2G.pth@{NEW}")[1] == TRUTH
    assert not resolved(hub)


def test_the_same_bytes_of_another_commit_are_read_in_the_cache(hub, tmp_path):
    cached(tmp_path, "c" * 40, (FIXTURES / "base_v2.pth").read_bytes())
    assert names("hf://me/voices/model/s2G.pth")[1] == TRUTH
    assert not hub.store.asked


def test_an_older_commit_in_the_cache_is_not_taken_for_the_newest(hub, tmp_path):
    place = cached(tmp_path, OLD, (FIXTURES / "G_437.pth").read_bytes(), ref="main")
    assert place.is_file()
    assert names("hf://me/voices/model/s2G.pth")[1] == TRUTH
    assert hub.store.asked


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_out_of_reach_leaves_the_cache_and_says_so(hub, tmp_path, monkeypatch, offline):
    cached(tmp_path, OLD, (FIXTURES / "base_v2.pth").read_bytes(), ref="main")
    if offline:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        hub.first = [(503, {})] * 9
    said = []
    with with_transfers(note=said.append):
        assert names("hf://me/voices/model/s2G.pth")[1] == TRUTH
    assert len(said) == 1
    assert OLD in said[0]
    assert ("HF_HUB_OFFLINE" if offline else "503") in said[0]


def test_a_hub_out_of_reach_without_a_copy_is_an_error(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set, and the local cache of the hub lacks this file"):
        open_checkpoint("hf://me/voices/model/s2G.pth")
    assert not resolved(hub)


def test_a_download_goes_into_the_cache(hub):
    with with_transfers(download=True):
        assert names("hf://me/voices/model/s2G.pth")[1] == TRUTH
    hub.store.asked.clear()
    assert names("hf://me/voices/model/s2G.pth")[1] == TRUTH
    assert not hub.store.asked


def test_an_error_has_neither_token_nor_signature(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.store.first = [(500, {})] * 9
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("hf://me/voices/model/s2G.pth")
    assert "500" in str(caught.value)
    assert not re.search("secret|signed", repr(caught.value) + str(caught.value))
