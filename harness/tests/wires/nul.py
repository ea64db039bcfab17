# Wire protocol: a NUL byte ends each request and each reply. An error reply has two lines.
import ast
import asyncio
import operator
import sys

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
             ast.Div: operator.truediv, ast.USub: operator.neg}

ERROR = b"invalid format\nusage: NUMBER+NUMBER\0"


def value(node):
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](value(node.operand))
    return OPERATORS[type(node.op)](value(node.left), value(node.right))


def answer(request):
    try:
        return str(value(ast.parse(request.decode().strip(), mode="eval").body)).encode() + b"\0"
    except Exception:
        return ERROR


async def serve(reader, writer):
    try:
        while True:
            request = await reader.readuntil(b"\0")
            writer.write(answer(request[:-1]))
            await writer.drain()
    except asyncio.IncompleteReadError as end:
        if end.partial:
            writer.write(answer(end.partial))
    except asyncio.LimitOverrunError:
        writer.write(ERROR)
    except OSError:
        pass
    writer.close()


async def main(host, port):
    server = await asyncio.start_server(serve, host, int(port))
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:3]))
