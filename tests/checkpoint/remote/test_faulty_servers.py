"""Servers with any faults at once: what is read is the file's, or there is an error; nothing else, and not for ever."""

import random

import pytest
from loopback import serving

from vqcheck.checkpoint.remote.address import Address
from vqcheck.checkpoint.remote.open import open_remote
from vqcheck.checkpoint.remote.transfers import with_transfers
from vqcheck.errors import CheckpointError

CONTENT = random.Random(3).randbytes(1_500_000)
NUMBERS = ("0", "-1", "1", "262143", "262144", "1499999", "1500000", "9" * 25, "0x10", "1e3", " 5", "", "*")
WORDS = ("bytes", "octets", "Bytes", "", "gzip", "identity", "chunked", '"one"', '"two"', 'W/"one"', "text/html")
STATUSES = (100, 200, 202, 203, 204, 206, 206, 206, 300, 301, 304, 400, 401, 403, 404, 412, 416, 429, 500, 503, 599)


class Faulty:
    """Answers as it should, but for what chance puts in the place of something."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.how_often = self.chance.choice((0.05, 0.3, 0.8))

    def _or(self, right, *wrong):
        return self.chance.choice(wrong) if self.chance.random() < self.how_often else right

    def answer(self, handler):
        start, end = (int(each) for each in handler.headers["Range"].removeprefix("bytes=").split("-"))
        end = min(end + 1, len(CONTENT))
        status = self._or(206, *STATUSES)
        body = CONTENT if status == 200 else CONTENT[start:end]
        body = self._or(body, body[: self.chance.randrange(len(body) + 1)], body[:1], b"")
        right = {
            "Content-Length": str(len(CONTENT) if status == 200 else end - start),
            "Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}",
            "ETag": '"one"',
        }
        first, last, total = (self.chance.choice(NUMBERS) for _ in range(3))
        ranges = (f"{self.chance.choice(WORDS)} {first}-{last}/{total}", f"bytes {start}-{last}/{total}", last)
        wrong = {"Content-Length": NUMBERS, "Content-Range": ranges, "ETag": WORDS}
        headers = {name: self._or(value, None, *wrong[name]) for name, value in right.items()}
        for name in ("Content-Encoding", "Transfer-Encoding", "Retry-After", "Location", "Content-Type"):
            headers[name] = self._or(None, *WORDS, *NUMBERS, "/", "//", "http://[", "/x" * 3000)
        handler.send_response(status)
        for name, value in headers.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        if status >= 200 and status not in (204, 304):
            handler.wfile.write(body)
        return True


@pytest.mark.parametrize("seed", range(60))
def test_what_is_read_is_the_file_or_there_is_an_error(seed):
    faulty, chance = Faulty(seed), random.Random(seed)
    with serving(answer=faulty.answer) as server, with_transfers(download=False):
        try:
            file = open_remote(Address(f"{server.url}/a.bin"))
        except CheckpointError:
            return
        for _ in range(8):
            start = chance.randrange(file.size or 1)
            size = min(chance.randrange(1, 300_000), file.size - start)
            try:
                data = file.read(start, size, "")
            except CheckpointError:
                continue
            assert data == CONTENT[start : start + size]
        file.close()
        assert len(server.asked) < 300
