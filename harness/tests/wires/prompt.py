# Wire protocol: a greeting line and a prompt `> `. Each reply is a line, and a prompt follows.
import asyncio
import re
import sys

TOKEN = re.compile(r"\d+\.\d*|\.\d+|\d+|\S")


def sums(tokens):
    result = products(tokens)
    while tokens[-1] in "+-":
        result += products(tokens) if tokens.pop() == "+" else -products(tokens)
    return result


def products(tokens):
    result = factor(tokens)
    while tokens[-1] in "*/":
        result = result * factor(tokens) if tokens.pop() == "*" else result / factor(tokens)
    return result


def factor(tokens):
    token = tokens.pop()
    if token == "-":
        return -factor(tokens)
    if token != "(":
        return float(token) if "." in token else int(token)
    result = sums(tokens)
    if tokens.pop() != ")":
        raise ValueError("unbalanced")
    return result


def answer(line):
    try:
        tokens = TOKEN.findall(line.decode("ascii") + ";")[::-1]
        result = sums(tokens)
        return str(result) if tokens == [";"] else "error: what follows is not clear"
    except ZeroDivisionError:
        return "error: division by zero"
    except (ValueError, OverflowError, RecursionError, IndexError):
        return "error: cannot read that"


async def serve(reader, writer):
    try:
        writer.write(b"calculator, at your service\n> ")
        while line := await reader.readline():
            writer.write(answer(line).encode() + b"\n> ")
            await writer.drain()
    except (OSError, ValueError):
        pass  # the client has disconnected, or its line is too long
    writer.close()


async def main(host, port):
    server = await asyncio.start_server(serve, host, int(port))
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:3]))
