"""A correct calculator that writes endless output."""

import re
import socket
import sys
import threading
import time


def talk():
    number = 0
    while True:
        number += 1
        print(f"tick {number}: everything is fine, waiting for clients\n" * 1000, flush=True)
        time.sleep(0.01)


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


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
threading.Thread(target=talk, daemon=True).start()
while True:
    try:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
    except OSError:
        time.sleep(0.05)
