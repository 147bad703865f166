/* A wall clock that was set forward, as its gateway sees it. Preloaded into the gateway (LD_PRELOAD) and never linked with it.
 *
 *   CLOCK_AHEAD  while a file of this name exists, wall time is 25 hours ahead; monotonic time goes on as ever
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = (int)syscall(SYS_clock_gettime, clock, now), kept = errno;
    const char *path = getenv("CLOCK_AHEAD");
    if (done == 0 && clock == CLOCK_REALTIME && path && access(path, F_OK) == 0) now->tv_sec += 25 * 60 * 60;
    errno = kept;
    return done;
}
