/*
 * The contender "loop" of the fan-out cases: writes the same tags to the same number of sockets at the same
 * times as the gateway, and does nothing else.
 *
 * fan_out <schedule> <viewers> <merge window, milliseconds>
 *
 * The schedule is written by benches/src/gateway/clip.rs. Speaks to the harness like its other children: the
 * port first. What is due in one window leaves in one call; without a window, what is due at one time.
 */
#define _GNU_SOURCE
#include "schedule.h"

#include <errno.h>

enum { PIECES = 1024 };

static int accept_viewer(int listener) {
    int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int on = 1;
    check(socket >= 0, "accept");
    check(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "nodelay");
    return socket;
}

static long due_us(const struct entry *entry, long window_us) {
    return window_us ? (entry->at_us + window_us - 1) / window_us * window_us : entry->at_us;
}

int main(int argc, char **argv) {
    check(argc == 4, "three arguments");
    struct schedule schedule = read_schedule(argv[1]);
    int viewers = atoi(argv[2]);
    long window_us = atol(argv[3]) * 1000;
    raise_fd_limit();
    alarm(120);

    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(bind(listener, (struct sockaddr *)&address, len) == 0, "bind");
    check(listen(listener, 4096) == 0, "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &len) == 0, "name");
    print_port(ntohs(address.sin_port));

    int *sockets = calloc((size_t)viewers, sizeof *sockets);
    for (int i = 0; i < viewers; i++)
        sockets[i] = accept_viewer(listener);

    struct timespec begin = now();
    struct iovec pieces[PIECES];
    for (size_t next = 0; next < schedule.count;) {
        long due = due_us(&schedule.entries[next], window_us);
        int count = 0;
        ssize_t total = 0;
        while (next < schedule.count && count < PIECES &&
               due_us(&schedule.entries[next], window_us) <= due) {
            pieces[count].iov_base = schedule.entries[next].bytes;
            pieces[count].iov_len = schedule.entries[next].len;
            total += schedule.entries[next].len;
            count++;
            next++;
        }
        sleep_until(begin, due);
        for (int i = 0; i < viewers; i++) {
            ssize_t written = writev(sockets[i], pieces, count);
            if (written < 0 && errno == ECONNRESET)
                return 0; /* The measurement is over. */
            check(written == total, "a viewer does not keep up");
        }
    }
    return 0;
}
