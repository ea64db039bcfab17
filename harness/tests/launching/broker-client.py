# A client of broker.py: lets it start a server, and runs until SIGTERM. With `detach`, it exits at once.
import socket
import sys

broker = socket.socket(socket.AF_UNIX)
broker.connect(sys.argv[1])
broker.sendall(f"{sys.argv[2]} {sys.argv[3]}\n".encode())
broker.recv(4096)
if "detach" not in sys.argv[4:]:
    broker.recv(4096)
