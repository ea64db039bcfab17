# Wire protocol: echoes the bytes of each recv, without a line end. The echo server of textbooks.
import socket
import sys
import threading
import time


def echo(conn, addr):
    print("Connected by", addr, flush=True)
    with conn:
        try:
            while True:
                data = conn.recv(1024)
                if not data:
                    break
                conn.sendall(data)
        except OSError:
            pass


with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((sys.argv[1], int(sys.argv[2])))
    s.listen(64)
    while True:
        try:
            conn, addr = s.accept()
        except OSError:
            time.sleep(0.05)
            continue
        threading.Thread(target=echo, args=(conn, addr), daemon=True).start()
