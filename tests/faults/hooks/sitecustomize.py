"""Ends a victim at its n-th change of a file, in whichever of its processes that happens.

Python imports this module in every process that a victim of `kills.py` starts. The moment depends
on no clock and on no load: what is counted is what the processes write, create, rename and remove
below one folder. Beside that it refuses every address that is not on this machine.
"""

import os
import signal
import sys

CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
LOCAL = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "", None)
root, log = os.environ.get("VICTIM_ROOT"), os.environ.get("VICTIM_LOG", "")
last, number = int(os.environ.get("VICTIM_LAST", 0)), int(os.environ.get("VICTIM_SIGNAL", 0))


def count():
    """One byte in a file for each change; whoever writes the last one ends the victim."""
    descriptor = os.open(f"{log}.changes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b".")
    size = os.fstat(descriptor).st_size
    os.close(descriptor)
    if not last or size < last:
        return
    try:
        os.close(os.open(f"{log}.ended", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    main = int(os.environ["VICTIM_MAIN"])
    if number == signal.SIGINT:  # a terminal's Ctrl-C reaches the whole group
        os.killpg(main, number)
    else:
        os.kill(main, number)


def hook(event, arguments):
    if event == "open":
        path, _, flags = arguments
        changes = isinstance(flags, int) and flags & WRITES
    elif event in CHANGES:
        path, changes = arguments[0], True
    elif event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in LOCAL:
            refuse(address)
        return
    elif event == "socket.getaddrinfo":
        if arguments[0] not in (*LOCAL, os.uname().nodename):
            refuse(arguments)
        return
    else:
        return
    if changes and isinstance(path, str) and path.startswith(f"{root}/"):
        count()


def refuse(address):
    with open(f"{log}.network", "a") as file:
        print(address, file=file)
    raise OSError(101, "Network is unreachable")


if root:
    os.environ.setdefault("VICTIM_MAIN", str(os.getpid()))
    sys.addaudithook(hook)
