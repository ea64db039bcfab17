import ast
import operator
import selectors
import socket
import sys
import time

OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

selector = selectors.DefaultSelector()


def value_of(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -value_of(node.operand)
    elif isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](value_of(node.left), value_of(node.right))
    raise ValueError("not an arithmetic expression")


def calculate(line):
    try:
        return str(value_of(ast.parse(line.decode().strip(), mode="eval").body)).encode() + b"\n"
    except ZeroDivisionError:
        return b"error: you cannot divide by zero\n"
    except Exception:
        return b"error: wrong input\n"


def accept(server, _):
    try:
        connection, _ = server.accept()
    except OSError as error:
        print("no more clients at the moment:", error)
        time.sleep(0.1)
        return
    selector.register(connection, selectors.EVENT_READ, (read, bytearray()))


def read(connection, buffer):
    data = connection.recv(4096)
    if not data:
        if buffer:
            connection.sendall(calculate(bytes(buffer)))
        selector.unregister(connection)
        connection.close()
        return
    buffer.extend(data)
    while b"\n" in buffer:
        line, _, rest = bytes(buffer).partition(b"\n")
        buffer[:] = rest
        connection.sendall(calculate(line))


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=100)
selector.register(server, selectors.EVENT_READ, (accept, None))
print("Server started on port", server.getsockname()[1], flush=True)
while True:
    for key, _ in selector.select():
        function, argument = key.data
        function(key.fileobj, argument)
