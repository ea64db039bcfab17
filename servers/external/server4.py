"""server4: the event loop of server3 as an echo server.

    python3 server4.py HOST PORT

The event loop and the service are independent: here each line is echoed. A connection over the
limit gets the line `error: busy, …` and a clean close.
"""

from lineserver import echo
from server3 import serve

if __name__ == "__main__":
    serve(echo)
