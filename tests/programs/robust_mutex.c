// A robust mutex tells the next owner that the last one died.
#include "test.h"
static pthread_mutex_t mutex;
static void *die_holding(void *unused) {
    pthread_mutex_lock(&mutex);
    return unused;
}
int main(void) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attr);
    for (int round = 0; round < 2; round++) {
        pthread_t t;
        pthread_create(&t, NULL, die_holding, NULL);
        pthread_join(t, NULL);
        int r = pthread_mutex_lock(&mutex);
        printf("lock %s\n", r ? errno_name(r) : "ok");
        if (round == 0)
            R(pthread_mutex_consistent(&mutex));
        R(pthread_mutex_unlock(&mutex));
    }
    printf("lock %s\n", errno_name(pthread_mutex_lock(&mutex)));
    struct pi { pthread_mutex_t m; } pi;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&pi.m, &attr);
    R(pthread_mutex_lock(&pi.m));
    printf("again %s\n", errno_name(pthread_mutex_lock(&pi.m)));
    R(pthread_mutex_unlock(&pi.m));
    printf("unlock %s\n", errno_name(pthread_mutex_unlock(&pi.m)));
    return 0;
}
