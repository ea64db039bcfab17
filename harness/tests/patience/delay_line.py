# Runs a server and a client in two network namespaces, and delays the packets between them. Arguments:
# the delay in one direction in ms, the command of the server, and the command of the client. The
# address of the server is 10.9.0.1. Exits with the status of the client; with 77, and the reason, if
# this machine does not permit such namespaces.
import collections
import ctypes
import fcntl
import os
import select
import shlex
import struct
import subprocess
import sys
import time

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SERVER, CLIENT = "10.9.0.1", "10.9.0.2"
LISTEN = "0A"
NOT_RUN = 77

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def new_network(address, peer):
    """Moves this thread to a new network namespace with a TUN device; returns both."""
    call(libc.unshare, CLONE_NEWNET)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"delayed", IFF_TUN | IFF_NO_PI))
    for command in (
        "link set lo up",
        f"address add {address} peer {peer} dev delayed",
        "link set delayed txqueuelen 10000",
        "link set delayed up",
    ):
        subprocess.run(["ip", *command.split()], check=True, stdout=subprocess.DEVNULL)
    return tun, os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def prepare():
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        call(libc.unshare, CLONE_NEWUSER)
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{file}", "w") as to:
                to.write(text)
    return new_network(SERVER, CLIENT), new_network(CLIENT, SERVER)


def start(command, network):
    return subprocess.Popen(
        shlex.split(command), preexec_fn=lambda: call(libc.setns, network, CLONE_NEWNET)
    )


def listens(process):
    with open(f"/proc/{process.pid}/net/tcp") as sockets:
        return any(line.split()[3] == LISTEN for line in sockets)


try:
    (server_tun, server_network), (client_tun, client_network) = prepare()
except (OSError, subprocess.SubprocessError) as error:
    print(f"this machine does not permit a delay line: {error}")
    sys.exit(NOT_RUN)
delay = float(sys.argv[1]) / 1000
server = start(sys.argv[2], server_network)
deadline = time.monotonic() + 20
while not listens(server) and time.monotonic() < deadline:
    time.sleep(0.02)
client = start(sys.argv[3], client_network)
# Packets in flight, with the times at which they arrive.
lines = [(server_tun, client_tun, collections.deque()), (client_tun, server_tun, collections.deque())]
while client.poll() is None:
    now, wait = time.monotonic(), 0.1
    for _, to, packets in lines:
        while packets and packets[0][0] <= now:
            try:
                os.write(to, packets.popleft()[1])
            except BlockingIOError:
                pass  # The packet is lost.
        if packets:
            wait = min(wait, packets[0][0] - now)
    readable, _, _ = select.select([server_tun, client_tun], [], [], max(0, wait))
    for source, _, packets in lines:
        try:
            while source in readable:
                packets.append((time.monotonic() + delay, os.read(source, 65536)))
        except BlockingIOError:
            pass
server.kill()
server.wait()
sys.exit(client.returncode)
