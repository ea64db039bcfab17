// An echo server with a thread per client. "quit" ends the server instead of the connection.
// check: --service echo --wire 'quit = "quit\n"'
// cases: framing/ results/ wire/
// fault: The server exits when a client sends the quit command
// also: The server listens instead of reporting an error when it is given an invalid port
// probe: service = "echo"
// probe: "quit" makes the server exit, so that any client can stop it for all others: this is a fault, and is not declared
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int send_all(int client, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(client, bytes, length, 0);
        if (sent <= 0) return -1;
        bytes += sent;
        length -= (size_t)sent;
    }
    return 0;
}

static void *serve(void *argument) {
    int client = (int)(long)argument;
    FILE *lines = fdopen(client, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while (lines != NULL && (length = getline(&line, &size, lines)) > 0) {
        if (length == 5 && memcmp(line, "quit\n", 5) == 0) exit(0);
        if (line[length - 1] == '\n') length--;
        if (length > 0 && line[length - 1] == '\r') length--;
        line[length] = '\n';
        if (send_all(client, line, (size_t)length + 1) != 0) break;
    }
    free(line);
    if (lines != NULL) fclose(lines);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    signal(SIGPIPE, SIG_IGN);
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
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(long)client) != 0) close(client);
        else pthread_detach(thread);
    }
}
