/* A disk in trouble, as its gateway sees it. Preloaded into the gateway (LD_PRELOAD) and never linked with it.
 *
 *   DISK_SLOW    while a file of this name exists, each sync takes a third of a second; else none takes any time, however busy
 *                the real disk is
 *   DISK_SMALL   while a file of this name exists, file systems say that a hundredth of them is left; else a half, however full
 *                the real disk is
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static int is_ordered(const char *name) {
    const char *path = getenv(name);
    return path && access(path, F_OK) == 0;
}

int fsync(int fd) {
    (void)fd;
    struct timespec third = {0, 333000000};
    if (is_ordered("DISK_SLOW")) nanosleep(&third, NULL);
    return 0;
}
int fdatasync(int fd) { return fsync(fd); }

int statvfs(const char *path, struct statvfs *found) {
    int (*real)(const char *, struct statvfs *) = (int (*)(const char *, struct statvfs *))dlsym(RTLD_NEXT, "statvfs");
    int done = real(path, found);
    if (done == 0) found->f_bavail = found->f_blocks / (is_ordered("DISK_SMALL") ? 100 : 2);
    return done;
}
