# A key-value server with CRLF, which is neither a calculator nor an echo server.
import signal
import socket
import sys
import threading
import time

values = {}


def answer(words):
    if len(words) == 3 and words[0] == "SET":
        values[words[1]] = words[2]
        return "+OK"
    if len(words) == 2 and words[0] == "GET":
        return "+" + values.get(words[1], "")
    return "-ERR unknown command"


def serve(client):
    try:
        with client, client.makefile("r", encoding="latin-1", newline="\n") as lines:
            client.sendall(b"+ready\r\n")
            for line in lines:
                client.sendall((answer(line.split()) + "\r\n").encode())
    except OSError:
        pass


for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_DFL)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
while True:
    try:
        client, _ = listener.accept()
    except OSError:
        time.sleep(0.05)
        continue
    threading.Thread(target=serve, args=(client,), daemon=True).start()
