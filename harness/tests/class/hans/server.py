"""A correct calculator that also starts 200 processes which ignore signals."""

import os
import re
import signal
import socket
import sys
import threading
import time

CHILDREN = 200
LIFE_S = 300  # limits the harm if the harness does not kill them


def stay():
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass  # SIGKILL and SIGSTOP
    time.sleep(LIFE_S)
    os._exit(0)


def multiply():
    for number in range(CHILDREN):
        try:
            if os.fork() == 0:
                if number % 4 == 0:
                    os.setsid()
                if number % 8 == 0 and os.fork() != 0:
                    os._exit(0)  # the child is now an orphan
                stay()
        except OSError:
            return


def calculate(line):
    if not re.fullmatch(r"[0-9+\-*/. ()]+", line) or "**" in line:
        return "error: not an expression"
    try:
        return f"{0 + eval(line)}"
    except Exception:
        return "error: not an expression"


def serve(client):
    with client, client.makefile("rb") as lines:
        try:
            for line in lines:
                client.sendall(f"{calculate(line.decode('latin-1').strip())}\n".encode())
        except OSError:
            pass


multiply()
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
while True:
    try:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
    except OSError:
        time.sleep(0.05)
