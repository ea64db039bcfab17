// An echo server with a process per client. Each reply has 64 bytes: the buffer, padded with NUL.
// check: --service echo --wire 'request = "{}", reply-end = { size = 64 }'
// cases: framing/ results/ isolation/
// also: Child processes of the server keep running when SIGTERM arrives during requests
// also: The server listens instead of reporting an error when it is given an invalid port
// probe: service = "echo"
// probe: reply-end = { size = 64 }
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 64

static void serve(int client) {
    char buffer[SIZE];
    for (;;) {
        memset(buffer, 0, SIZE);
        if (recv(client, buffer, SIZE, 0) <= 0) return;
        for (size_t sent = 0; sent < SIZE;) {
            ssize_t count = send(client, buffer + sent, SIZE - sent, 0);
            if (count <= 0) return;
            sent += (size_t)count;
        }
    }
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((unsigned short)atoi(arguments[2]));
    if (inet_pton(AF_INET, arguments[1], &address.sin_addr) != 1
        || bind(listener, (struct sockaddr *)&address, sizeof address) != 0
        || listen(listener, 128) != 0) {
        perror("cannot listen");
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            usleep(50000);
            continue;
        }
        if (fork() == 0) {
            close(listener);
            serve(client);
            _exit(0);
        }
        close(client);
    }
}
