/* Which experts each token takes (Shazeer et al. 2017, arXiv 1701.06538). */
#include "program.h"
#include "vector.h"

#include <string.h>

static float power(float x)
{
    float lanes[16] = {x};
    store16(lanes, exp16(load16(lanes)));
    return lanes[0];
}

/* The `top` largest of `count` numbers, the largest first; of equal ones the first. */
static void likeliest(const float *logits, int64_t count, int64_t top, int32_t *found)
{
    uint8_t taken[MOST_EXPERTS];
    memset(taken, 0, (size_t)count);
    for (int64_t slot = 0; slot < top; slot++) {
        int64_t best = -1;
        for (int64_t e = 0; e < count; e++)
            if (!taken[e] && (best < 0 || logits[e] > logits[best]))
                best = e;
        taken[best] = 1;
        found[slot] = (int32_t)best;
    }
}

static void share(const float *logits, int64_t count, const int32_t *chosen, int64_t top, int how, float *shares)
{
    float total = 0;
    for (int64_t slot = 0; slot < top; slot++) {
        float logit = logits[chosen[slot]];
        if (how & 2) {
            shares[slot] = 1.0f / (1.0f + power(-logit));
        } else {
            shares[slot] = power(logit - logits[chosen[0]]);
            total += shares[slot];
        }
    }
    if (how & 2)
        return;
    if (!(how & 1)) {
        total = 0;
        for (int64_t e = 0; e < count; e++)
            total += power(logits[e] - logits[chosen[0]]);
    }
    for (int64_t slot = 0; slot < top; slot++)
        shares[slot] /= total;
}

void route(const Run *run, const Step *step)
{
    const int64_t experts = step->a, top = step->b, rows = run->tokens * top;
    Routing to = routing(run, step->to, experts, top);
    memset(to.begins, 0, sizeof *to.begins * (size_t)(experts + 1));
    for (int64_t t = 0; t < run->tokens; t++) {
        const float *logits = place(run, step->x, t);
        likeliest(logits, experts, top, to.places + t * top);
        share(logits, experts, to.places + t * top, top, step->c, to.shares + t * top);
    }
    for (int64_t row = 0; row < rows; row++)
        to.begins[to.places[row] + 1]++;
    *to.active = 0;
    for (int64_t e = 0; e < experts; e++) {
        if (to.begins[e + 1])
            to.experts[(*to.active)++] = (int32_t)e;
        to.begins[e + 1] += to.begins[e];
    }
    int32_t next[MOST_EXPERTS];
    memcpy(next, to.begins, sizeof *next * (size_t)experts);
    for (int64_t row = 0; row < rows; row++) {
        int32_t at = next[to.places[row]]++;
        to.tokens[at] = (int32_t)(row / top);
        to.places[row] = at;
    }
}
