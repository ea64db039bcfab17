# Wire protocol: one line per request and reply. One process per connection. Integers, as in C.
import os
import re
import signal
import socket
import sys
import time

REQUEST = re.compile(r"\s*(-?\d+)\s*([-+*/%])\s*(-?\d+)\s*")


def answer(line):
    found = REQUEST.fullmatch(line)
    if not found:
        return "error: not understood"
    try:
        a, operator, b = int(found[1]), found[2], int(found[3])
    except ValueError:
        return "error: too many digits"
    if operator in "/%" and b == 0:
        return "error: division by zero"
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0
    results = {"+": a + b, "-": a - b, "*": a * b, "/": quotient, "%": a - quotient * b}
    return str(results[operator])


def serve(connection):
    with connection.makefile("r", encoding="latin-1", newline="\n") as stream:
        for line in stream:
            connection.sendall((answer(line) + "\n").encode())


# The kernel reaps the children.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
while True:
    try:
        connection, _ = server.accept()
    except OSError:
        time.sleep(0.05)
        continue
    with connection:
        try:
            child = os.fork()
        except OSError:
            continue
        if child == 0:
            try:
                server.close()
                serve(connection)
            except OSError:
                pass
            os._exit(0)
