# Wire protocol: a request is a line. A reply is its length in four bytes (big-endian), and the
# value. Integers, `+ - *`, no parentheses.
import re
import socket
import struct
import sys
import threading
import time

EXPRESSION = re.compile(r"(-?\d+)((?:[-+*]-?\d+)*)")


def calculate(text):
    found = EXPRESSION.fullmatch(re.sub(r"\s*([-+*])\s*", r"\1", text.strip()))
    if not found:
        raise ValueError(text)
    total, product = 0, int(found[1])
    for operator, number in re.findall(r"([-+*])(-?\d+)", found[2]):
        if operator == "*":
            product *= int(number)
        else:
            total += product
            product = int(number) if operator == "+" else -int(number)
    return total + product


def answer(line):
    try:
        reply = str(calculate(line.decode())).encode()
    except ValueError:
        reply = b"error: not an expression"
    return struct.pack(">I", len(reply)) + reply


def serve(connection):
    with connection, connection.makefile("rb") as lines:
        try:
            for line in lines:
                connection.sendall(answer(line))
        except OSError:
            pass


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
while True:
    try:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
    except OSError:
        time.sleep(0.05)
