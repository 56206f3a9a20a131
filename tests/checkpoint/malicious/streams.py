"""Pickles that break off, go on behind their end, or hide a call where a checkpoint holds something else."""

from malicious.base import INDEX, READS, REFUSES, Attack, archive, beside, call, text


def attacks(shell):
    """Return name -> attack, given the payload as a shell command pushed by an opcode."""
    run = call("os", "system", shell)
    payload = b"\x80\x02" + run + b"0"
    return {
        "payload before the state dict": Attack(
            archive(b"\x80\x02" + run + b"0" + INDEX[2:]), REFUSES, payload + b"N."
        ),
        "payload, then no STOP": Attack(archive(payload), REFUSES, payload),
        "payload, then an unknown opcode": Attack(archive(payload + b"\xff."), REFUSES, payload + b"\xff."),
        "payload, then a stack that is empty": Attack(archive(payload + b"R."), REFUSES, payload + b"R."),
        "payload, then a memo that is empty": Attack(archive(payload + b"h\xff."), REFUSES, payload + b"h\xff."),
        "payload behind STOP": Attack(archive(INDEX + payload + b"N."), READS),
        "rubbish behind STOP": Attack(archive(INDEX + bytes(100)), READS),
        "several pickles in one member": Attack(archive(b"\x80\x02N." + payload + b"N."), REFUSES),
        "payload in a key": Attack(archive(b"\x80\x02}" + run + b"Ns."), REFUSES, b"\x80\x02}" + run + b"Ns."),
        "payload behind the state dict": Attack(archive(INDEX[:-1] + run + b"0."), REFUSES),
        "payload as the state of an OrderedDict": Attack(
            archive(beside(b"ccollections\nOrderedDict\n)R}" + text("a") + run + b"sb")), REFUSES
        ),
        "payload among the arguments of a rebuild function": Attack(
            archive(beside(b"ctorch._utils\n_rebuild_parameter\n(" + run + b"\x89)tR")), REFUSES
        ),
        "call of what a payload returned": Attack(
            archive(beside(call("builtins", "getattr", b"N", text("a")) + b")R")), REFUSES
        ),
        "class that is a function of torch": Attack(archive(beside(call("torch", "load", shell))), REFUSES),
        "subclass rebuilt by a payload": Attack(
            archive(beside(b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN(" + shell + b"t}tR")), REFUSES
        ),
    }
