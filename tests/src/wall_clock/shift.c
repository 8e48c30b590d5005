// Loaded into a process before the C library (LD_PRELOAD): its wall clock shows another time. What it waits for until a time of
// that clock comes when the system's clock has come that far.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

// Times of the monotonic clock, which counts from the start of the machine, are below.
static const time_t IN_2001 = 1000000000;

static time_t shift_s;

__attribute__((constructor)) static void read_shift(void) {
  const char *text = getenv("SHIFT_SECONDS");
  shift_s = text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift_s;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec time;
  int failed = clock_gettime(CLOCK_REALTIME, &time);
  now->tv_sec = time.tv_sec;
  now->tv_usec = time.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *copy) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (copy) *copy = now.tv_sec;
  return now.tv_sec;
}

static int wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  if (until->tv_sec < IN_2001) return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, until);
  struct timespec by_system = {until->tv_sec - shift_s, until->tv_nsec};
  return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &by_system);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
  return wait_until(condition, mutex, until);
}

// In the GNU C library, the types of <threads.h> are those of <pthread.h> by other names.
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
  switch (wait_until((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0: return thrd_success;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
  }
}
