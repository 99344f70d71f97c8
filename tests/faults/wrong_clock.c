/* Preloaded, it makes a process's wall clock wrong by WRONG_CLOCK_SECONDS; its monotonic clock stays right.
   Waits until a moment of the wall clock are put right again, or they would never end. libfaketime, which does much
   more, does not know the threads of C11, and librdkafka would wait for ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const time_t SINCE_1970 = 1000000000; /* no machine has been up for so many seconds */

static time_t wrong(void) {
    const char *seconds = getenv("WRONG_CLOCK_SECONDS");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *found) {
    int status = (int)syscall(SYS_clock_gettime, clock, found);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) found->tv_sec += wrong();
    return status;
}

int timespec_get(struct timespec *found, int base) {
    return clock_gettime(CLOCK_REALTIME, found) == 0 ? base : 0;
}

int gettimeofday(struct timeval *found, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}

static struct timespec right(const struct timespec *until) {
    struct timespec made = *until;
    if (made.tv_sec > SINCE_1970) made.tv_sec -= wrong();
    return made;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec moment = right(until);
    if (!real) real = dlsym(RTLD_NEXT, "cnd_timedwait");
    return real(condition, mutex, &moment);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec moment = right(until);
    if (!real) real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return real(condition, mutex, &moment);
}
