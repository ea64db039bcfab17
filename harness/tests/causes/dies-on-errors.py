# A calculator that serves one client at a time and catches no error. It exits on input that is not
# valid UTF-8, and on a client that is gone: by an error of recv or of sendall, as it happens.
# check: --shutdown abort --capacity 1 --when-full wait --division exact
# cases: malformed/ disconnects/ framing/single
# fault: The server exits when a client connects and resets the connection
# fault: The server exits when invalid UTF-8 arrives
# also: The server exits when it has no free descriptor
import ast
import operator
import socket
import sys

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -evaluate(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
    raise ValueError("unknown operation")


def reply(line):
    text = line.decode()
    if len(text) > 30_000:
        return "error: too long"
    try:
        return str(evaluate(ast.parse(text.strip(), mode="eval").body))
    except Exception:
        return "error: syntax"


def serve(client):
    buffer = b""
    while data := client.recv(4096):
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            client.sendall(reply(line).encode() + b"\n")
    if buffer:
        client.sendall(reply(buffer).encode() + b"\n")


listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    connection, _ = listener.accept()
    with connection:
        serve(connection)
