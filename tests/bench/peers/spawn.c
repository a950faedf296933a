/* The limit: start COUNT processes, WIDTH at a time, with nothing in between but posix_spawn and wait4.
 *
 *     spawn COUNT WIDTH PROGRAM [ARGUMENT...]
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: spawn COUNT WIDTH PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    long left = atol(argv[1]);
    long idle = atol(argv[2]);
    long running = 0;
    while (left > 0 || running > 0) {
        while (left > 0 && idle > 0) {
            pid_t pid;
            int error = posix_spawn(&pid, argv[3], NULL, NULL, argv + 3, environ);
            if (error) {
                errno = error;
                perror("posix_spawn");
                return 1;
            }
            left--, idle--, running++;
        }
        int status;
        struct rusage usage;
        if (wait4(-1, &status, 0, &usage) < 0) {
            perror("wait4");
            return 1;
        }
        if (status) {
            fprintf(stderr, "a process ended with wait status %d\n", status);
            return 1;
        }
        running--, idle++;
    }
    return 0;
}
