/* Runs the steps of a model. Each step is cut into items; threads take items until there are none, and go on to the
   next step when all of this one are done. */
#include "program.h"

#include <stdatomic.h>
#include <string.h>

enum {
    /* Tokens of one item of a product: their activations (96 KB for 1,024 inputs) stay in the second cache while all
       panels pass. */
    TOKENS = 96,
    FEW = 8,
    /* Numbers of one item of the other steps: some microseconds of work. */
    NUMBERS = 1 << 13,
};

/* Of one step, on two lines of the cache. */
typedef struct {
    _Alignas(CACHE_LINE) _Atomic int64_t next;
    _Alignas(CACHE_LINE) _Atomic int64_t done;
} Counter;

typedef struct {
    int64_t items, each, rounds;  /* of a product: `each` panels by TOKENS tokens, `rounds` times */
} Cut;

/* The activations of the step that quantises, or of a product that follows it. */
static Quantized quantized(const Run *run, const Step *step)
{
    Quantized found = run->quantized;
    found.group = step->b;
    return found;
}

static int64_t panels_of(const Matrix *matrix)
{
    return (matrix->outputs + 2 * LANES - 1) / (2 * LANES);
}

static int64_t rows_of(const Run *run, const Step *step)
{
    return (step->picked ? run->picked : run->tokens) * step->rows;
}

static Cut cut(const Run *run, const Step *step, int threads)
{
    const int64_t count = rows_of(run, step);
    if (step->kind == STEP_PRODUCT) {
        const int64_t panels = panels_of(step->detail);
        const int64_t rounds = (count + TOKENS - 1) / TOKENS;
        /* A few tokens wait for memory, and long pieces of it come faster: with quarters of them a token takes 7% more. */
        const int64_t most = rounds > 1 ? 1 : count > FEW ? 8 : 32;
        int64_t each = panels / (threads * (count > FEW ? 8 : 2));
        each = each < 1 ? 1 : each > most ? most : each;
        return (Cut){(panels + each - 1) / each * rounds, each, rounds};
    }
    if (step->kind == STEP_ATTEND)
        return (Cut){attend_items(run, step), 1, 1};
    if (step->kind == STEP_ROUTE)
        return (Cut){1, count, 1};
    if (step->kind == STEP_EXPERTS) {
        /* As many experts as can have rows. How many do, a thread that comes late cannot know: where the routing was,
           others may have written since. */
        const int64_t panels = panels_of(step->detail), most = step->a < count ? step->a : count;
        int64_t each = panels * most / (threads * 4);
        each = each < 1 ? 1 : each > 32 ? 32 : each;
        each = each > panels ? panels : each;
        return (Cut){(panels + each - 1) / each * most, each, most};
    }
    int64_t each = NUMBERS / (step->width + 1) + 1;
    return (Cut){(count + each - 1) / each, each, 1};
}

static void product(const Run *run, const Step *step, int64_t item, Cut how)
{
    const Matrix *matrix = step->detail;
    const int64_t panels = panels_of(matrix), row = how.items / how.rounds;
    const int64_t count = rows_of(run, step), first = item / row * TOKENS;
    const int64_t left = count - first < TOKENS ? count - first : TOKENS;
    int64_t panel = item % row * how.each, end = panel + how.each < panels ? panel + how.each : panels;
    for (; panel < end; panel++) {
        if (matrix->kind >= FLOAT32)
            float_item(matrix, place(run, step->x, 0), step->x.stride, place(run, step->to, 0), step->to.stride, panel,
                first, left, step->a);
        else
            product_item(matrix, quantized(run, step), place(run, step->to, 0), step->to.stride, panel, first,
                left, step->a);
    }
}

/* Some panels of one expert, times all of its rows. */
static void expert(const Run *run, const Step *step, int64_t item, Cut how)
{
    const Routing from = routing(run, step->y, step->a, step->b);
    const int64_t each = how.items / how.rounds;
    if (item / each >= *from.active)
        return;
    const int32_t number = from.experts[item / each];
    const Matrix *matrix = (const Matrix *)step->detail + number;
    const int64_t panels = panels_of(matrix), end = from.begins[number + 1];
    int64_t panel = item % each * how.each, last = panel + how.each < panels ? panel + how.each : panels;
    Quantized x = run->quantized;
    x.group = step->c;
    for (int64_t first = from.begins[number]; first < end; first += TOKENS) {
        const int64_t left = end - first < TOKENS ? end - first : TOKENS;
        for (int64_t at = panel; at < last; at++) {
            if (matrix->kind >= FLOAT32)
                float_item(matrix, place(run, step->x, 0), step->x.stride, place(run, step->to, 0), step->to.stride, at,
                    first, left, 0);
            else
                product_item(matrix, x, place(run, step->to, 0), step->to.stride, at, first, left, 0);
        }
    }
}

static void rows(const Run *run, const Step *step, int64_t item, int64_t each)
{
    const int64_t count = rows_of(run, step), first = item * each, size = count - first < each ? count - first : each;
    switch (step->kind) {
    case STEP_QUANTIZE:
        quantize_rows(place(run, step->x, 0), step->x.stride, step->width, step->a, quantized(run, step), first, size);
        break;
    case STEP_ROUTE:
        route(run, step);
        break;
    case STEP_STORE:
        store_rows(run, step, first, size);
        break;
    default:
        row_step(run, step, first, size);
    }
}

/* Whether a step may begin while the one before it goes on: products of the same activations (a token takes 3% less). */
static int beside(const Step *step)
{
    const Place *x = &step->x, *before = &step[-1].x;
    if (step->kind == STEP_EXPERTS && step[-1].kind == STEP_EXPERTS && x->base == before->base)
        return 1;
    return step->kind == STEP_PRODUCT && !step->a && step[-1].kind == STEP_PRODUCT && x->base == before->base
        && x->stride == before->stride && x->column == before->column;
}

static void work(void *context, int thread, int threads)
{
    const Run *run = context;
    Counter *counters = (Counter *)run->counters;
    int64_t over = 0;  /* all steps before this one are */
    for (int64_t number = 0; number < run->count; number++) {
        const Step *step = &run->steps[number];
        int turns = 0;
        while (over < number && !beside(step)) {
            const int64_t items = cut(run, &run->steps[over], threads).items;
            while (atomic_load_explicit(&counters[over].done, memory_order_acquire) < items) {
                if (run->stop && *run->stop)
                    return;
                wait_turn(&turns);
            }
            over++;
        }
        const Cut how = cut(run, step, threads);
        AttendPlace at = {0, 0};
        int64_t item;
        while ((item = atomic_fetch_add_explicit(&counters[number].next, 1, memory_order_acquire)) < how.items) {
            if (step->kind == STEP_PRODUCT)
                product(run, step, item, how);
            else if (step->kind == STEP_EXPERTS)
                expert(run, step, item, how);
            else if (step->kind == STEP_ATTEND)
                attend_item(run, step, thread, item, &at);
            else
                rows(run, step, item, how.each);
            atomic_fetch_add_explicit(&counters[number].done, 1, memory_order_release);
            if (run->stop && *run->stop)
                return;
        }
    }
}

/* Returns 0, or 1 where `*stop` ended it early. */
int run_program(Run *run)
{
    memset(run->counters, 0, (size_t)run->count * sizeof(Counter));
    team_run(run->team, work, run);
    return run->stop && *run->stop;
}

/* Sizes of the structures, for whoever describes them in another language. */
void structure_sizes(int64_t sizes[5])
{
    sizes[0] = sizeof(Matrix);
    sizes[1] = sizeof(AttentionShape);
    sizes[2] = sizeof(Step);
    sizes[3] = sizeof(Run);
    sizes[4] = sizeof(Counter);
}

int layout_version(void)
{
    return LAYOUT_VERSION;
}
