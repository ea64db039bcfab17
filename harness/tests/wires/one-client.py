# Wire protocol: one line per request and reply. The server serves one client, then exits.
import ast
import operator
import socket
import sys

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


with socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=0) as server:
    connection, address = server.accept()
    print("connected:", address, flush=True)
    with connection, connection.makefile("rb") as lines:
        try:
            for line in lines:
                connection.sendall(answer(line))
        except OSError:
            pass
print("the client has left, good bye")
