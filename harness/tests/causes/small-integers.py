# A calculator with integers of 32 bits, which wrap.
# check: --service calc
# cases: results/arithmetic
# fault: A result is wrong
# also: A line that is not an expression gets a reply that is no error
# cause: 32 bits
# also: Without a free descriptor the server spins: it keeps a CPU busy and does no work
import socketserver
import sys


def wrapped(number):
    return (number + 2**31) % 2**32 - 2**31


class Integer(int):
    def __add__(self, other):
        if isinstance(other, float):
            return float(self) + other
        return Integer(wrapped(int(self) + int(other)))

    def __sub__(self, other):
        if isinstance(other, float):
            return float(self) - other
        return Integer(wrapped(int(self) - int(other)))

    def __mul__(self, other):
        if isinstance(other, float):
            return float(self) * other
        return Integer(wrapped(int(self) * int(other)))

    def __neg__(self):
        return Integer(wrapped(-int(self)))


class Parser:
    def __init__(self, text):
        self.text = text.replace(" ", "")
        self.at = 0

    def peek(self):
        return self.text[self.at : self.at + 1]

    def take(self):
        self.at += 1
        return self.text[self.at - 1]

    def sum(self):
        value = self.product()
        while self.peek() and self.peek() in "+-":
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self):
        value = self.factor()
        while self.peek() and self.peek() in "*/":
            if self.take() == "*":
                value = value * self.factor()
            else:
                divisor = self.factor()
                if isinstance(value, float) or isinstance(divisor, float):
                    value = value / divisor
                    continue
                quotient = abs(value) // abs(divisor)
                value = Integer(wrapped(quotient if (value < 0) == (divisor < 0) else -quotient))
        return value

    def factor(self):
        if self.peek() == "-":
            self.take()
            return -self.factor()
        if self.peek() == "(":
            self.take()
            value = self.sum()
            if self.take() != ")":
                raise ValueError
            return value
        start = self.at
        while self.peek().isdigit() or self.peek() == ".":
            self.at += 1
        if "." in self.text[start : self.at]:
            return float(self.text[start : self.at])
        return Integer(wrapped(int(self.text[start : self.at])))


class Client(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            try:
                parser = Parser(line.decode("ascii").strip())
                value = parser.sum()
                reply = str(value) if not parser.peek() else "error: syntax"
            except (ArithmeticError, IndexError, RecursionError, ValueError):
                reply = "error: invalid"
            self.wfile.write(reply.encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


Server((sys.argv[1], int(sys.argv[2])), Client).serve_forever()
