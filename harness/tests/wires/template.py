# Wire protocol: a request is `CALC 1+2;`. A reply is `VALUE 3;`, or `FAULT 2;` with an error code.
import re
import socket
import sys
import threading
import time

REQUEST = re.compile(rb"\s*CALC\s+(.*)", re.DOTALL)
ALLOWED = re.compile(rb"[0-9+\-*/. ()]+")
UNKNOWN_COMMAND, BAD_EXPRESSION, DIVISION_BY_ZERO = 1, 2, 3


def answer(request):
    command = REQUEST.fullmatch(request)
    if not command:
        return b"FAULT %d;" % UNKNOWN_COMMAND
    expression = command[1].strip()
    if not ALLOWED.fullmatch(expression) or b"**" in expression or b"//" in expression:
        return b"FAULT %d;" % BAD_EXPRESSION
    try:
        value = eval(expression)
        reply = b"VALUE %s;" % str(value).encode()
    except ZeroDivisionError:
        return b"FAULT %d;" % DIVISION_BY_ZERO
    except Exception:
        return b"FAULT %d;" % BAD_EXPRESSION
    return reply if isinstance(value, (int, float)) else b"FAULT %d;" % BAD_EXPRESSION


def serve(connection):
    received = b""
    with connection:
        try:
            while data := connection.recv(4096):
                *requests, received = (received + data).split(b";")
                connection.sendall(b"".join(answer(request) for request in requests))
            if received.strip():
                connection.sendall(answer(received))
        except OSError:
            pass


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
while True:
    try:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    except OSError:
        time.sleep(0.05)
