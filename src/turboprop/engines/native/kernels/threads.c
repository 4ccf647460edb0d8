/* Threads that help a run: between two runs they sleep. A run needs none of them: whoever is there takes the next item,
   so a thread that the system has set aside holds up no more than the item it is at. With a meeting of all threads
   after each step a token took 7 times as long beside two other busy processes on two cores. */
#include "kernels.h"
#include "os_threads.h"

#include <stdatomic.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("isb" ::: "memory") /* `yield` does nothing on most */
#else
#define PAUSE() ((void)0)
#endif

/* Turns of waiting, some 30 microseconds in all, before the core is offered to others. */
enum { SPINS = 1 << 10 };

struct Team {
    int threads;
    int process;           /* whose threads they are: a forked one has none of them */
    Thread *handles;
    Lock lock;
    Wakeup wake, idle;
    void (*work)(void *, int, int);
    void *context;
    _Atomic unsigned run;  /* counts the runs */
    int open;              /* whether helpers may still join the run */
    int closing;
    _Atomic int helping;
};

typedef struct {
    Team *team;
    int number;
} Seat;

void wait_turn(int *turns)
{
    if (*turns < SPINS) {
        ++*turns;
        PAUSE();
    } else {
        thread_yield();
    }
}

static ThreadResult THREAD_CALL help(void *argument)
{
    Seat seat = *(Seat *)argument;
    Team *team = seat.team;
    free(argument);
    unsigned seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS && atomic_load_explicit(&team->run, memory_order_acquire) == seen; spin++)
            PAUSE();
        lock_take(&team->lock);
        while (atomic_load(&team->run) == seen && !team->closing)
            wakeup_wait(&team->wake, &team->lock);
        seen = atomic_load(&team->run);
        int closing = team->closing, joins = team->open;
        if (joins)
            atomic_fetch_add(&team->helping, 1);
        lock_give(&team->lock);
        if (joins) {
            team->work(team->context, seat.number, team->threads);
            if (atomic_fetch_sub(&team->helping, 1) == 1) {
                lock_take(&team->lock);
                wakeup_one(&team->idle);
                lock_give(&team->lock);
            }
        }
        if (closing)
            return 0;
    }
}

void team_run(Team *team, void (*work)(void *, int, int), void *context)
{
    const int helped = team->threads > 1 && team->process == process_number();
    if (helped) {
        lock_take(&team->lock);
        team->work = work;
        team->context = context;
        team->open = 1;
        atomic_fetch_add(&team->run, 1);
        wakeup_all(&team->wake);
        lock_give(&team->lock);
    }
    work(context, 0, team->threads);
    if (helped) {
        lock_take(&team->lock);
        team->open = 0;
        lock_give(&team->lock);
        for (int turn = 0; turn < SPINS && atomic_load(&team->helping); turn++)
            PAUSE();
        lock_take(&team->lock);
        while (atomic_load(&team->helping))
            wakeup_wait(&team->idle, &team->lock);
        lock_give(&team->lock);
    }
}

Team *team_new(int threads)
{
    Team *team = calloc(1, sizeof *team);
    if (!team)
        return NULL;
    team->threads = 1;
    team->process = process_number();
    lock_new(&team->lock);
    wakeup_new(&team->wake);
    wakeup_new(&team->idle);
    team->handles = calloc((size_t)threads, sizeof *team->handles);
    for (int number = 1; team->handles && number < threads; number++) {
        Seat *seat = malloc(sizeof *seat);
        if (!seat)
            break;
        *seat = (Seat){team, number};
        if (!thread_start(&team->handles[number], help, seat)) {
            free(seat);
            break;
        }
        team->threads++; /* where no more threads can be had, fewer do the work */
    }
    return team;
}

void team_free(Team *team)
{
    if (team->process != process_number())
        return; /* the threads to wait for, and whoever may hold the lock, are in another process */
    lock_take(&team->lock);
    team->closing = 1;
    wakeup_all(&team->wake);
    lock_give(&team->lock);
    for (int number = 1; number < team->threads; number++)
        thread_wait(team->handles[number]);
    lock_free(&team->lock);
    wakeup_free(&team->wake);
    wakeup_free(&team->idle);
    free(team->handles);
    free(team);
}
