/* Preloaded into the harness: hides parts of the kernel's interfaces, as other kernels and sandboxes do.
 * The variable HIDE selects which. The first time, it creates the file that HIDDEN names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static int hide(int number)
{
    open_function *real = (open_function *)dlsym(RTLD_NEXT, "open");
    const char *file = getenv("HIDDEN");
    if (file != NULL)
        close(real(file, O_WRONLY | O_CREAT, 0666));
    errno = number;
    return -1;
}

static int forward(const char *name, const char *path, int flags, mode_t mode)
{
    if (is_hidden(path))
        return hide(ENOENT);
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
    if (domain == AF_NETLINK && what != NULL && strcmp(what, "sockets") == 0)
        return hide(EPERM);
    return ((int (*)(int, int, int))dlsym(RTLD_NEXT, "socket"))(domain, type, protocol);
}
