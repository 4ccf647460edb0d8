/* Runs programs for a process on a processor of another kind, see emulated.py: requests come and answers go as int64 and
   memory images. */
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <malloc.h>
#define aligned_alloc(alignment, bytes) _aligned_malloc(bytes, alignment)
#define free _aligned_free
#endif

int kernels_supported(void);
int layout_version(void);
void structure_sizes(int64_t sizes[5]);
int run_program(Run *run);

static void take(void *to, size_t bytes)
{
    if (fread(to, 1, bytes, stdin) != bytes)
        exit(feof(stdin) ? 0 : 1);
}

static void give(const void *from, size_t bytes)
{
    if (fwrite(from, 1, bytes, stdout) != bytes)
        exit(1);
}

static void *room(size_t bytes)
{
    void *found = aligned_alloc(4096, bytes / 4096 * 4096 + 4096);
    if (!found)
        exit(1);
    memset(found, 0, bytes);
    return found;
}

static void run(const int64_t request[4])
{
    const int64_t threads = request[0], bytes = request[1], pointers = request[2], ranges = request[3];
    int64_t *at = room(16 * (size_t)(pointers + ranges)), stopped;
    uint8_t *image = room((size_t)bytes);
    int64_t sizes[5];
    take(at, 16 * (size_t)(pointers + ranges));
    take(image, (size_t)bytes);
    for (int64_t i = 0; i < pointers; i++) {
        uint8_t *target = image + at[2 * i + 1];
        memcpy(image + at[2 * i], &target, sizeof target);
    }
    Run *described = (Run *)image;
    structure_sizes(sizes);
    described->team = team_new((int)threads);
    described->counters = room((size_t)(sizes[4] * described->count));
    described->scratch = room((size_t)(described->scratch_bytes * threads));
    described->stop = NULL;
    stopped = run_program(described);
    give(&stopped, sizeof stopped);
    for (int64_t i = pointers; i < pointers + ranges; i++)
        give(image + at[2 * i], (size_t)at[2 * i + 1]);
    team_free(described->team);
    free(described->counters);
    free(described->scratch);
    free(image);
    free(at);
}

int main(void)
{
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    for (;;) {
        int64_t request[5], answer[7] = {0};
        int64_t sizes[5];
        take(request, sizeof request);
        switch (request[0]) {
        case 0:
            structure_sizes(sizes);
            for (int i = 0; i < 5; i++)
                answer[i] = sizes[i];
            answer[5] = layout_version();
            answer[6] = kernels_supported();
            give(answer, sizeof answer);
            break;
        case 1:
            run(request + 1);
            break;
        case 2:
            answer[0] = (int64_t)panel_bytes((int)request[1], request[2]);
            give(answer, sizeof *answer);
            break;
        case 3:
            answer[0] = (int64_t)cache_chunk_bytes(request[1], (int)request[2]);
            give(answer, sizeof *answer);
            break;
        default:
            answer[0] = (int64_t)attention_scratch_bytes(request[1], request[2]);
            give(answer, sizeof *answer);
        }
        fflush(stdout);
    }
}
