# Wire protocol: a greeting of two lines, then one line per request and reply.
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
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](value(node.left), value(node.right))
    raise ValueError(node)


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            self.wfile.write(b"Welcome to the calculator.\nOne expression per line, please.\n")
            for line in self.rfile:
                self.wfile.write(self.answer(line) + b"\n")
        except OSError:
            pass

    def answer(self, line):
        try:
            return str(value(ast.parse(line.decode().strip(), mode="eval").body)).encode()
        except Exception:
            return b"That is no expression."


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


with Server((sys.argv[1], int(sys.argv[2])), Handler) as server:
    server.serve_forever()
