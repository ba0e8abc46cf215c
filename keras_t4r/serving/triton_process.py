"""The processes of a local Triton: its ports, its end, and what it says on the way."""

import os
import re
import signal
import socket
import subprocess

STOP_TIMEOUT = 5  # seconds that open connections and models get to finish


def choose_ports(host, ports):
    """Replaces zeros among the ports by free ones.

    Args:
        host: string. The interface to listen on.
        ports: dict. Port by name, 0 for a free one.

    Returns:
        The dict with every port known.

    Raises:
        RuntimeError: a port is taken, or not allowed.
    """
    chosen, held = {}, []
    try:
        # All are held open together, so that no two of them are the same.
        for name, port in ports.items():
            held.append(socket.socket())
            held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                held[-1].bind((host, port))
            except (OSError, OverflowError) as error:
                raise RuntimeError(
                    f"Triton cannot have {name} {port}: {error}. Give another, or 0 "
                    "for a free one."
                ) from error
            chosen[name] = held[-1].getsockname()[1]
    finally:
        for one in held:
            one.close()
    return chosen


def start(command, environment, log, remove):
    """Starts a command in a process group of its own, with a lifeline.

    Args:
        command: list of strings.
        environment: dict.
        log: path. File for what the command prints.
        remove: list of strings. Folders and prefixes of files, removed where this
            process dies and cannot do it.

    Returns:
        The process, and the lifeline: a shell that ends the group when this process
        dies, however it dies.
    """
    # Nobody else's business: the log, and the shared memory of the server's models.
    with open(
        log, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)
    ) as file:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    script = (
        "cat; pid=$0; kill -TERM $pid; sleep $1; kill -KILL -$pid; shift; "
        'for each; do rm -rf "$each"*; done'
    )
    lifeline = subprocess.Popen(
        ["sh", "-c", script, str(process.pid), str(STOP_TIMEOUT), *remove],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return process, lifeline


def end(process, lifeline):
    """Ends a process kindly, then what is left of its group by force."""
    lifeline.kill()
    lifeline.communicate()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT + 5)
        except subprocess.TimeoutExpired:
            pass  # it had its time
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nothing is left
    process.wait()


def error_lines(log):
    """The errors in a server's log, each with the lines that belong to it."""
    text = log.read_text(errors="replace")
    parts = re.split(r"(?m)^(?=[IWEF]\d{4} [\d:.]+ )", text)
    errors = [part.strip() for part in parts if part.startswith(("E", "F"))]
    # Without a GPU the server says so as an error. It is none.
    errors = [line for line in errors if "CudaDriverHelper" not in line]
    return "\n".join(errors) or text[-2000:].strip() or "(its log is empty)"
