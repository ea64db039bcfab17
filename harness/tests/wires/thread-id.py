# Wire protocol: a request is a line. A reply is a line `[Thread-140…] = 42` with the identifier of
# the thread of the client.
import re
import socket
import sys
from threading import Thread, get_ident
from time import sleep

ALLOWED = re.compile(r"[0-9+\-*/. ()]+")


def calculate(text):
    if not ALLOWED.fullmatch(text) or "**" in text or "//" in text:
        return "invalid"
    try:
        result = eval(text)
        return str(result) if isinstance(result, (int, float)) else "invalid"
    except Exception:
        return "invalid"


class ClientThread(Thread):
    def __init__(self, client):
        super().__init__(daemon=True)
        self.client = client

    def run(self):
        with self.client, self.client.makefile("rb") as lines:
            try:
                for line in lines:
                    result = calculate(line.decode("latin-1").strip())
                    self.client.sendall(f"[Thread-{get_ident()}] = {result}\n".encode())
            except OSError:
                pass


server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen(50)
while True:
    try:
        ClientThread(server.accept()[0]).start()
    except OSError:
        sleep(0.1)
