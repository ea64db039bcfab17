"""server4: the loop of server3, and an echo server.

    python3 server4.py HOST PORT

How clients are served and what they are answered have nothing to do with each other: each line
comes back as it is. A client too many gets the line `error: busy, …` and a clean end.
"""

from lineserver import echo
from server3 import serve

if __name__ == "__main__":
    serve(echo)
