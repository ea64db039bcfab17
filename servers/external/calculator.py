"""The service `calc`: a line that holds an expression is answered by its value, as Python has it.

`7 / 2` is `3.5`, and whole numbers have no limit. There is no eval here, which would hand the
server to any stranger: Python's own parser makes a tree of the line, and only what is named below
is computed. Whoever is not to be trusted is bounded before anything is parsed, because a parser
recurses, and a stack has an end. Without a power, a result has no more digits than the request.
"""

import ast
import math
import operator
import re

MOST_OPERATORS = 256  # signs included
MOST_PARENTHESES = 64

ALPHABET = re.compile(rb"[0-9.eE+\-*/%() \t]*")
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


class Refused(Exception):
    """The request has no value, and why."""


def calc(line):
    """The value of the expression, or words that begin with `error: `."""
    try:
        return str(value(parse(line))).encode()
    except Refused as error:
        return f"error: {error}".encode()
    except ZeroDivisionError:
        return b"error: division by zero"
    except OverflowError:
        return b"error: too large for a float"


def parse(line):
    """The tree of an expression that is small enough to be computed without a care."""
    if not ALPHABET.fullmatch(line):
        raise Refused("unexpected character")
    if len(OPERATOR.findall(line)) > MOST_OPERATORS:
        raise Refused(f"too many operators (limit {MOST_OPERATORS})")
    if line.count(b"(") > MOST_PARENTHESES:
        raise Refused(f"too many parentheses (limit {MOST_PARENTHESES})")
    try:
        return ast.parse(line.strip().decode(), mode="eval").body
    except SyntaxError:
        raise Refused("not an expression") from None


def value(node):
    """What a tree is worth. The error never repeats any of the client's bytes."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return finite(node.value)
    if isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
        return UNARY[type(node.op)](value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        return finite(BINARY[type(node.op)](value(node.left), value(node.right)))
    raise Refused("not an expression")


def finite(number):
    if isinstance(number, float) and not math.isfinite(number):
        raise Refused("not a finite number")
    return number
