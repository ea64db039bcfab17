# A calculator whose results end with CR LF, and whose error replies end with LF. It logs each error.
# check: --shutdown abort --wire 'reply-end = "\r\n"'
# cases: results/division-by-zero malformed/syntax framing/single
# fault: A reply ends with another line end than the other replies when a client divides by zero
import ast
import operator
import os
import signal
import socket
import sys
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
    except Exception as error:
        print("ValueError:", error, file=sys.stderr, flush=True)
        return "error: no expression"


def serve(client):
    try:
        for line in client.makefile("r", newline="\n", errors="replace"):
            text = reply(line.rstrip("\n"))
            client.sendall((text + ("\n" if text.startswith("error") else "\r\n")).encode())
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
