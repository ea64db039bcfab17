/* Preloaded into the harness: hides parts of the kernel's interfaces, as other kernels and sandboxes do.
 * The variable HIDE selects which. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int is_hidden(const char *path)
{
    const char *what = getenv("HIDE");
    if (what == NULL || path == NULL)
        return 0;
    if (strcmp(what, "children") == 0) {
        size_t length = strlen(path);
        return length > 9 && strcmp(path + length - 9, "/children") == 0;
    }
    return strcmp(what, "sockets") == 0 && strstr(path, "/net/tcp") != NULL;
}

typedef int open_function(const char *, int, ...);

static int forward(const char *name, const char *path, int flags, mode_t mode)
{
    if (is_hidden(path)) {
        errno = ENOENT;
        return -1;
    }
    return ((open_function *)dlsym(RTLD_NEXT, name))(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return forward("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return forward("open64", path, flags, mode);
}

int socket(int domain, int type, int protocol)
{
    const char *what = getenv("HIDE");
    if (domain == AF_NETLINK && what != NULL && strcmp(what, "sockets") == 0) {
        errno = EPERM;
        return -1;
    }
    return ((int (*)(int, int, int))dlsym(RTLD_NEXT, "socket"))(domain, type, protocol);
}
