// Mutexes: error-checking, recursive, shared between processes, and a robust one across a death.
#include "test.h"
struct shared {
    pthread_mutex_t plain, robust;
    int counter;
};
#define E(call) printf("%s = %s\n", #call, (error = call) ? errno_name(error) : "0")
int main(void) {
    int error;
    struct shared *s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(s != MAP_FAILED);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&s->plain, &attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&s->robust, &attr);
    for (int child = 0; child < 4; child++)
        if (fork() == 0) {
            for (int i = 0; i < 500; i++) {
                pthread_mutex_lock(&s->plain);
                int old = s->counter;
                if (i % 100 == 0)
                    sched_yield();
                s->counter = old + 1;
                pthread_mutex_unlock(&s->plain);
            }
            _exit(0);
        }
    while (wait(NULL) > 0) {
    }
    R(s->counter);
    if (fork() == 0) {
        pthread_mutex_lock(&s->robust);
        kill(getpid(), SIGKILL); // with the lock held
    }
    wait(NULL);
    E(pthread_mutex_lock(&s->robust));
    E(pthread_mutex_consistent(&s->robust));
    E(pthread_mutex_unlock(&s->robust));
    E(pthread_mutex_lock(&s->robust));
    E(pthread_mutex_unlock(&s->robust));
    pthread_mutex_t checked, again;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attr);
    E(pthread_mutex_unlock(&checked));
    E(pthread_mutex_lock(&checked));
    E(pthread_mutex_lock(&checked));
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&again, &attr);
    E(pthread_mutex_lock(&again));
    E(pthread_mutex_lock(&again));
    E(pthread_mutex_unlock(&again));
    E(pthread_mutex_unlock(&again));
    E(pthread_mutex_unlock(&again));
    return 0;
}
