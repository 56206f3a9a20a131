"""Parts of files from real servers: those that keep the rules, and those that do not."""

import gzip
import random
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from loopback import serving

from vqcheck.checkpoint.open import open_checkpoint
from vqcheck.checkpoint.remote import web
from vqcheck.checkpoint.remote.address import Address, web_place
from vqcheck.checkpoint.remote.open import open_remote
from vqcheck.checkpoint.remote.transfers import Limits, with_transfers
from vqcheck.checkpoint.remote.web_requests import WebRequests
from vqcheck.errors import CheckpointError

LONG = random.Random(1).randbytes(3_000_000)
END = 2_500_000


def second_part(file):
    return file.read(END, 1000, "")


@pytest.mark.parametrize("path", ["/long.bin", "/short.bin"])
def test_reads_give_the_bytes_of_the_file(opened, server, path):
    truth = server.files[path]
    file = opened(path)
    assert file.size == len(truth)
    for start, size in ((0, 1), (len(truth) - 7, 7), (len(truth) // 2, 300), (10, len(truth) - 20), (0, len(truth))):
        assert file.read(start, size, "") == truth[start : start + size]


def test_random_reads_give_the_bytes_of_the_file(opened):
    file, chosen = opened(), random.Random(2)
    for _ in range(100):
        start = chosen.randrange(len(LONG))
        size = chosen.randrange(1, min(400_000, len(LONG) - start) + 1)
        if chosen.random() < 0.3:
            file.expect(chosen.randrange(len(LONG)), chosen.randrange(1, 500_000))
        assert file.read(start, size, "") == LONG[start : start + size]


def test_each_byte_travels_once(opened, server):
    file = opened()
    for start in range(0, len(LONG), 50_000):
        file.read(start, 50_000, "")
    for start in range(0, len(LONG), 50_000):
        file.read(start, 50_000, "")
    assert server.sent == len(LONG)


def test_what_will_be_read_comes_in_one_request(opened, server):
    file = opened()
    file.expect(600_000, 1_000_000)
    file.expect(1_650_000, 300_000)
    for start in range(600_000, 1_900_000, 10_000):
        file.read(start, 100, "")
    assert len(server.asked) == 2
    assert server.sent < 256 * 1024 + 1_300_000 + 4 * 65_536


def test_a_plan_is_bounded_whatever_a_file_claims(opened):
    """Claims are checked when tensors are read, and planned before."""
    file = opened()
    file.size = 1 << 60
    for start in range(0, 1 << 40, 1 << 27):
        file.expect(start, 1 << 27)
        file.expect(start, 1 << 50)
    assert len(file._planned) < 3 * 4096


def test_an_empty_file_has_no_bytes(opened):
    assert opened("/empty.bin").size == 0


def test_a_read_outside_the_file_is_refused(opened):
    with pytest.raises(CheckpointError, match="outside the file"):
        opened().read(len(LONG) - 10, 11, "")


def test_a_server_without_parts_is_named_before_much_is_read(opened, server):
    server.ranges = False
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1.* ignores ranges.*--download"):
        opened()
    assert len(server.asked) == 1


def test_a_server_that_stops_sending_parts_is_named(opened, server):
    file = opened()
    server.ranges = False
    with pytest.raises(CheckpointError, match="ignores ranges"):
        second_part(file)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refuses access"),
        (403, "refuses.*netrc"),
        (404, "no such file"),
        (410, "no such file"),
        (418, "418"),
    ],
)
def test_an_answer_without_the_file_says_why(opened, server, status, words):
    server.first = [(status, {})]
    with pytest.raises(CheckpointError, match=words):
        opened()
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_be_over_is_tried_again(opened, server, waits, status):
    server.first = [(status, {}), (status, {})]
    assert second_part(opened()) == LONG[END : END + 1000]
    assert waits == [0.5, 1.0]


def test_what_is_not_over_is_given_up(opened, server, waits):
    server.first = [(503, {})] * 50
    with pytest.raises(CheckpointError, match=r"answers 503 \(5 tries\)"):
        opened()
    assert len(server.asked) == 5
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_a_server_is_given_the_time_it_asks_for(opened, server, waits):
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=40), usegmt=True)
    server.first = [(429, {"Retry-After": "7"}), (429, {"Retry-After": date})]
    second_part(opened())
    assert waits[0] == 7
    assert 20 < waits[1] <= 40


@pytest.mark.parametrize("asked", ["3600", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_server_that_asks_for_too_much_time_is_given_up(opened, server, waits, asked):
    server.first = [(429, {"Retry-After": asked})]
    with pytest.raises(CheckpointError, match="asks to wait"):
        opened()
    assert not waits


@pytest.mark.parametrize("asked", ["soon", "-5", "9" * 40])
def test_a_time_to_wait_that_is_none_is_not_believed(opened, server, waits, asked):
    server.first = [(429, {"Retry-After": asked})]
    second_part(opened())
    assert waits == [0.5]


def test_a_connection_that_is_cut_is_taken_up_where_it_ended(opened, server):
    file = opened()
    server.sent = 0
    server.body = lambda data: data[: max(1, len(data) // 2)]
    cut = file.read(END, 200_000, "")
    assert cut == LONG[END : END + 200_000]
    assert server.sent < 600_000


def test_a_connection_that_is_always_cut_is_given_up(opened, server):
    file = opened()
    server.body = lambda data: data[:0]
    with pytest.raises(CheckpointError, match=r"cut the connection.*\(5 tries\)"):
        second_part(file)


def test_a_connection_that_is_cut_after_every_byte_is_given_up(opened, server):
    file = opened()
    server.body = lambda data: data[:1]
    with pytest.raises(CheckpointError, match=r"cut the connection.*\(20 tries\)"):
        second_part(file)


@pytest.mark.parametrize(
    "change",
    [
        {"tag": '"two"'},
        {"tag": None},
        {"files": {"/long.bin": LONG + b"x"}},
        {"files": {"/long.bin": LONG[:END]}},
    ],
)
def test_a_file_that_changes_is_refused(opened, server, change):
    file = opened()
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(CheckpointError, match="written or replaced while it was read"):
        second_part(file)


def test_a_file_that_changes_where_a_connection_is_cut_is_refused(opened, server):
    file = opened()
    server.body = lambda data: data[:100]
    server.tag = lambda number: '"one"' if number < 3 else '"two"'
    with pytest.raises(CheckpointError, match="written or replaced"):
        second_part(file)


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_a_file_that_could_change_unseen_is_refused(opened, server, tag):
    server.tag = tag
    file = opened()
    with pytest.raises(CheckpointError, match="by which a change of the file would show"):
        second_part(file)


@pytest.mark.parametrize(("age", "settled"), [(3600, True), (0, False)])
def test_a_date_tells_a_change_once_it_is_old(opened, server, age, settled):
    server.tag = None
    server.headers = {
        "Last-Modified": format_datetime(datetime.now(timezone.utc) - timedelta(seconds=age), usegmt=True)
    }
    file = opened()
    if settled:
        assert second_part(file) == LONG[END : END + 1000]
        server.headers = {"Last-Modified": format_datetime(datetime.now(timezone.utc), usegmt=True)}
        with pytest.raises(CheckpointError, match="written or replaced"):
            file.read(1_000_000, 10, "")
    else:
        with pytest.raises(CheckpointError, match="would show"):
            second_part(file)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Range": "bytes 0-9/3000000"}, "another part"),
        ({"Content-Range": "bytes 1-262144/3000000"}, "another part"),
        ({"Content-Range": "bytes 0-262143/*"}, "does not say which part"),
        ({"Content-Range": None}, "does not say which part"),
        ({"Content-Range": "pages 0-9/10"}, "does not say which part"),
        ({"Content-Range": "bytes 0-262143/" + "9" * 30}, "does not say which part"),
        ({"Content-Length": "100"}, "two lengths"),
        ({"Content-Length": "9000000"}, "two lengths"),
        ({"Content-Encoding": "gzip"}, r"compressed \(gzip\)"),
        ({"Content-Encoding": "br"}, r"compressed \(br\)"),
    ],
)
def test_a_server_that_says_something_else_is_refused(opened, server, headers, words):
    server.headers = headers
    with pytest.raises(CheckpointError, match=words):
        opened()


def test_a_short_file_that_comes_compressed_is_refused(opened, server):
    server.files["/short.bin"] = gzip.compress(LONG[:1000])
    server.ranges = False
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(CheckpointError, match="compressed"):
        opened("/short.bin")


def test_a_short_file_may_come_whole(opened, server):
    server.ranges = False
    assert opened("/short.bin").read(100, 200, "") == LONG[100:300]


def test_a_server_is_asked_not_to_compress(opened, server):
    opened()
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


def test_more_bytes_than_were_asked_for_are_refused(opened, server):
    """Without a length only the end tells."""

    def chunked(handler):
        handler.send_response(206)
        handler.send_header("ETag", '"one"')
        handler.send_header("Content-Range", "bytes 0-262143/3000000")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        data = LONG[:262_150]
        handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
        return True

    server.answer = chunked
    with pytest.raises(CheckpointError, match="more bytes"):
        opened()


def test_a_web_page_is_called_one(opened, server):
    server.files["/blob/long.bin"] = b"<!DOCTYPE html>" + b" " * 1_000_000
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    server.ranges = False
    with pytest.raises(CheckpointError, match="web page"):
        opened("/blob/long.bin")


def test_a_server_that_falls_silent_is_given_up(opened, server):
    def silent(handler):
        handler.rfile.read(1)  # until the client goes away
        return True

    server.answer = silent
    with with_transfers(limits=Limits(silence=0.05, tries=2)), pytest.raises(CheckpointError, match="does not answer"):
        opened()


def test_a_server_that_is_too_slow_is_given_up(opened, monkeypatch):
    """Bytes that come one by one keep a connection alive for as long as the server likes."""
    file = opened()
    # However fast they come, the time for them is long over, and they do not come all at once.
    monkeypatch.setattr(web, "_PIECE", 1000)
    with with_transfers(limits=Limits(start=-1000)), pytest.raises(CheckpointError, match="too slow"):
        file.read(1_000_000, 500_000, "")


def test_many_requests_are_too_many(opened):
    file = opened()
    with with_transfers(limits=Limits(requests=3)):
        file.read(1_000_000, 1, "")
        file.read(2_000_000, 1, "")
        with pytest.raises(CheckpointError, match="more than 3 requests"):
            second_part(file)


def test_a_host_that_nobody_knows_is_named_at_once(waits):
    with pytest.raises(CheckpointError, match=r"host\.invalid is not known"):
        open_checkpoint("https://host.invalid/a.pth")
    assert not waits


def test_redirects_are_followed_once(opened, server):
    server.redirects["/old.bin"] = "/long.bin?signature=1"
    file = opened("/old.bin")
    assert second_part(file) == LONG[END : END + 1000]
    assert [each.path for each in server.asked] == ["/old.bin", "/long.bin", "/long.bin"]


def test_a_place_whose_signature_ran_out_is_asked_for_again(opened, server):
    server.redirects["/old.bin"] = "/long.bin?signature=1"
    file = opened("/old.bin")
    server.first = [(403, {})]
    assert second_part(file) == LONG[END : END + 1000]
    assert [each.path for each in server.asked][2:] == ["/long.bin", "/old.bin", "/long.bin"]


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("/old.bin", "from place to place"),
        ("", "no address"),
        ("ftp://127.0.0.1/a", "no address"),
        ("file:///etc/passwd", "no address"),
        ("http://u:p@127.0.0.1/a", "no address"),
        ("http://127.0.0.1:99999/", "no address"),
        ("http://[::1/", "no address"),
    ],
)
def test_a_redirect_to_nowhere_is_not_followed(opened, server, to, words):
    server.redirects["/old.bin"] = to
    with pytest.raises(CheckpointError, match=words):
        opened("/old.bin")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://cdn.example.org/a", "not encrypted"),
        ("http://127.0.0.1/a", "not encrypted"),
        ("https://127.0.0.1/a", "inside this network"),
        ("https://169.254.169.254/latest/meta-data", "inside this network"),
        ("https://[::1]/a", "inside this network"),
        ("https://[fd00::1]/a", "inside this network"),
        ("https://10.0.0.7/a", "inside this network"),
        ("https://localhost/a", "inside this network"),
        ("//localhost./a", "inside this network"),
    ],
)
def test_a_redirect_that_gives_away_or_reaches_in_is_not_followed(location, words):
    address = Address("https://example.org/a")
    with pytest.raises(CheckpointError, match=words):
        WebRequests(address, web_place(address))._next("https://example.org/a", location)


@pytest.mark.parametrize("location", ["https://cdn.example.org/a?x=1", "/b", "https://1.1.1.1/a"])
def test_a_redirect_to_elsewhere_is_followed(location):
    address = Address("https://example.org/a")
    to = WebRequests(address, web_place(address))._next("https://example.org/a", location)
    assert to == ("https://example.org/b" if location == "/b" else location)


def test_what_comes_with_a_redirect_is_not_read(opened, server):
    """It could be of any length."""

    def endless(handler):
        if handler.path != "/old.bin":
            return False
        handler.send_response(302)
        handler.send_header("Location", "/long.bin")
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.rfile.read(1)  # nothing comes until the client goes away
        return True

    server.answer = endless
    assert second_part(opened("/old.bin")) == LONG[END : END + 1000]


def test_a_login_goes_to_its_own_host_alone(opened, server):
    """Another port is another host: whoever listens there is somebody else."""
    with serving(files={"/long.bin": LONG}) as other:
        server.redirects["/old.bin"] = f"{other.url}/long.bin"
        file = opened("/old.bin", "me:secret@")
        second_part(file)
    assert "Authorization" in server.asked[0].headers
    assert len(other.asked) == 2
    assert not any("Authorization" in each.headers for each in other.asked)


def test_a_login_is_read_from_netrc(opened, server, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    opened()
    assert server.asked[0].headers["Authorization"].startswith("Basic ")


def test_a_proxy_of_the_environment_is_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "")
    server.answer = lambda handler: handler.say(418, {}) or True
    with pytest.raises(CheckpointError, match="418"):
        open_remote(Address("http://localhost:9/a.bin"))
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_named(waits):
    with serving() as gone:
        url = gone.url
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1:\d+ cannot be reached"):
        open_checkpoint(f"{url}/a.pth")
    assert len(waits) == 4


@pytest.mark.parametrize("host", ["example.org", "192.168.1.2", "127.0.0.1.example.org", "localhost.example.org"])
def test_plain_http_is_read_from_this_machine_alone(host):
    with pytest.raises(CheckpointError, match="not encrypted"):
        open_checkpoint(f"http://{host}/a.pth")
