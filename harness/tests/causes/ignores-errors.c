// Checks neither the result of bind nor that of accept, and waits for no child.
// check: --service echo --shutdown abort
// cases: leaks/zombies startup/port-taken exhaustion/no-spin
// fault: Child processes that have exited are not waited for (zombies)
// fault: The server listens on another port when its port is in use
// cause: check the result of bind
// fault: Without a free descriptor the server spins: it keeps a CPU busy and does no work
// cause: check the result of accept
// also: The server listens instead of reporting an error when it is given an address of another machine
// also: The server listens instead of reporting an error when it is given an invalid port
// also: Child processes of the server keep running when SIGTERM arrives
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(atoi(arguments[2]));
    inet_pton(AF_INET, arguments[1], &address.sin_addr);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 128);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (fork() == 0) {
            FILE *input = fdopen(client, "r");
            char *line = NULL;
            size_t size = 0;
            ssize_t length;
            if (input == NULL)
                exit(1);
            while ((length = getline(&line, &size, input)) > 0)
                for (ssize_t sent = 0; sent < length;) {
                    ssize_t written = write(client, line + sent, length - sent);
                    if (written < 0)
                        exit(1);
                    sent += written;
                }
            exit(0);
        }
        close(client);
        // The machine must not run out of processes.
        clock_t begin = clock();
        while (client < 0 && clock() - begin < CLOCKS_PER_SEC / 1000)
            ;
    }
}
