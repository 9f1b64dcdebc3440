"""Runs a command on a terminal of its own: what comes in is typed, what it shows goes out.

At the end one line of JSON on standard error: how it ended, and whether the terminal is as
it was before.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios

LINES, COLUMNS = 40, 160


def modes(terminal):
    now = termios.tcgetattr(terminal)
    return now[:4]


def main():
    typed, shown = 0, 1
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    before = modes(theirs)
    child = os.fork()
    if child == 0:
        os.close(ours)
        login(theirs)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp(sys.argv[1], sys.argv[1:])
    inputs, status, ended = [ours, typed], 0, False
    while True:
        ready, _, _ = select.select(inputs, [], [], 0 if ended else 0.05)
        if ours in ready:
            os.write(shown, os.read(ours, 4096))
        if typed in ready:
            keys = os.read(typed, 4096)
            if keys:
                os.write(ours, keys)
            else:
                inputs.remove(typed)
        if ended and ours not in ready:
            break
        if not ended:
            gone, status = os.waitpid(child, os.WNOHANG)
            ended = gone == child
    told = {
        "code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "restored": modes(theirs) == before,
    }
    print(json.dumps(told), file=sys.stderr)


def login(terminal):
    """A session with this terminal as its own, so that Ctrl-C reaches it."""
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(terminal, number)
    if terminal > 2:
        os.close(terminal)


main()
