/*
 * The contender "thread" of the case "send 50": an SRT server in C, one blocking thread a player.
 *
 * send <players> <repetitions> <milliseconds of one> <message bytes> <microseconds between messages>
 *
 * Speaks to the harness like benches/src/child.rs: the port, then samples. Every thread sends a message
 * when it is due; players take turns, as in benches/src/srt/thalweg.rs.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <srt/srt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int players, message_bytes;
static long spacing_us;
static struct timespec begin;
static atomic_ulong sent;

struct player {
    pthread_t thread;
    SRTSOCKET socket;
    int index;
};

static void check(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "send: %s: %s\n", what, srt_getlasterror_str());
        exit(1);
    }
}

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

static double wall_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct timespec after(struct timespec time, long us) {
    time.tv_sec += us / 1000000;
    time.tv_nsec += us % 1000000 * 1000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec += 1;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

static void *serve(void *argument) {
    struct player *player = argument;
    char *message = calloc(1, (size_t)message_bytes);
    struct timespec due = after(begin, player->index * spacing_us / players);
    for (;;) {
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        if (srt_sendmsg2(player->socket, message, message_bytes, NULL) == SRT_ERROR)
            break;
        atomic_fetch_add_explicit(&sent, 1, memory_order_relaxed);
        due = after(due, spacing_us);
    }
    free(message);
    return NULL;
}

static SRTSOCKET listen_on_loopback(void) {
    SRTSOCKET listener = srt_create_socket();
    struct sockaddr_in address = {.sin_family = AF_INET};
    int len = sizeof address;
    int latency_ms = 20;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    srt_setsockflag(listener, SRTO_LATENCY, &latency_ms, sizeof latency_ms);
    check(srt_bind(listener, (struct sockaddr *)&address, len) != SRT_ERROR, "bind");
    check(srt_listen(listener, players) != SRT_ERROR, "listen");
    check(srt_getsockname(listener, (struct sockaddr *)&address, &len) != SRT_ERROR, "name");
    printf("port\t%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static long status_field(const char *name) {
    char line[256];
    long value = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, name, strlen(name)) == 0)
            value = atol(line + strlen(name));
    if (status)
        fclose(status);
    return value;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "send: five arguments, not %d\n", argc - 1);
        return 2;
    }
    players = atoi(argv[1]);
    int repetitions = atoi(argv[2]), rep_ms = atoi(argv[3]);
    message_bytes = atoi(argv[4]);
    spacing_us = atol(argv[5]);

    alarm(90);
    srt_startup();
    SRTSOCKET listener = listen_on_loopback();
    struct player *all = calloc((size_t)players, sizeof *all);
    for (int i = 0; i < players; i++) {
        all[i].index = i;
        all[i].socket = srt_accept(listener, NULL, NULL);
        check(all[i].socket != SRT_INVALID_SOCK, "accept");
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < players; i++)
        check(pthread_create(&all[i].thread, NULL, serve, &all[i]) == 0, "thread");

    usleep(1000000);
    for (int i = 0; i < repetitions; i++) {
        double cpu = cpu_seconds(), wall = wall_seconds();
        unsigned long before = atomic_load(&sent);
        usleep((useconds_t)rep_ms * 1000);
        wall = wall_seconds() - wall;
        printf("sample\t%% cpu\t%f\n", (cpu_seconds() - cpu) / wall * 100);
        double expected = wall * 1e6 / (double)spacing_us * players;
        double share = (double)(atomic_load(&sent) - before) / expected;
        if (share < 0.95)
            printf("note\tonly %.0f %% of the messages came through\n", share * 100);
    }
    printf("sample\tthreads\t%ld\nsample\tMB rss\t%f\n", status_field("Threads:"),
           (double)status_field("VmRSS:") / 1024);
    fflush(stdout);
    _exit(0);
}
