// An echo server with poll. It exits when recv returns 0.
// check: --service echo --shutdown abort
// cases: disconnects/ framing/single isolation/churn malformed/empty-line
// fault: The server exits when a client connects and closes the connection
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS 512

static struct pollfd watched[MAX_CLIENTS + 1];
static int count = 1;

static void drop(int index) {
    close(watched[index].fd);
    watched[index] = watched[--count];
}

static void serve(int index) {
    char buffer[4096];
    ssize_t length = recv(watched[index].fd, buffer, sizeof buffer, 0);
    if (length == 0)
        exit(0);
    for (ssize_t sent = 0, n; length > 0 && sent < length; sent += n) {
        n = send(watched[index].fd, buffer + sent, length - sent, MSG_NOSIGNAL);
        if (n < 0)
            length = -1;
    }
    if (length < 0)
        drop(index);
}

int main(int argc, char **argv) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (argc < 3 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
        fprintf(stderr, "usage: %s HOST PORT\n", argv[0]);
        return 1;
    }
    address.sin_port = htons(atoi(argv[2]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0) {
        perror("bind");
        return 1;
    }
    printf("listening on port %s\n", argv[2]);
    fflush(stdout);
    watched[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    while (poll(watched, count, -1) >= 0) {
        for (int index = count - 1; index > 0; index--)
            if (watched[index].revents)
                serve(index);
        int client = watched[0].revents ? accept(listener, NULL, NULL) : -1;
        if (client >= 0 && count <= MAX_CLIENTS)
            watched[count++] = (struct pollfd){.fd = client, .events = POLLIN};
        else if (client >= 0)
            close(client);
    }
    return 1;
}
