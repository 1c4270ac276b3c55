/* What the C programs of the gateway's cases have in common: when to send what. */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct entry {
    long at_us;
    uint32_t len;
    char *bytes;
};

struct schedule {
    struct entry *entries;
    size_t count;
};

static inline void check(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

/* Entries of microseconds (64 bits), length (32 bits), bytes. */
static inline struct schedule read_schedule(const char *path) {
    struct schedule schedule = {NULL, 0};
    size_t room = 0;
    uint64_t at_us;
    uint32_t len;
    FILE *file = fopen(path, "rb");
    check(file != NULL, path);
    while (fread(&at_us, sizeof at_us, 1, file) == 1 && fread(&len, sizeof len, 1, file) == 1) {
        if (schedule.count == room) {
            room = room ? 2 * room : 1024;
            schedule.entries = realloc(schedule.entries, room * sizeof *schedule.entries);
        }
        char *bytes = malloc(len);
        check(fread(bytes, 1, len, file) == len, "the schedule is cut off");
        schedule.entries[schedule.count++] = (struct entry){(long)at_us, len, bytes};
    }
    fclose(file);
    return schedule;
}

static inline struct timespec now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time;
}

static inline void sleep_until(struct timespec begin, long us) {
    begin.tv_sec += us / 1000000;
    begin.tv_nsec += us % 1000000 * 1000;
    if (begin.tv_nsec >= 1000000000) {
        begin.tv_sec += 1;
        begin.tv_nsec -= 1000000000;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &begin, NULL);
}

static inline void raise_fd_limit(void) {
    struct rlimit limit;
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "limit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "limit");
}

static inline void print_port(int port) {
    printf("port\t%d\n", port);
    fflush(stdout);
}

#endif
