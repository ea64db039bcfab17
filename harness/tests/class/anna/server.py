"""Calculator server. One thread per client, at most four clients. The fifth gets a busy line.

python3 server.py HOST PORT
"""

import re
import socket
import sys
import threading
import time

MAX_CLIENTS = 4
ALLOWED = re.compile(rb"[0-9+\-*/. ()]+")

slots = threading.Semaphore(MAX_CLIENTS)


def calculate(line):
    line = line.strip()
    # After this check eval is safe: the line has no letters, so no names.
    if not ALLOWED.fullmatch(line) or b"**" in line or b"//" in line:
        return "error: only numbers and + - * / ( ) please"
    try:
        value = eval(line)
        if isinstance(value, (int, float)):
            return str(value)
        return "error: not an expression"
    except ZeroDivisionError:
        return "error: division by zero"
    except Exception:
        return "error: not an expression"


def handle(client):
    try:
        buffer = b""
        while True:
            data = client.recv(4096)
            if not data:
                break
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                client.sendall(calculate(line).encode() + b"\n")
        if buffer:
            client.sendall(calculate(buffer).encode() + b"\n")
    except OSError:
        pass  # the client has disconnected
    slots.release()
    client.close()


def reject(client):
    try:
        client.settimeout(1)
        client.sendall(b"error: busy\n")
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass  # a close with unread input would discard the busy line
    except OSError:
        pass
    client.close()


def main():
    server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=50)
    print("listening on", *server.getsockname(), flush=True)
    while True:
        try:
            client, address = server.accept()
        except OSError:
            time.sleep(0.05)
            continue
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = handle if slots.acquire(blocking=False) else reject
        threading.Thread(target=target, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
