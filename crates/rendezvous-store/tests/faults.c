/* Counts the calls by which a process changes what is below a directory, and has the n-th go wrong. Preloaded.
 *
 * FAULTS_BELOW  the directory
 * FAULTS_AT     the first call to go wrong; 0 for none
 * FAULTS_COUNT  how many go wrong from there
 * FAULTS_WHILE  in place of both: calls go wrong while this file is there
 * FAULTS_MODE   fail: they fail with FAULTS_ERRNO
 *               kill: the process ends before the call
 *               tear: a write writes half, then the process ends
 * FAULTS_LOG    a file to which each call is appended when it has returned, and each write to the standard output before it
 *               begins
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int calls;
static int log_fd = -1;
static char below[4096];
static const char *while_there;
static int at, count, error_number;
static char mode = 'n';

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAULTS_BELOW");
    if (!text) return;
    snprintf(below, sizeof below, "%s/", text);
    at = (text = getenv("FAULTS_AT")) ? atoi(text) : 0;
    count = (text = getenv("FAULTS_COUNT")) ? atoi(text) : 1;
    while_there = getenv("FAULTS_WHILE");
    error_number = (text = getenv("FAULTS_ERRNO")) ? atoi(text) : EIO;
    mode = (text = getenv("FAULTS_MODE")) ? text[0] : 'n';
    text = getenv("FAULTS_LOG");
    if (text) log_fd = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_below(const char *path) {
    return below[0] && strncmp(path, below, strlen(below)) == 0;
}

static int name_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, size - 1);
    if (len < 0) return 0;
    path[len] = 0;
    /* The directory itself is synced, too. */
    return is_below(path) || (below[0] && strncmp(path, below, strlen(below) - 1) == 0 && (size_t)len == strlen(below) - 1);
}

static void note(const char *call, const char *path, long result) {
    if (log_fd < 0) return;
    char line[4200];
    int len = snprintf(line, sizeof line, "%s %ld %s\n", call, result, path);
    syscall(SYS_write, log_fd, line, len);
}

/* 0: go on; 1: fail; 2: tear */
static int fault(void) {
    int number = atomic_fetch_add(&calls, 1) + 1;
    if (while_there ? syscall(SYS_faccessat, AT_FDCWD, while_there, F_OK) != 0
                    : at == 0 || number < at || number >= at + count)
        return 0;
    if (mode == 'k') syscall(SYS_exit_group, 137);
    if (mode == 't') return 2;
    if (mode == 'f') {
        errno = error_number;
        return 1;
    }
    return 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* What lies within a sector is written whole or not at all; of the files here, that is the mark. */
static void tear(int fd, const char *path, const void *bytes, size_t len, off_t offset) {
    size_t name_len = strlen(path);
    if (len > 1 && strcmp(path + (name_len < 5 ? 0 : name_len - 5), "/mark") != 0) {
        if (offset < 0) syscall(SYS_write, fd, bytes, len / 2);
        else syscall(SYS_pwrite64, fd, bytes, len / 2, offset);
    }
    syscall(SYS_exit_group, 137);
}

ssize_t write(int fd, const void *bytes, size_t len) {
    char path[4096];
    if (fd == 1 && log_fd >= 0) {
        char text[64];
        snprintf(text, sizeof text, "%.*s", (int)(len < 40 ? len : 40), (const char *)bytes);
        text[strcspn(text, "\n")] = 0;
        note("stdout", text, (long)len);
    }
    if (!name_of(fd, path, sizeof path)) return NEXT(write)(fd, bytes, len);
    int f = fault();
    if (f == 1) return -1;
    if (f == 2) tear(fd, path, bytes, len, -1);
    ssize_t result = NEXT(write)(fd, bytes, len);
    note("write", path, result);
    return result;
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    char path[4096];
    if (!name_of(fd, path, sizeof path)) return NEXT(writev)(fd, parts, n);
    int f = fault();
    if (f == 1) return -1;
    if (f == 2) tear(fd, path, parts[0].iov_base, parts[0].iov_len, -1);
    ssize_t result = NEXT(writev)(fd, parts, n);
    note("write", path, result);
    return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) {
    char path[4096];
    if (!name_of(fd, path, sizeof path)) return NEXT(pwrite64)(fd, bytes, len, offset);
    int f = fault();
    if (f == 1) return -1;
    if (f == 2) tear(fd, path, bytes, len, offset);
    ssize_t result = NEXT(pwrite64)(fd, bytes, len, offset);
    note("write", path, result);
    return result;
}

#define OF_FD(type, name, kind, parameters, arguments)                          \
    type name parameters {                                                      \
        char path[4096];                                                        \
        if (!name_of(fd, path, sizeof path)) return NEXT(name) arguments;       \
        int f = fault();                                                        \
        if (f == 1) return -1;                                                  \
        if (f == 2) syscall(SYS_exit_group, 137);                               \
        type result = NEXT(name) arguments;                                     \
        note(kind, path, result);                                               \
        return result;                                                          \
    }

OF_FD(int, fsync, "sync", (int fd), (fd))
OF_FD(int, fdatasync, "sync", (int fd), (fd))
OF_FD(int, ftruncate, "truncate", (int fd, off_t len), (fd, len))
OF_FD(int, ftruncate64, "truncate", (int fd, off64_t len), (fd, len))

#define OF_PATH(type, name, kind, of, parameters, arguments)                    \
    type name parameters {                                                      \
        if (!is_below(of)) return NEXT(name) arguments;                         \
        int f = fault();                                                        \
        if (f == 1) return -1;                                                  \
        if (f == 2) syscall(SYS_exit_group, 137);                               \
        type result = NEXT(name) arguments;                                     \
        note(kind, of, result);                                                 \
        return result;                                                          \
    }

OF_PATH(int, rename, "rename", to, (const char *from, const char *to), (from, to))
OF_PATH(int, mkdir, "mkdir", path, (const char *path, mode_t bits), (path, bits))

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode_t bits = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                           \
        if (!(flags & O_CREAT) || !is_below(path)) return NEXT(name)(path, flags, bits); \
        int f = fault();                                                        \
        if (f == 1) return -1;                                                  \
        if (f == 2) syscall(SYS_exit_group, 137);                               \
        int result = NEXT(name)(path, flags, bits);                             \
        note("create", path, result);                                           \
        return result;                                                          \
    }

OPEN(open)
OPEN(open64)
