# Wire protocol: CR LF ends each request and each reply. A single CR or LF is data.
import ast
import operator
import socket
import sys
import threading
import time

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv, ast.USub: operator.neg}


def value(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](value(node.operand))
    return OPERATORS[type(node.op)](value(node.left), value(node.right))


def answer(request):
    try:
        return str(value(ast.parse(request.decode().strip(), mode="eval").body)).encode()
    except Exception:
        return b"-ERR"


def serve(connection):
    received = b""
    with connection:
        try:
            while data := connection.recv(4096):
                *requests, received = (received + data).split(b"\r\n")
                connection.sendall(b"".join(answer(request) + b"\r\n" for request in requests))
            if received:
                connection.sendall(answer(received) + b"\r\n")
        except OSError:
            pass


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
while True:
    try:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    except OSError:
        time.sleep(0.05)
