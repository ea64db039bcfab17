# Wire protocol: the client sends `HELLO`, and the server replies `OK`. Then one line per request
# and reply, until the client sends `quit`.
import ast
import operator
import socketserver
import sys
import time

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv, ast.USub: operator.neg}


def value(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](value(node.operand))
    return OPERATORS[type(node.op)](value(node.left), value(node.right))


class Calculator(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            if self.rfile.readline().strip() != b"HELLO":
                self.wfile.write(b"ERR say HELLO\n")
                return
            self.wfile.write(b"OK\n")
            for line in self.rfile:
                if line.strip() == b"quit":
                    return
                self.wfile.write(self.answer(line))
        except OSError:
            pass

    def answer(self, line):
        try:
            return f"{value(ast.parse(line.decode().strip(), mode='eval').body)}\n".encode()
        except Exception:
            return b"ERR not an expression\n"


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def get_request(self):
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.05)
            raise


Server((sys.argv[1], int(sys.argv[2])), Calculator).serve_forever()
