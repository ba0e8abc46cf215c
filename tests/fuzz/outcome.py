"""What came of an input: the right answer, a sentence of ours, or a fault."""

import traceback
from pathlib import Path

import keras_t4r

PACKAGE = str(Path(keras_t4r.__file__).parent)
SENTENCES = (ValueError, TypeError, OSError, ImportError, RuntimeError)
OUTCOMES = ("right", "sentence", "unclear", "wrong", "panic")


class Refused(Exception):
    """What a server said over the wire, where no line of the package is to be seen."""


def outcome(run, is_right):
    """One of `OUTCOMES`, and what to show of it.

    Args:
        run: function of nothing. Gives an answer, or raises.
        is_right: function of the answer.
    """
    try:
        answer = run()
    except Refused as error:
        riddle = any(x in str(error) for x in ("\n", "Traceback", "Error:", "{{node"))
        return ("unclear" if riddle else "sentence"), show(error)
    except SENTENCES as error:
        return ("sentence" if is_ours(error) else "unclear"), show(error)
    except Exception as error:
        return "unclear", show(error)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return "panic", show(error)
    return ("right" if is_right(answer) else "wrong"), repr(answer)[:300]


def is_ours(error):
    """Whether the package itself raised it, in one sentence."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error)
    return (
        last.filename.startswith(PACKAGE)
        and (last.line or "").startswith(("raise", "return", "self._fail"))
        and "\n" not in text
        and text.endswith((".", "?", "]", ")", "'"))
    )


def show(error):
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"{type(error).__name__} at {place}: {str(error)[:250]!r}"
