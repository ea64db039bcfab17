# A calculator that wraps long error messages, so that a long request with unknown names gets several lines.
# The lines after the first one are read as the reply to the next request. No request runs code.
# check: --shutdown abort
# cases: malformed/injection malformed/syntax framing/single
# fault: The next request gets a wrong reply when a line is not an expression
import ast
import operator
import os
import signal
import socket
import sys
import textwrap
import threading

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def evaluate(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -evaluate(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, right = evaluate(node.left), evaluate(node.right)
        return left // right if left % right == 0 else left / right
    raise ValueError("unknown operation")


def reply(line):
    if len(line) > 30_000:
        return "error: too long"
    try:
        return str(evaluate(ast.parse(line.strip(), mode="eval").body))
    except Exception:
        if not any(letter.isalpha() for letter in line):
            return "error: syntax"
        shown = "".join(letter if letter.isprintable() else "?" for letter in line)
        return textwrap.fill(f"error: I do not understand this: {shown}", 64)


def serve(client):
    try:
        for line in client.makefile("r", newline="\n", errors="replace"):
            client.sendall((reply(line.rstrip("\n")) + "\n").encode())
    except OSError:
        pass
    finally:
        client.close()


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: os._exit(0))
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
spare = os.open("/dev/null", os.O_RDONLY)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        os.close(spare)
        listener.accept()[0].close()
        spare = os.open("/dev/null", os.O_RDONLY)
        continue
    threading.Thread(target=serve, args=(client,), daemon=True).start()
