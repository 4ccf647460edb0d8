/* Threads, locks and the waits of one thread for another, as POSIX and Windows have them. */
#ifndef TURBOPROP_OS_THREADS_H
#define TURBOPROP_OS_THREADS_H

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <process.h>

typedef SRWLOCK Lock; /* needs no end, nor does the next */
typedef CONDITION_VARIABLE Wakeup;
typedef HANDLE Thread;
typedef unsigned ThreadResult;
#define THREAD_CALL __stdcall

static inline void lock_new(Lock *lock) { InitializeSRWLock(lock); }
static inline void lock_free(Lock *lock) { (void)lock; }
static inline void lock_take(Lock *lock) { AcquireSRWLockExclusive(lock); }
static inline void lock_give(Lock *lock) { ReleaseSRWLockExclusive(lock); }

static inline void wakeup_new(Wakeup *wakeup) { InitializeConditionVariable(wakeup); }
static inline void wakeup_free(Wakeup *wakeup) { (void)wakeup; }
static inline void wakeup_wait(Wakeup *wakeup, Lock *lock) { SleepConditionVariableSRW(wakeup, lock, INFINITE, 0); }
static inline void wakeup_one(Wakeup *wakeup) { WakeConditionVariable(wakeup); }
static inline void wakeup_all(Wakeup *wakeup) { WakeAllConditionVariable(wakeup); }

/* Whether it could be started. */
static inline int thread_start(Thread *thread, ThreadResult(THREAD_CALL *begin)(void *), void *argument)
{
    *thread = (HANDLE)_beginthreadex(NULL, 0, begin, argument, 0, NULL);
    return *thread != NULL;
}
static inline void thread_wait(Thread thread)
{
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}
static inline void thread_yield(void) { SwitchToThread(); }

/* Which process this is, where one can become two: not on Windows. */
static inline int process_number(void) { return 0; }

#else
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

typedef pthread_mutex_t Lock;
typedef pthread_cond_t Wakeup;
typedef pthread_t Thread;
typedef void *ThreadResult;
#define THREAD_CALL

static inline void lock_new(Lock *lock) { pthread_mutex_init(lock, NULL); }
static inline void lock_free(Lock *lock) { pthread_mutex_destroy(lock); }
static inline void lock_take(Lock *lock) { pthread_mutex_lock(lock); }
static inline void lock_give(Lock *lock) { pthread_mutex_unlock(lock); }

static inline void wakeup_new(Wakeup *wakeup) { pthread_cond_init(wakeup, NULL); }
static inline void wakeup_free(Wakeup *wakeup) { pthread_cond_destroy(wakeup); }
static inline void wakeup_wait(Wakeup *wakeup, Lock *lock) { pthread_cond_wait(wakeup, lock); }
static inline void wakeup_one(Wakeup *wakeup) { pthread_cond_signal(wakeup); }
static inline void wakeup_all(Wakeup *wakeup) { pthread_cond_broadcast(wakeup); }

static inline int thread_start(Thread *thread, ThreadResult (*begin)(void *), void *argument)
{
    return !pthread_create(thread, NULL, begin, argument);
}
static inline void thread_wait(Thread thread) { pthread_join(thread, NULL); }
static inline void thread_yield(void) { sched_yield(); }
static inline int process_number(void) { return getpid(); }
#endif

#endif
