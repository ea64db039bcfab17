# Four processes with an event loop each. The third argument is the selector class.
import os
import selectors
import socket
import sys

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
listener.setblocking(False)
for _ in range(3):
    if os.fork() == 0:
        break
selector = getattr(selectors, sys.argv[3])()
selector.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        ready = key.fileobj
        if ready is listener:
            try:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            except BlockingIOError:
                pass
        elif data := ready.recv(4096):
            ready.sendall(data)
        else:
            selector.unregister(ready)
            ready.close()
