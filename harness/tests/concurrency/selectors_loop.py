# One event loop. The third argument is the selector class of the module selectors.
import selectors
import socket
import sys

listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
selector = getattr(selectors, sys.argv[3])()
selector.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        ready = key.fileobj
        if ready is listener:
            selector.register(listener.accept()[0], selectors.EVENT_READ)
        elif data := ready.recv(4096):
            ready.sendall(data)
        else:
            selector.unregister(ready)
            ready.close()
