/* An echo server for one client at a time, whose processes the harness may not inspect: the program is
 * set-user-ID, or denies inspection itself (argument `hide`). It exits by itself after a minute. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words)
{
    alarm(60);
    if (count > 3 && strcmp(words[3], "hide") == 0)
        prctl(PR_SET_DUMPABLE, 0);
    else
        setuid(geteuid());
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    inet_pton(AF_INET, words[1], &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128))
        return 1;
    for (;;) {
        int client = accept(listener, NULL, NULL);
        char data[4096];
        ssize_t length;
        while ((length = read(client, data, sizeof data)) > 0)
            if (write(client, data, length) != length)
                break;
        close(client);
    }
}
