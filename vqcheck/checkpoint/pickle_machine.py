"""Reads a pickle as data. There is no importer here, so nothing named in a pickle can be imported or run.

Every global becomes a `Global` (two strings); what calls and objects become, a `Meaning` decides, by default inert
placeholders. Only what builds data is understood: opcodes of protocols 0 to 5 without the extension registry and
out-of-band buffers. What Python's unpickler and torch's read differently from each other, or from this one, is refused.
"""

import struct
from typing import Any, Final

from vqcheck.checkpoint.pickle_stack import RARE, PickleStack
from vqcheck.checkpoint.pickle_values import Meaning, PickleError, TruncatedPickleError
from vqcheck.language import tr

MAX_BYTES: Final = 32 << 20
"""Longest pickle that is read; the index of the largest checkpoints in use takes a few MiB."""
MAX_STEPS: Final = 2_000_000
"""Most opcodes that are executed, which bounds time and memory; 2,000 tensors take about 60,000."""


_NAMES: Final = Meaning()


def load(
    data: bytes | bytearray | memoryview,
    meaning: Meaning = _NAMES,
    *,
    start: int = 0,
    max_steps: int = MAX_STEPS,
) -> tuple[Any, int]:
    """Return (value, position behind it) of the pickle that begins at `start`.

    Raises:
        TruncatedPickleError: the data ends before the pickle does.
        PickleError: anything else that is wrong with it.

    """
    machine = PickleStack(bytes(data), start, meaning)
    try:
        return _run(machine, max_steps), machine.at
    except PickleError:
        raise
    except KeyError:
        raise PickleError(tr("refers back to a value that it never stored")) from None
    except (struct.error, IndexError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, IndexError) and str(error) == "index out of range":
            # What indexing bytes says; lists word it differently.
            raise TruncatedPickleError(tr("ends early")) from None
        raise PickleError(
            tr("is damaged ({kind}: {error})", kind=type(error).__name__, error=str(error)[:100])
        ) from None


def _run(machine: PickleStack, max_steps: int) -> object:
    data = machine.data
    memo = machine.memo
    number = int.from_bytes
    at = machine.at
    for _ in range(max_steps):
        op = data[at]
        at += 1
        stack = machine.stack
        # The opcodes that make up nearly all of a checkpoint's index, most frequent first. A slice that runs over
        # the end of the data is short, and the next opcode then fails.
        if op == 0x72:  # LONG_BINPUT
            memo[number(data[at : at + 4], "little")] = stack[-1]
            at += 4
        elif op == 0x4B:  # BININT1
            stack.append(data[at])
            at += 1
        elif op == 0x68:  # BINGET
            stack.append(memo[data[at]])
            at += 1
        elif op == 0x28:  # MARK
            machine.marks.append(stack)
            machine.stack = []
        elif op == 0x74:  # TUPLE
            machine.stack = machine.marks.pop()
            machine.stack.append(tuple(stack))
        elif op == 0x58:  # BINUNICODE
            end = at + 4 + number(data[at : at + 4], "little")
            if end > len(data):
                machine.at = len(data)
                raise TruncatedPickleError(tr("ends early"))
            stack.append(data[at + 4 : end].decode("utf-8", "surrogatepass"))
            at = end
        elif op == 0x4D:  # BININT2
            stack.append(number(data[at : at + 2], "little"))
            at += 2
        elif op == 0x71:  # BINPUT
            memo[data[at]] = stack[-1]
            at += 1
        elif op == 0x6A:  # LONG_BINGET
            stack.append(memo[number(data[at : at + 4], "little")])
            at += 4
        elif op == 0x52:  # REDUCE
            args = stack.pop()
            stack[-1] = machine.call(stack[-1], args)
        elif op == 0x51:  # BINPERSID
            stack[-1] = machine.meaning.reference(stack[-1])
        elif op == 0x89:  # NEWFALSE
            stack.append(False)
        elif op == 0x29:  # EMPTY_TUPLE
            stack.append(())
        elif op == 0x85:  # TUPLE1
            stack[-1] = (stack[-1],)
        elif op == 0x86:  # TUPLE2
            stack[-2:] = [(stack[-2], stack[-1])]
        elif op == 0x2E:  # STOP
            machine.at = at
            return stack.pop()
        else:
            handler = RARE.get(op)
            if handler is None:
                raise PickleError(tr("uses opcode 0x{op:02x}, which has no place in a checkpoint's index", op=op))
            machine.at = at
            handler(machine)
            at = machine.at
    raise PickleError(tr("has more than {most} instructions", most=max_steps))
