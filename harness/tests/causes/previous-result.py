# A calculator that catches the error of a wrong expression, and then sends the previous result.
# check: --service calc
# cases: framing/single malformed/syntax results/division-by-zero
# fault: A division by zero does not get an error reply
# fault: A line that is not an expression gets a reply that is no error
# also: The server reports no error when control characters arrive
# also: The server exits when it has no free descriptor
import re
import socket
import sys
import threading


def serve(client):
    result = 0
    with client, client.makefile("rb") as lines:
        for line in lines:
            try:
                # Only numbers, operators and parentheses: eval can run nothing else.
                result = eval(re.fullmatch(rb"[-+*/%().0-9 ]+", line.strip()).group())
            except Exception:
                pass
            client.sendall(b"%r\n" % result)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client,), daemon=True).start()
