# calculator server, dora
import re
import socket
import sys
import threading
import time

NUMBER = re.compile(r"\s*(\d+\.\d+|\d+)\s*")


def parse_value(text, pos):
    """Reads a number, a negative one or something in parentheses. Returns value and position."""
    text_from = text[pos:].lstrip()
    pos = len(text) - len(text_from)
    if text_from.startswith("-"):
        value, pos = parse_value(text, pos + 1)
        return -value, pos
    if text_from.startswith("("):
        value, pos = parse_expression(text, pos + 1)
        if text[pos:pos + 1] != ")":
            raise ValueError("parenthesis")
        pos += 1
        while text[pos:pos + 1] == " ":
            pos += 1
        return value, pos
    match = NUMBER.match(text, pos)
    if not match:
        raise ValueError("number")
    return (float(match[1]) if "." in match[1] else int(match[1])), match.end()


def parse_expression(text, pos):
    value, pos = parse_value(text, pos)
    while text[pos:pos + 1] and text[pos] in "+-*/":
        operator = text[pos]
        right, pos = parse_value(text, pos + 1)
        # calculate it step by step
        if operator == "+":
            value = value + right
        elif operator == "-":
            value = value - right
        elif operator == "*":
            value = value * right
        else:
            value = value / right
    return value, pos


def calculate(line):
    try:
        value, pos = parse_expression(line, 0)
        if line[pos:].strip():
            return "error: syntax"
        return str(value)
    except ZeroDivisionError:
        return "error: division by zero"
    except (ValueError, OverflowError, RecursionError):
        return "error: syntax"


def client_thread(client):
    with client, client.makefile("rb") as requests:
        try:
            for request in requests:
                text = request.decode("latin-1").rstrip("\r\n")
                client.sendall((calculate(text) + "\n").encode())
        except OSError:
            pass


server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen(20)
while True:
    try:
        client, addr = server.accept()
        threading.Thread(target=client_thread, args=(client,), daemon=True).start()
    except OSError:
        time.sleep(0.1)
