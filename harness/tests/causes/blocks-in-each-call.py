# One thread waits with poll, then reads a whole line from the client that has sent something.
# check: --service echo
# cases: oversize/endless-beside timeouts/drip-beside back-pressure/others-are-served
# fault: Another client gets no reply when a line does not end
# also: The server exits when it has no free descriptor
import selectors
import socket
import sys

selector = selectors.DefaultSelector()
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=128)
selector.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            client, _ = listener.accept()
            selector.register(client, selectors.EVENT_READ)
            continue
        client = key.fileobj
        try:
            line = b""
            while not line.endswith(b"\n"):
                byte = client.recv(1)
                if not byte:
                    break
                line += byte
            client.sendall(line)
        except OSError as error:
            print("error:", error)
            line = b""
        if not line.endswith(b"\n"):
            selector.unregister(client)
            client.close()
