# One select loop for all clients. Exercise 4, Bert
import ast
import operator
import select
import socket
import sys
import time

OPS = {ast.Add: operator.add, ast.Sub: operator.sub,
       ast.Mult: operator.mul, ast.Div: operator.truediv}


def evaluate(node):
    if isinstance(node, ast.Expression):
        return evaluate(node.body)
    if isinstance(node, ast.BinOp):
        return OPS[type(node.op)](evaluate(node.left), evaluate(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -evaluate(node.operand)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    raise SyntaxError("not allowed")


def answer(line):
    try:
        return str(evaluate(ast.parse(line.decode("ascii").strip(), mode="eval")))
    except ZeroDivisionError:
        return "error: division by zero"
    except Exception:
        return "error: syntax"


class Client:
    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock
        self.incoming = b""
        self.outgoing = b""
        self.finished = False

    def fileno(self):
        return self.sock.fileno()

    def read(self):
        data = self.sock.recv(4096)
        if data:
            self.incoming += data
            *lines, self.incoming = self.incoming.split(b"\n")
        else:
            self.finished = True
            lines = [self.incoming] if self.incoming else []
        for line in lines:
            self.outgoing += answer(line).encode() + b"\n"

    def write(self):
        sent = self.sock.send(self.outgoing)
        self.outgoing = self.outgoing[sent:]


server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=50)
server.setblocking(False)
print(f"listening on {server.getsockname()[1]}", flush=True)
clients = []
while True:
    # Do not read from a client that has not read its replies.
    readers = [client for client in clients if not client.outgoing]
    writers = [client for client in clients if client.outgoing]
    if len(clients) < 900:
        readers.append(server)
    readable, writable, _ = select.select(readers, writers, [])
    for client in set(readable + writable) - {server}:
        try:
            if client in readable:
                client.read()
            if client.outgoing:
                client.write()
        except BlockingIOError:
            pass
        except OSError:
            client.finished, client.outgoing = True, b""
        if client.finished and not client.outgoing:
            clients.remove(client)
            client.sock.close()
    if server in readable:
        try:
            clients.append(Client(server.accept()[0]))
        except OSError:
            time.sleep(0.02)
