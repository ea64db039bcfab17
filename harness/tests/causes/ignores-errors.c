// Checks neither the result of bind nor that of accept, and waits for no child.
// check: --service echo --shutdown abort
// cases: startup/port-taken exhaustion/new-connections
// fault: The server exceeds the limit of threads and processes when it has no free descriptor
// cause: check the result of accept
// fault: The server listens on another port when its port is in use
// cause: check the result of bind
// also: Child processes that have exited are not waited for (zombies)
// also: Child processes of the server keep running when SIGTERM arrives
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
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
            char buffer[65536];
            ssize_t length;
            while ((length = read(client, buffer, sizeof buffer)) > 0)
                for (ssize_t sent = 0; sent < length;) {
                    ssize_t written = write(client, buffer + sent, length - sent);
                    if (written < 0)
                        exit(1);
                    sent += written;
                }
            exit(0);
        }
        close(client);
    }
}
