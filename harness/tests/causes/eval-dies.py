# A calculator that evaluates requests with eval, without builtins. A result that is no number ends it.
# check: --division exact
# cases: framing/single results/arithmetic malformed/injection
# fault: A client can run code on the server's host
# probe: service = "calc"
import os
import socket
import sys
import threading
import time


def answer(line):
    try:
        value = eval(line, {"__builtins__": {}})
    except Exception:
        return "error: not an expression\n"
    try:
        return f"{value!r}\n" if isinstance(value, float) else f"{value:d}\n"
    except Exception as error:
        print("cannot print the result:", error, file=sys.stderr, flush=True)
        os._exit(1)


def serve(client):
    try:
        with client, client.makefile("rb") as lines:
            for line in lines:
                client.sendall(answer(line.decode("latin-1").strip()).encode())
    except OSError:
        pass


listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        time.sleep(0.05)
        continue
    threading.Thread(target=serve, args=(client,), daemon=True).start()
