/*
 * The contender "thread" of the cases "publish" and "play": an SRT server in C, one blocking thread a
 * connection, which reads and discards, or sends.
 *
 * threads receive <connections>
 * threads send <connections> <schedule>
 *
 * Speaks to the harness like its other children: the port first.
 */
#define _GNU_SOURCE
#include "schedule.h"

#include <pthread.h>
#include <srt/srt.h>

enum { LATENCY_MS = 20, MESSAGE_BYTES = 1316 };

static struct schedule schedule;
static struct timespec begin;

static void *receive(void *argument) {
    SRTSOCKET socket = (SRTSOCKET)(intptr_t)argument;
    char message[1456];
    while (srt_recvmsg2(socket, message, sizeof message, NULL) != SRT_ERROR)
        ;
    return NULL;
}

/* Messages of seven packets; the last of an entry is what is left, as an encoder sends it. */
static void *play(void *argument) {
    SRTSOCKET socket = (SRTSOCKET)(intptr_t)argument;
    for (size_t i = 0; i < schedule.count; i++) {
        struct entry entry = schedule.entries[i];
        sleep_until(begin, entry.at_us);
        for (uint32_t at = 0; at < entry.len; at += MESSAGE_BYTES) {
            uint32_t left = entry.len - at;
            int len = left < MESSAGE_BYTES ? (int)left : MESSAGE_BYTES;
            if (srt_sendmsg2(socket, entry.bytes + at, len, NULL) == SRT_ERROR)
                return NULL;
        }
    }
    return NULL;
}

static void check_srt(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "threads: %s: %s\n", what, srt_getlasterror_str());
        exit(1);
    }
}

static SRTSOCKET listen_on_loopback(int backlog) {
    SRTSOCKET listener = srt_create_socket();
    struct sockaddr_in address = {.sin_family = AF_INET};
    int len = sizeof address;
    int latency_ms = LATENCY_MS;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    srt_setsockflag(listener, SRTO_LATENCY, &latency_ms, sizeof latency_ms);
    check_srt(srt_bind(listener, (struct sockaddr *)&address, len) != SRT_ERROR, "bind");
    check_srt(srt_listen(listener, backlog) != SRT_ERROR, "listen");
    check_srt(srt_getsockname(listener, (struct sockaddr *)&address, &len) != SRT_ERROR, "name");
    print_port(ntohs(address.sin_port));
    return listener;
}

int main(int argc, char **argv) {
    check(argc >= 3, "two or three arguments");
    int sends = strcmp(argv[1], "send") == 0;
    int connections = atoi(argv[2]);
    if (sends) {
        check(argc == 4, "a schedule to send");
        schedule = read_schedule(argv[3]);
    }
    alarm(120);
    srt_startup();
    SRTSOCKET listener = listen_on_loopback(connections);
    SRTSOCKET *sockets = calloc((size_t)connections, sizeof *sockets);
    pthread_t *threads = calloc((size_t)connections, sizeof *threads);
    /* Readers begin at once, since what they do not read is lost; senders all together. */
    for (int i = 0; i < connections; i++) {
        sockets[i] = srt_accept(listener, NULL, NULL);
        check_srt(sockets[i] != SRT_INVALID_SOCK, "accept");
        void *argument = (void *)(intptr_t)sockets[i];
        if (!sends)
            check(pthread_create(&threads[i], NULL, receive, argument) == 0, "thread");
    }
    begin = now();
    for (int i = 0; i < connections; i++) {
        void *argument = (void *)(intptr_t)sockets[i];
        if (sends)
            check(pthread_create(&threads[i], NULL, play, argument) == 0, "thread");
    }
    for (int i = 0; i < connections; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}
