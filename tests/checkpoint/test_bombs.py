"""Small files that ask for gigabytes or hours get neither: every command ends, with a reason, within 512 MB.

Bombs inside a pickle, a JSON header and single tensors are in test_hostile.py; here are those that only a whole
command would set off.
"""

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

LIMITED = Path(__file__).parent / "limited.py"
CODEBOOK = "quantizer.vq.layers.0._codebook"
LAYER = "quantizer.layers.{}.codebook"
MILLION = 1_000_000


@pytest.fixture
def ended(run_script):
    """Runs a command with limited memory; returns its status and what it said."""

    def run(*arguments):
        done = run_script(LIMITED, *arguments)
        said = done.stdout + done.stderr
        assert "internal error" not in said
        assert "not enough memory" not in said
        assert len(done.stderr) < 5_000
        return done.returncode, said

    return run


def codebook(claim, codes, dim, **claims):
    """Return the tensors of a codebook whose codes and sums make these claims."""
    stride = claims.pop("stride")
    return {
        f"{CODEBOOK}.embed": claim(size=(codes, dim), stride=stride, **claims),
        f"{CODEBOOK}.embed_avg": claim(size=(codes, dim), stride=stride, **claims),
        f"{CODEBOOK}.cluster_size": claim(size=(codes,), stride=stride[:1], **claims),
        f"{CODEBOOK}.inited": claim(size=(), stride=(), **claims),
    }


@pytest.mark.parametrize(
    ("codes", "dim"), [(1 << 13, 1 << 11), (1 << 20, 1 << 20), (1 << 40, 1), (4, 1 << 40), ((1 << 62) - 1, 2)]
)
def test_a_codebook_that_repeats_one_stored_number_is_refused(codes, dim, put, torch_pickle, zip_bytes, claim, ended):
    index = torch_pickle(codebook(claim, codes, dim, stride=(0, 0), count=1))
    path = put(zip_bytes(index, {"0": struct.pack("<f", 1.5)}))
    status, said = ended("inspect", path)
    assert status == 2
    assert "its VQ encoder claims" in said
    assert "far more than the file's" in said


@pytest.mark.parametrize("command", ["diff", "lock"])
def test_what_one_command_refuses_to_read_no_other_reads(command, put, torch_pickle, zip_bytes, claim, ended):
    index = torch_pickle(codebook(claim, 1 << 13, 1 << 11, stride=(0, 0), count=1))
    path = put(zip_bytes(index, {"0": struct.pack("<f", 1.5)}))
    status, said = ended(command, *[path] * (1 + (command == "diff")))
    assert status == 2
    assert "far more than the file's" in said


def test_many_codebooks_that_share_a_few_bytes_are_refused(put, torch_pickle, zip_bytes, claim, ended):
    state = {}
    for layer in range(500):
        state[f"{LAYER.format(layer)}.embed"] = claim(size=(512, 512), stride=(0, 0), offset=layer, count=500)
    status, said = ended("inspect", put(zip_bytes(torch_pickle(state), {"0": bytes(2_000)})))
    assert status == 2
    assert "far more than the file's" in said


def test_codebooks_far_inside_packed_data_which_is_unpacked_from_its_beginning_are_refused(
    put, torch_pickle, zip_bytes, claim, ended
):
    count = 16 * MILLION
    state = {
        f"{LAYER.format(layer)}.embed": claim(size=(4, 4), stride=(4, 1), offset=count - 16 * (layer + 1), count=count)
        for layer in range(300)
    }
    path = put(zip_bytes(torch_pickle(state), {"0": bytes(4 * count)}, compression=zipfile.ZIP_DEFLATED))
    status, said = ended("inspect", path)
    assert status == 2
    assert "far more than the file's" in said


def test_a_codebook_that_unpacks_to_far_more_than_the_file_is_refused(put, torch_pickle, zip_bytes, claim, ended):
    count = 25 * MILLION
    index = torch_pickle({f"{CODEBOOK}.embed": claim(size=(25, MILLION), stride=(MILLION, 1), count=count)})
    path = put(zip_bytes(index, {"0": bytes(4 * count)}, compression=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < MILLION
    status, said = ended("inspect", path)
    assert status == 2
    assert "claims 100000000 bytes, far more than the file's" in said


def test_members_that_each_stretch_over_all_that_follow_are_refused(put, ended):
    """The quoted overlap: a kernel of packed data, and members in front that quote the headers behind them."""
    count, kernel = 300, zipped_zeros(MILLION)
    names = [b"archive/data.pkl", *(b"archive/data/%d" % number for number in range(count - 1))]
    headers = [
        struct.Struct("<4s5H3L2H").pack(b"PK\3\4", 20, 0, 8, 0, 0, 0, 0, 0, len(name), 0) + name for name in names
    ]
    starts, at = [], 0
    for header in headers:
        starts.append(at)
        at += len(header)
    data = b"".join(headers) + kernel
    central = b"".join(
        struct.Struct("<4s6H3L5H2L").pack(
            b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(data) - start - len(header), MILLION, len(name), 0, 0, 0, 0, 0, start
        )
        + name
        for name, header, start in zip(names, headers, starts, strict=True)
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(central), len(data), 0)
    status, said = ended("inspect", put(data + central + end))
    assert status == 2
    assert "overlaps another member" in said


def zipped_zeros(count):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a"), bytes(count), zipfile.ZIP_DEFLATED)
    packed = buffer.getvalue()
    return packed[31 : 31 + struct.unpack_from("<L", packed, 18)[0]]


def entry(shape, begin=0, end=0):
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "very many tensors": (lambda: {f"t{number}": entry([1, 0]) for number in range(80_000)}, "no codebook"),
    "very many codebooks": (
        lambda: {f"{LAYER.format(number)}.embed": entry([0, 1]) for number in range(60_000)},
        "more than 20000 names could be parts of a codebook",
    ),
    "a name of 10 MB": (lambda: {"a" * 10 * MILLION + f".{CODEBOOK}.embed": entry([0, 1])}, "no codebook"),
    "a name of 4 million parts": (lambda: {"a." * 4 * MILLION + f"{CODEBOOK}.embed": entry([0, 1])}, "no codebook"),
    "very many names of many parts": (
        lambda: {f"{'model.' * 150}{number}.{CODEBOOK}.embed": entry([0, 1]) for number in range(14_000)},
        "no codebook",
    ),
    "names whose every part may begin one": (
        lambda: {f"{'quantizer.' * 36}{number}.embed": entry([0, 1]) for number in range(30_000)},
        "no codebook",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HEADERS)
def test_names_that_would_take_hours_to_look_up_are_passed_over_or_refused(what, put, safetensors_bytes, ended):
    make, reason = HEADERS[what]
    text = json.dumps(make(), separators=(",", ":")).encode()
    assert len(text) < 16 << 20
    status, said = ended("inspect", put(safetensors_bytes(text)))
    assert status == 2
    assert reason in said


def test_a_state_dict_of_as_many_tensors_as_a_pickle_can_describe_is_read_or_refused(
    put, torch_pickle, zip_bytes, claim, ended
):
    index = torch_pickle({f"t{number}": claim() for number in range(30_000)})
    status, said = ended("inspect", put(zip_bytes(index, {"0": bytes(16)})))
    assert status == 2
    assert "no codebook" in said


def test_containers_that_lead_to_each_other_on_thirty_levels_are_walked_once(
    put, torch_pickle, zip_bytes, claim, ended
):
    level = {"t": claim()}
    for _ in range(30):
        level = {f"model{number}": level for number in range(30)} | {"t": claim()}
    status, said = ended("inspect", put(zip_bytes(torch_pickle(level), {"0": bytes(16)})))
    assert status == 2
    assert "no codebook" in said


@pytest.mark.parametrize("claimed", [100 << 20, 1 << 40, (1 << 48) - 1])
def test_a_header_that_claims_to_be_huge_is_refused_unread(claimed, put, ended):
    path = put(struct.pack("<Q", claimed) + b"{")
    status, said = ended("inspect", path)
    assert (status, "more than the file has" in said) == (2, True)
    with path.open("r+b") as file:
        file.truncate(200 << 20)
    status, said = ended("inspect", path)
    assert status == 2
    assert ("more than the 16777216 that are read" if claimed == 100 << 20 else "more than the file has") in said


def stored(shape, dtype, data):
    header = {f"{CODEBOOK}.embed": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def numbers(count, seed):
    return np.random.default_rng(seed).integers(0, 100, count, dtype=np.int8).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "make"),
    [
        # All pairs of codes would be four million million.
        ([2 * MILLION, 1], numbers),
        # All alike, any of them may be any other.
        ([1 << 13, 1], numbers),
        ([1 << 13, 4], lambda count, seed: bytes([seed]) * count),
        ([1, 4 * MILLION], numbers),
        ([1 << 9, 1 << 13], numbers),
    ],
    ids=["two million codes", "8192 codes", "8192 equal codes", "one wide code", "wide codes"],
)
def test_a_codebook_of_unusual_shape_that_changed_is_told_without_measuring_for_hours(shape, make, put, ended):
    size = shape[0] * shape[1]
    a, b = (put(stored(shape, "I8", make(size, seed)), f"{seed}.safetensors") for seed in (1, 2))
    status, said = ended("diff", a, b)
    assert status == 1
    assert "changed" in said


TABLES = {
    "a line of 50 MB": (lambda: b"a.wav\t" + b"1 " * 25 * MILLION, "line 1 is longer than 1048576 bytes"),
    "a line without a tab": (lambda: b"1" * 50 * MILLION, "line 1 is longer than 1048576 bytes"),
    "very many lines": (lambda: b"a\t1\n" * 2 * MILLION, "more than 1000000"),
    "very many blank lines": (lambda: b"\n" * 50 * MILLION, "more than 1000000"),
    "very many tokens": (lambda: b"a\t" + b"1 " * 60 * MILLION + b"\n", "line 1 is longer than"),
    "very many different tokens": (
        lambda: b"".join(
            b"a\t" + b" ".join(b"%d" % n for n in range(s, s + 100_000)) + b"\n" for s in range(0, 2 * MILLION, 100_000)
        ),
        "is not a token",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", TABLES)
def test_a_table_of_tokens_that_is_larger_than_any_is_refused(what, tmp_path, checkpoints, ended):
    make, reason = TABLES[what]
    (tmp_path / "6-name2semantic.tsv").write_bytes(make())
    status, said = ended("lock", checkpoints / "base_v2.pth", "--experiment", tmp_path, "-o", tmp_path / "new.lock")
    assert status == 2
    assert reason in said
    assert not (tmp_path / "new.lock").exists()


CONFIGS = {
    "deep JSON": lambda: b'{"a":' * 40_000,
    "deep lists": lambda: b'{"train":' + b"[" * 100_000,
    "deep TOML": lambda: b"a = " + b"[" * 100_000,
    "dotted key": lambda: b".".join([b"a"] * 30_000) + b" = 1",
    "dotted table": lambda: b"[" + b".".join([b"a"] * 30_000) + b"]",
    "long JSON": lambda: b"{" + b" " * 100 * MILLION,
    "long TOML": lambda: b"#" * 100 * MILLION,
    "an integer of very many digits": lambda: b"a = " + b"9" * 200_000,
}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_configuration_that_is_larger_or_deeper_than_any_is_refused(what, put, ended):
    path = put(CONFIGS[what](), "config")
    status, said = ended("gate", path)
    assert (status, str(path) in said) == (2, True)


def test_a_row_for_a_codec_that_is_deeper_than_any_is_refused(put, checkpoints, ended):
    path = put(CONFIGS["deep TOML"](), "codec.toml")
    status, said = ended("inspect", checkpoints / "base_v2.pth", "--family", path)
    assert status == 2
    assert "is nested too deeply" in said


def test_a_lock_that_is_longer_than_any_is_refused(put, checkpoints, ended):
    path = put(b"schema vqcheck/lock/1\n" + b"tensor a float16 b\n" * 5 * MILLION, "vqcheck.lock")
    status, said = ended("lock", "--check", checkpoints / "base_v2.pth", "-o", path)
    assert status == 2
    assert "is not a vqcheck lock" in said
