# Wire protocol: one line per request and reply. The server asks for the port on standard input:
# `Port? `.
import ast
import operator
import socket
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


def answer(line):
    try:
        return f"{value(ast.parse(line.decode().strip(), mode='eval').body)}\n".encode()
    except Exception:
        return b"error: not an expression\n"


def serve(connection):
    with connection, connection.makefile("rb") as lines:
        try:
            for line in lines:
                connection.sendall(answer(line))
        except OSError:
            pass


port = int(input("Port? "))
server = socket.create_server(("127.0.0.1", port), backlog=64)
print("listening on port", server.getsockname()[1], flush=True)
while True:
    try:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
    except OSError:
        time.sleep(0.05)
