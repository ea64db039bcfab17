"""Calculator with asyncio streams and a recursive descent parser."""

import asyncio
import re
import sys

LIMIT = 4096
DEPTH = 50


class NotAnExpression(Exception):
    pass


class Calculator:
    """sum = product { +- product }
    product = factor { */ factor }
    factor = number | - factor | ( sum )"""

    def __init__(self, text):
        self.tokens = re.findall(r"\d+\.?\d*|\.\d+|[^ \t]", text)
        self.position = 0
        self.depth = 0

    def peek(self):
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def next(self):
        token = self.peek()
        self.position += 1
        return token

    def sum(self):
        value = self.product()
        while self.peek() in ("+", "-"):
            value = value + self.product() if self.next() == "+" else value - self.product()
        return value

    def product(self):
        value = self.factor()
        while self.peek() in ("*", "/"):
            value = value * self.factor() if self.next() == "*" else value / self.factor()
        return value

    def factor(self):
        self.depth += 1
        if self.depth > DEPTH:
            raise NotAnExpression
        token = self.next()
        if token == "-":
            value = -self.factor()
        elif token == "(":
            value = self.sum()
            if self.next() != ")":
                raise NotAnExpression
        elif token is None or not re.match(r"\.?\d", token):
            raise NotAnExpression
        else:
            value = float(token) if "." in token else int(token)
        self.depth -= 1
        return value


def reply(line):
    try:
        calculator = Calculator(line.decode("ascii"))
        value = calculator.sum()
        if calculator.peek() is not None:
            raise NotAnExpression
        return f"{value}\n".encode()
    except ZeroDivisionError:
        return b"error: division by zero\n"
    except (NotAnExpression, ValueError, OverflowError):
        return b"error: not an expression\n"


async def lines(reader):
    """Yields lines without the line end. Discards a line that is too long, and yields None."""
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            line = end.partial
            if not line:
                return
        except asyncio.LimitOverrunError:
            yield None
            while await skipped_a_part(reader):
                pass
            continue
        line = line.rstrip(b"\n")
        line = line[:-1] if line.endswith(b"\r") else line
        yield line if len(line) <= LIMIT else None


async def skipped_a_part(reader):
    """Discards a part of a line that is too long. Returns whether more of it follows."""
    try:
        await reader.readuntil(b"\n")
        return False
    except asyncio.IncompleteReadError:
        return False
    except asyncio.LimitOverrunError as error:
        await reader.readexactly(error.consumed)
        return True


async def serve(reader, writer):
    try:
        async for line in lines(reader):
            writer.write(b"error: line too long\n" if line is None else reply(line))
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def main():
    host, port = sys.argv[1], int(sys.argv[2])
    server = await asyncio.start_server(serve, host, port, limit=LIMIT + 1, backlog=100)
    print("listening on", *server.sockets[0].getsockname()[:2], flush=True)
    await server.serve_forever()


asyncio.run(main())
