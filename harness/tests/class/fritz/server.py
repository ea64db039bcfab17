# Fritz. Works with telnet and with my client.
import re
import socket
import sys
import threading
import time


def calc(s):
    if not re.fullmatch(r"[\d+\-*/(). ]+", s, re.ASCII) or "**" in s:
        return "error: illegal character"
    try:
        result = eval(s)
        return str(result) if isinstance(result, (int, float)) else "error: illegal expression"
    except Exception as e:
        return "error: " + type(e).__name__


def client(c):
    try:
        while True:
            request = c.recv(1024)
            if len(request) == 0:
                break
            c.send((calc(request.decode("latin-1").strip()) + "\n").encode())
    except OSError:
        pass
    c.close()


s = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    try:
        c, a = s.accept()
    except OSError:
        time.sleep(0.1)
        continue
    threading.Thread(target=client, args=(c,), daemon=True).start()
