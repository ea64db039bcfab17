# Wire protocol: a request is a line with two integers and an operator. The reply is a line
# `Result: 42` or `Error: …`.
import re
import socket
import sys
import threading
import time

REQUEST = re.compile(r"\s*(-?\d+)\s*([-+*/])\s*(-?\d+)\s*")


def answer(line):
    found = REQUEST.fullmatch(line)
    if not found:
        return "Error: expected NUMBER OPERATOR NUMBER"
    a, operator, b = int(found[1]), found[2], int(found[3])
    if operator == "+":
        return f"Result: {a + b}"
    if operator == "-":
        return f"Result: {a - b}"
    if operator == "*":
        return f"Result: {a * b}"
    if b == 0:
        return "Error: division by zero"
    return f"Result: {a / b}"


def serve(connection):
    with connection, connection.makefile("r", encoding="latin-1", newline="\n") as lines:
        try:
            for line in lines:
                try:
                    reply = answer(line)
                except (ValueError, OverflowError):
                    reply = "Error: number too large"
                connection.sendall(reply.encode() + b"\n")
        except OSError:
            pass


with socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=50) as server:
    while True:
        try:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=[connection], daemon=True).start()
        except OSError:
            time.sleep(0.1)
