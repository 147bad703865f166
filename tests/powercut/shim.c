/* What a process did to the files below a folder, in order, so that a test can work out what a power cut would have
 * left of them. It is preloaded into the gateway (LD_PRELOAD) and never linked with it.
 *
 * Every change is carried out and then appended to a journal outside that folder, both under one lock, so that the
 * journal has the order of the changes. A sync is journaled after it was carried out, with the length that the
 * journal had before it began: it covers what stands in the journal up to there, and nothing later.
 *
 *   POWERCUT_FOLDER   the folder that is watched, an absolute path without symbolic links
 *   POWERCUT_JOURNAL  where the journal goes; it must not be in that folder
 *   POWERCUT_SWALLOW  set: syncs say yes and do nothing, as in a build that forgot them
 *   POWERCUT_FAULT    while a file of this name exists, the next sync takes it away and fails with EIO
 *
 * A record: kind (1 byte), file number (4), argument (8), length of what follows (4), then so many bytes; all little
 * endian. Kinds: O a file was there before (path), C a file was made (path), W bytes at an offset, T cut to a length,
 * S synced up to a place of the journal, D a directory synced likewise (path), F a sync that failed likewise,
 * R renamed (old, NUL, new), L linked likewise, U unlinked (path), M a directory was made (path). Paths are relative to the folder.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST_FDS = 65536, MOST_FILES = 4096, DIRECTORY = -1 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static const char *fault;
static int swallow;
static int journal = -1;
static uint64_t written;                                /* bytes of the journal */
static int number_of[MOST_FDS];                         /* file number, DIRECTORY, or 0: not watched */
static struct { dev_t device; ino_t inode; } files[MOST_FILES]; /* by file number */
static int last_number;

static void give_up(const char *what) {
    dprintf(2, "powercut shim: %s: %s\n", what, strerror(errno));
    _exit(99);
}

__attribute__((constructor)) static void start(void) {
    const char *watched = getenv("POWERCUT_FOLDER"), *to = getenv("POWERCUT_JOURNAL");
    if (!watched || !to || strlen(watched) >= sizeof folder) return;
    strcpy(folder, watched);
    folder_length = strlen(folder);
    fault = getenv("POWERCUT_FAULT");
    swallow = getenv("POWERCUT_SWALLOW") != NULL;
    journal = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (journal < 0) give_up("cannot make the journal");
}

/* Under the lock. The journal is a plain file of the page cache, which outlives the process. */
static void append(char kind, int number, uint64_t argument, const void *bytes, size_t length) {
    unsigned char head[17];
    uint32_t n = (uint32_t)number, l = (uint32_t)length;
    head[0] = (unsigned char)kind;
    memcpy(head + 1, &n, 4);
    memcpy(head + 5, &argument, 8);
    memcpy(head + 13, &l, 4);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, length}};
    if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof head + length)) give_up("cannot write the journal");
    written += sizeof head + length;
}

/* The path below the folder, or NULL. `path` is absolute and without links. */
static const char *below(const char *path) {
    if (journal < 0 || strncmp(path, folder, folder_length) != 0) return NULL;
    if (path[folder_length] == '\0') return "";
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

/* The same for a path as a caller names it; its directory has to exist, it need not. */
static const char *named(int dirfd, const char *path, char *buffer) {
    char joined[PATH_MAX * 2], at[PATH_MAX], directory[PATH_MAX];
    if (journal < 0) return NULL;
    if (path[0] == '/') {
        snprintf(joined, sizeof joined, "%s", path);
    } else if (dirfd == AT_FDCWD) {
        if (!getcwd(at, sizeof at)) return NULL;
        snprintf(joined, sizeof joined, "%s/%s", at, path);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t length = readlink(link, at, sizeof at - 1);
        if (length < 0) return NULL;
        at[length] = '\0';
        snprintf(joined, sizeof joined, "%s/%s", at, path);
    }
    char *name = strrchr(joined, '/');
    *name++ = '\0';
    if (!realpath(joined[0] ? joined : "/", directory)) return NULL;
    if (snprintf(buffer, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX) return NULL;
    return below(buffer);
}

static int watched(int fd) { return journal >= 0 && fd >= 0 && fd < MOST_FDS ? number_of[fd] : 0; }

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) give_up(name);
    return found;
}

#define NEXT(name) ((__typeof__(&name))next(#name))

static int open_at(int dirfd, const char *path, int flags, mode_t mode) {
    if (journal < 0) return (int)syscall(SYS_openat, dirfd, path, flags, mode);
    pthread_mutex_lock(&lock);
    int made = 0, fd = -1;
    if (flags & O_CREAT && !(flags & O_EXCL)) {
        /* Told apart from opening one that was there. */
        fd = (int)syscall(SYS_openat, dirfd, path, flags | O_EXCL, mode);
        made = fd >= 0;
        if (!made && errno == EEXIST) fd = (int)syscall(SYS_openat, dirfd, path, flags & ~O_CREAT, mode);
    } else {
        fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
        made = fd >= 0 && flags & O_CREAT;
    }
    int saved = errno;
    char link[64], at[PATH_MAX];
    struct stat stat;
    if (fd >= 0 && fd < MOST_FDS) {
        number_of[fd] = 0;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, at, sizeof at - 1);
        at[length > 0 ? length : 0] = '\0';
        const char *relative = below(at);
        if (relative && fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode)) {
            number_of[fd] = DIRECTORY;
        } else if (relative && S_ISREG(stat.st_mode)) {
            int number = 0;
            for (int known = last_number; known > 0 && !made; known--) {
                if (files[known].device == stat.st_dev && files[known].inode == stat.st_ino) {
                    number = known;
                    break;
                }
            }
            if (!number) {
                number = ++last_number;
                if (number >= MOST_FILES) give_up("too many files");
                files[number].device = stat.st_dev;
                files[number].inode = stat.st_ino;
                append(made ? 'C' : 'O', number, 0, relative, strlen(relative));
            }
            number_of[fd] = number;
            if (flags & O_TRUNC && !made) append('T', number, 0, NULL, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(name)                                            \
    int name(const char *path, int flags, ...) {              \
        va_list arguments;                                    \
        va_start(arguments, flags);                           \
        mode_t mode = mode_of(flags, arguments);              \
        va_end(arguments);                                    \
        return open_at(AT_FDCWD, path, flags, mode);          \
    }
#define OPENAT(name)                                          \
    int name(int dirfd, const char *path, int flags, ...) {   \
        va_list arguments;                                    \
        va_start(arguments, flags);                           \
        mode_t mode = mode_of(flags, arguments);              \
        va_end(arguments);                                    \
        return open_at(dirfd, path, flags, mode);             \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd) {
    if (watched(fd)) {
        pthread_mutex_lock(&lock);
        number_of[fd] = 0;
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_close, fd);
}

/* A copy of a descriptor that nobody watches would write past the journal. */
static int copied(int from, int to) {
    if (to >= 0 && to < MOST_FDS && journal >= 0) number_of[to] = watched(from);
    return to;
}
int dup(int fd) { return copied(fd, NEXT(dup)(fd)); }
int dup2(int fd, int to) { return copied(fd, NEXT(dup2)(fd, to)); }
int dup3(int fd, int to, int flags) { return copied(fd, NEXT(dup3)(fd, to, flags)); }

static ssize_t write_vector(int fd, const struct iovec *parts, int count, off_t offset, int positioned, int flags) {
    int number = watched(fd);
    if (number <= 0) {
        if (!positioned) return syscall(SYS_writev, fd, parts, count);
        return syscall(SYS_pwritev2, fd, parts, count, (long)offset, 0L, (long)flags);
    }
    pthread_mutex_lock(&lock);
    ssize_t done = positioned ? syscall(SYS_pwritev2, fd, parts, count, (long)offset, 0L, (long)flags)
                              : syscall(SYS_writev, fd, parts, count);
    int saved = errno;
    if (done > 0) {
        if (!positioned || offset < 0) offset = (off_t)syscall(SYS_lseek, fd, 0L, (long)SEEK_CUR) - done;
        size_t left = (size_t)done;
        for (int i = 0; i < count && left; i++) {
            size_t length = parts[i].iov_len < left ? parts[i].iov_len : left;
            append('W', number, (uint64_t)offset, parts[i].iov_base, length);
            offset += (off_t)length;
            left -= length;
        }
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return write_vector(fd, parts, count, 0, 0, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_vector(fd, parts, count, offset, 1, 0);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return write_vector(fd, parts, count, offset, 1, 0);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return write_vector(fd, parts, count, offset, 1, flags);
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    return write_vector(fd, parts, count, offset, 1, flags);
}
ssize_t write(int fd, const void *bytes, size_t length) {
    if (watched(fd) <= 0) return syscall(SYS_write, fd, bytes, length);
    struct iovec part = {(void *)bytes, length};
    return write_vector(fd, &part, 1, 0, 0, 0);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    if (watched(fd) <= 0) return syscall(SYS_pwrite64, fd, bytes, length, (long)offset);
    struct iovec part = {(void *)bytes, length};
    return write_vector(fd, &part, 1, offset, 1, 0);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return pwrite(fd, bytes, length, offset); }

int ftruncate(int fd, off_t length) {
    int number = watched(fd);
    if (number <= 0) return (int)syscall(SYS_ftruncate, fd, (long)length);
    pthread_mutex_lock(&lock);
    int done = (int)syscall(SYS_ftruncate, fd, (long)length), saved = errno;
    if (done == 0) append('T', number, (uint64_t)length, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

/* Room without bytes reads as zeros; here it grows the file by a cut, which is the same on disk. */
static int grow(int fd, off_t offset, off_t length) {
    struct stat stat;
    if (fstat(fd, &stat) != 0) return -1;
    return stat.st_size >= offset + length ? 0 : ftruncate(fd, offset + length);
}
int posix_fallocate(int fd, off_t offset, off_t length) {
    if (watched(fd) <= 0) return NEXT(posix_fallocate)(fd, offset, length);
    return grow(fd, offset, length) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }
int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (watched(fd) <= 0) return (int)syscall(SYS_fallocate, fd, mode, (long)offset, (long)length);
    if (mode == 0) return grow(fd, offset, length);
    errno = EOPNOTSUPP;
    return -1;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

static int sync_fd(int fd, long call) {
    int number = watched(fd);
    if (number == 0) return (int)syscall(call, fd);
    char link[64], at[PATH_MAX];
    const char *path = "";
    if (number == DIRECTORY) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, at, sizeof at - 1);
        at[length > 0 ? length : 0] = '\0';
        path = below(at);
        if (!path) path = "";
    }
    if (swallow) return 0;
    pthread_mutex_lock(&lock);
    uint64_t covered = written;
    int failing = 0;
    if (fault) {
        char taken[PATH_MAX];
        snprintf(taken, sizeof taken, "%s.taken", fault);
        failing = syscall(SYS_renameat2, AT_FDCWD, fault, AT_FDCWD, taken, 0) == 0;
    }
    if (failing) append('F', number == DIRECTORY ? 0 : number, covered, NULL, 0);
    pthread_mutex_unlock(&lock);
    if (failing) {
        errno = EIO;
        return -1;
    }
    int done = (int)syscall(call, fd), saved = errno;
    if (done == 0) {
        pthread_mutex_lock(&lock);
        if (number == DIRECTORY) append('D', 0, covered, path, strlen(path));
        else append('S', number, covered, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return done;
}
int fsync(int fd) { return sync_fd(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_fd(fd, SYS_fdatasync); }

static int two_names(char kind, int olddir, const char *old, int newdir, const char *new, long call, long flags) {
    char from[PATH_MAX], to[PATH_MAX], both[PATH_MAX * 2 + 1];
    pthread_mutex_lock(&lock);
    const char *was = named(olddir, old, from), *is = named(newdir, new, to);
    int done = (int)syscall(call, olddir, old, newdir, new, flags), saved = errno;
    if (done == 0 && was && is) {
        size_t first = strlen(was), second = strlen(is);
        memcpy(both, was, first + 1);
        memcpy(both + first + 1, is, second);
        append(kind, 0, 0, both, first + 1 + second);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}
int renameat2(int olddir, const char *old, int newdir, const char *new, unsigned flags) {
    return two_names('R', olddir, old, newdir, new, SYS_renameat2, (long)flags);
}
int renameat(int olddir, const char *old, int newdir, const char *new) { return renameat2(olddir, old, newdir, new, 0); }
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int olddir, const char *old, int newdir, const char *new, int flags) {
    return two_names('L', olddir, old, newdir, new, SYS_linkat, flags);
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

static int journaled(char kind, int dirfd, const char *path, long call, long argument) {
    char buffer[PATH_MAX];
    pthread_mutex_lock(&lock);
    const char *relative = named(dirfd, path, buffer);
    int done = (int)syscall(call, dirfd, path, argument), saved = errno;
    if (done == 0 && relative) append(kind, 0, 0, relative, strlen(relative));
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}
int unlink(const char *path) { return journaled('U', AT_FDCWD, path, SYS_unlinkat, 0); }
int unlinkat(int dirfd, const char *path, int flags) { return journaled('U', dirfd, path, SYS_unlinkat, flags); }
int rmdir(const char *path) { return journaled('U', AT_FDCWD, path, SYS_unlinkat, AT_REMOVEDIR); }
int mkdir(const char *path, mode_t mode) { return journaled('M', AT_FDCWD, path, SYS_mkdirat, (long)mode); }
int mkdirat(int dirfd, const char *path, mode_t mode) { return journaled('M', dirfd, path, SYS_mkdirat, (long)mode); }
