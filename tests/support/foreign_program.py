"""A small program of nobody's project for tests of command peers: a host or a client of a toy stream, and its vices.

    foreign_program.py host ADDRESS PORT [VICE…]      says "listening", sends numbered packets to whoever says hello
    foreign_program.py client ADDRESS PORT [VICE…]    says hello until packets come, counts them, ends when they stop

Vices: ``liar`` says at once that it is ready, ``mute`` never says it, ``cannot`` ends with status 127, ``refuses`` says
that it cannot, ``stubborn`` ignores SIGTERM, ``parent`` starts a daemon of its own, ``flood`` prints without end,
``escapes`` prints what a terminal obeys, ``lets-go`` ends with status 0 at once, ``deaf`` streams to the dead,
``gives-up`` finds out only when somebody says hello that it cannot, ``particular`` fails where anything is missing,
``slow`` answers at once and streams a little later.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time

PACKETS, EVERY_S, SILENCE_S = 5000, 0.002, 1.0


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def host(address: str, port: int, vices: set[str]) -> None:
    """Stream to whoever says hello, from a port that the kernel chooses, until nobody answers any more."""
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    control.bind((address, port))
    media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    media.bind((address, 0))
    say("pin 4711")
    say("listening")
    _, client = control.recvfrom(100)
    if "gives-up" in vices:
        say("function not implemented")
        return
    if "slow" in vices:
        control.sendto(b"soon", client)
        time.sleep(0.7 * SILENCE_S)
    heard = time.monotonic()
    for number in range(PACKETS):
        media.sendto(number.to_bytes(4) * 50, client)
        time.sleep(EVERY_S)
        while select.select([control], [], [], 0)[0]:
            control.recv(100)
            heard = time.monotonic()
        if time.monotonic() - heard > SILENCE_S and "deaf" not in vices:
            break
    say("done")


def client(address: str, port: int, seconds: float, vices: set[str]) -> None:
    """Count the packets of a stream for some seconds, saying hello all the while."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    deadline, came, first = time.monotonic() + 60, time.monotonic(), 0.0
    count = 0
    while time.monotonic() < deadline:
        here.sendto(b"hello", (address, port))
        if select.select([here], [], [], 0.1)[0]:
            here.recv(1000)
            came = time.monotonic()
            if not count:
                say("streaming")
                first = came
            count += 1
        if count and (time.monotonic() - came > SILENCE_S or time.monotonic() - first > seconds):
            say(f"received {count} frames, 0 corrupt")
            if "particular" in vices:
                say("some are missing")
                sys.exit(1)
            return
    sys.exit(1)


def indulge(vices: set[str]) -> None:
    """Do what a decent program does not."""
    if "stubborn" in vices:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "parent" in vices:
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        say(f"child {child.pid}")
    if "escapes" in vices:
        say("\x1b[31mred\x1b[0m ticket=abc123")
    if "flood" in vices:
        for number in range(200_000):
            print(f"line {number} " + "x" * 100)
        say("flooded")
    if "refuses" in vices:
        say("function not implemented")
        sys.exit(3)
    if "cannot" in vices:
        sys.exit(127)
    if "lets-go" in vices:
        sys.exit(0)
    if "liar" in vices:
        say("streaming")
    if "mute" in vices or "liar" in vices:
        time.sleep(600)


if __name__ == "__main__":
    role, where, at, *given = sys.argv[1:]
    indulge(set(given))
    if role == "host":
        host(where, int(at), set(given))
    elif role == "client":
        client(where, int(at), float(next((word for word in given if word[0].isdigit()), "2")), set(given))
    os._exit(0)
