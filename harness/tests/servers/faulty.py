"""A calculator with a thread per connection, and one selectable fault.

    python3 faulty.py FAULT HOST PORT

With the fault `none`, the server matches its contract: 3 connections at a time and a busy line for
the next one, lines of at most 4096 bytes, error replies that begin with `error: `, exact division,
IPv6, and an immediate exit on SIGTERM.
"""

import ast
import operator
import os
import socket
import sys
import threading
import time

FAULT, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
CAPACITY = 3
MAX_LINE = 4096
LEAKED = []

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        result = OPERATORS[type(node.op)](value(node.left), value(node.right))
        if FAULT == "wrong-sum" and isinstance(node.op, ast.Add):
            return result + 1
        return result
    raise SyntaxError("not arithmetic")


def answer(line):
    if len(line) > MAX_LINE:
        return b"error: line too long"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        if FAULT == "dies-at-invalid-utf8":
            print("UnicodeDecodeError", file=sys.stderr, flush=True)
            os._exit(1)
        return b"error: not text"
    try:
        return str(value(ast.parse(text.strip(), mode="eval").body)).encode()
    except ZeroDivisionError:
        return b"error: division by zero"
    except Exception:
        return b"error: not an expression"


def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    discarding = False
    while True:
        if FAULT == "hangs":
            time.sleep(60)
        data = client.recv(16384)
        if not data:
            break
        received += data
        if FAULT == "busy-loop":
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                pass
        replies = []
        while b"\n" in received:
            line, received = received.split(b"\n", 1)
            if discarding:
                discarding = False
            else:
                replies.append(answer(line.removesuffix(b"\r")))
        if len(received) > MAX_LINE + 1 or discarding:
            if not discarding:
                replies.append(answer(received))
            received, discarding = b"", True
        client.sendall(b"".join(reply + b"\n" for reply in replies))
    if received:
        client.sendall(answer(received.removesuffix(b"\r")) + b"\n")


def reject(client):
    try:
        client.sendall(b"error: busy\n")
        client.shutdown(socket.SHUT_WR)
        client.settimeout(1)
        while client.recv(4096):
            pass
    except OSError:
        pass
    client.close()


def handle(client):
    try:
        serve(client)
        if FAULT == "leaks-descriptors":
            LEAKED.append(client.dup())
            client.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    finally:
        slots.release()
        client.close()


slots = threading.Semaphore(CAPACITY)
listener = socket.socket(socket.AF_INET6 if ":" in HOST else socket.AF_INET)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind((HOST, PORT))
except OSError as error:
    print(error, file=sys.stderr, flush=True)
    sys.exit(1)
listener.listen(128)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        # No free descriptor.
        time.sleep(0.05)
        continue
    target = handle if slots.acquire(blocking=False) else reject
    threading.Thread(target=target, args=(client,), daemon=True).start()
