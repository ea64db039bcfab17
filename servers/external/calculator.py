"""The service `calc`: replies with the value of an expression, as Python computes it.

`7 / 2` is `3.5`, and integers have no limit. The server does not use eval, which would let clients
run code. Python's parser makes a syntax tree of the line, and only the operators below are
computed. The size of a request is limited before parsing, because the parser recurses. There is no
power operator, so a result has no more digits than the request.
"""

import ast
import math
import operator
import re

MAX_OPERATORS = 256  # including signs
MAX_PARENTHESES = 64

ALLOWED = re.compile(rb"[0-9.eE+\-*/%() \t]*")
OPERATOR = re.compile(rb"[+\-*/%]")

BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
UNARY = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class CalcError(Exception):
    """The request is not a valid expression, or has no finite value."""


def calc(line):
    """Returns the value of the expression, or a message that begins with `error: `."""
    try:
        return str(value(parse(line))).encode()
    except CalcError as error:
        return f"error: {error}".encode()
    except ZeroDivisionError:
        return b"error: division by zero"
    except OverflowError:
        return b"error: too large for a float"


def parse(line):
    """Returns the syntax tree of an expression within the limits."""
    if not ALLOWED.fullmatch(line):
        raise CalcError("unexpected character")
    if len(OPERATOR.findall(line)) > MAX_OPERATORS:
        raise CalcError(f"too many operators (limit {MAX_OPERATORS})")
    if line.count(b"(") > MAX_PARENTHESES:
        raise CalcError(f"too many parentheses (limit {MAX_PARENTHESES})")
    try:
        return ast.parse(line.strip().decode(), mode="eval").body
    except SyntaxError:
        raise CalcError("not an expression") from None


def value(node):
    """Returns the value of a syntax tree. An error never repeats bytes of the request."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return finite(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
        return UNARY[type(node.op)](value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        return finite(BINARY[type(node.op)](value(node.left), value(node.right)))
    raise CalcError("not an expression")


def finite(number):
    if isinstance(number, float) and not math.isfinite(number):
        raise CalcError("not a finite number")
    return number
