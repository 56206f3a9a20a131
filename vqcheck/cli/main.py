"""Runs the program, and turns every outcome into an exit status."""

import contextlib
import errno
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from vqcheck import language
from vqcheck.cli.asked_language import asked_language
from vqcheck.cli.limited_memory import Watched, is_limited
from vqcheck.cli.terminal import forget_impossible_sizes, say
from vqcheck.errors import NotWritableError, VqcheckError
from vqcheck.language import tr
from vqcheck.sanitize import without_credentials

EXIT_COULD_NOT_CHECK: Final = 2
_ENDED: Final = ("SIGTERM", "SIGHUP")
"""Signals by which a system, or a terminal that is closed, ends a program."""
_NEW_OBJECTS: Final = 100_000
"""What may be made before garbage is looked for. A short run ends before: imports and indexes leave none."""
_ENDED_BY_A_LIBRARY: Final = "not enough memory: a numerical library ended the program ({})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; never raises."""
    watched = Watched(lambda how: _failed(sys.argv[1:], _ENDED_BY_A_LIBRARY.format(how)))
    if arguments is None:
        sys.meta_path.insert(0, watched)
        gc.set_threshold(_NEW_OBJECTS)
    try:
        status = _main(sys.argv[1:] if arguments is None else list(arguments))
    except (MemoryError, SystemError):
        # Not even enough to say so in the usual way.
        os.write(2, b"vqcheck: not enough memory\n")
        status = EXIT_COULD_NOT_CHECK
        if arguments is None:
            watched.finish(status)
            os._exit(status)  # what Python does at its end takes memory, too
    watched.finish(status)
    if arguments is None:
        gc.freeze()  # everything goes with the process: Python need not look through it for garbage first
    return status


def _main(arguments: Sequence[str]) -> int:
    language.choose(asked_language(arguments))
    _open_missing_streams()
    forget_impossible_sizes()
    for stream in (sys.stdout, sys.stderr):
        # File names and the text in checkpoints may hold anything; a console that cannot show it must not end the run.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    try:
        with _ended_as_interrupted():
            code = _run(arguments)
    except KeyboardInterrupt:
        # While modules were still imported, or for the second time.
        code = _failed(arguments, tr("interrupted"))
    _discard_output_nobody_reads()
    return code


def _run(arguments: Sequence[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        # Alone it takes no parser, whose import takes longer than everything else here.
        from vqcheck import __version__

        try:
            print(f"vqcheck, version {__version__}", flush=True)
        except OSError:
            return EXIT_COULD_NOT_CHECK
        return 0
    import click

    from vqcheck.cli.click_language import click_in_language, hear
    from vqcheck.cli.program import program

    hear(arguments)
    stdout = sys.stdout
    try:
        status = program.main(args=list(arguments), prog_name="vqcheck", standalone_mode=False, obj=tuple(arguments))
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return EXIT_COULD_NOT_CHECK
    except click.UsageError as error:
        with click_in_language():
            message = error.format_message().rstrip(".。").replace("。 （", "（")
        if error.ctx:
            message = tr("{message}; see '{command} --help'", message=message, command=error.ctx.command_path)
        return _failed(arguments, message)
    except click.ClickException as error:
        with click_in_language():
            message = error.format_message()
        return _failed(arguments, message)
    except VqcheckError as error:
        from vqcheck.cli.near_names import with_near_names

        line = str(error) if isinstance(error, NotWritableError) else with_near_names(str(error), error.path)
        return _failed(arguments, line, error.path)
    except (click.Abort, KeyboardInterrupt):
        return _failed(arguments, tr("interrupted"))
    except SystemExit as error:
        if os.environ.get("_VQCHECK_COMPLETE"):
            # A shell asked what may be typed; click answers that before any command, and leaves.
            return error.code if isinstance(error.code, int) else EXIT_COULD_NOT_CHECK
        # click puts another stream in place of stdout and ends the program in status 1, where the reader of stdout went
        # away (`| head`). What it did not want is no failure of ours, but nothing was shown either.
        if sys.stdout is not stdout:
            return EXIT_COULD_NOT_CHECK
        return _failed(arguments, tr("the code that was run ended the program (SystemExit: {error})", error=error))
    except BrokenPipeError:
        return EXIT_COULD_NOT_CHECK
    except OSError as error:
        # Everything that is read reports its own errors; what is left is stdout. Windows calls a broken pipe EINVAL.
        if error.errno == errno.EINVAL:
            return EXIT_COULD_NOT_CHECK
        return _failed(arguments, tr("the output cannot be written: {error}", error=error.strerror))
    except MemoryError:
        return _failed(arguments, tr("not enough memory"))
    except Exception as error:  # noqa: BLE001 - an internal error must not end in status 1
        if isinstance(error, ImportError) and is_limited():
            return _failed(arguments, tr("not enough memory to load {module}", module=error.name or "vqcheck"))
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
        kind = type(error).__name__
        return _failed(arguments, tr("internal error: {kind}: {error} (--debug shows where)", kind=kind, error=error))


@contextlib.contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """Treat the end that a system asks for as Ctrl-C: temporary files and other processes go before this one does."""
    changed = []
    try:
        for number in (getattr(signal, name) for name in _ENDED if hasattr(signal, name)):
            # Whoever ignores it (nohup) or handles it has a reason to; and only the main thread may change it.
            if signal.getsignal(number) == signal.SIG_DFL:
                with contextlib.suppress(ValueError):
                    signal.signal(number, signal.default_int_handler)
                    changed.append(number)
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _failed(arguments: Sequence[str], message: str, path: str = "") -> int:
    """Say on stderr, and in a machine format on stdout, that nothing could be checked."""
    from vqcheck.cli.failure import report_failure

    # What a user typed may hold a login, and an error of the command line repeats it.
    message, path = without_credentials(message), without_credentials(path)
    words = " ".join(message.split())
    # A sentence that is on one line already stays one, which a page shows in the language of its reader.
    line = message if message == words else words
    try:
        say(message)
        report_failure(arguments, line, path)
    except OSError:
        pass
    except Exception as error:  # noqa: BLE001 - a report of a failure that fails must not end in status 1
        say(tr("no document: {kind}: {error}", kind=type(error).__name__, error=error))
    return EXIT_COULD_NOT_CHECK


def _open_missing_streams() -> None:
    """Give a process that was started without stdout or stderr something to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - lives as long as the process


def _discard_output_nobody_reads() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        # Python flushes again while it shuts down, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
