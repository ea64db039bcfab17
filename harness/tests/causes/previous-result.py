# A calculator that catches the error of a wrong expression, and then sends the previous result.
# check: --service calc
# cases: framing/single malformed/syntax results/division-by-zero
# fault: A division by zero does not get an error reply
# fault: A line that is not an expression gets a reply that is no error
# also: The server reports no error when control characters arrive
# also: The server exits when it has no free descriptor
import ast
import operator
import socket
import sys
import threading

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def value(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return -value(node.operand)
    return OPERATORS[type(node.op)](value(node.left), value(node.right))


def serve(client):
    result = 0
    with client, client.makefile("rb") as lines:
        for line in lines:
            try:
                result = value(ast.parse(line.strip(), mode="eval").body)
            except Exception:
                pass
            client.sendall(b"%r\n" % result)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
