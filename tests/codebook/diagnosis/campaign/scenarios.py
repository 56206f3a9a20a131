"""What can lie between two files, drawn at random from a seed, with the truth known because it was done here."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from training import DECAY, PATH, Training, derive

EMBED, SUMS, COUNTS = (f"{PATH}.{name}" for name in ("embed", "embed_avg", "cluster_size"))
WEIGHT, BIAS = "ssl_proj.weight", "ssl_proj.bias"
SCENARIOS: dict[str, Callable[[random.Random], "Trial"]] = {}
UPDATES, MERGED, EDITED, PROJECTION = "ema-updates", "merged", "edited", "projection-trained"


@dataclass
class Trial:
    """Two states and what really lies between them."""

    a: dict
    b: dict
    causes: set[str]
    """Codes of the causes that are true."""
    order: str = ""
    """Of the updates: `a to b`, `b to a`, `siblings`, or two that files cannot tell apart; empty where none ran."""
    steps: int | None = None
    """Updates between the two; None where several numbers are true or none."""
    tellable: bool = True
    """Whether the files hold the evidence, so that silence counts as a failure."""
    exact: bool = False
    """Whether they hold the evidence for the exact number."""
    averaged: bool = False
    """Whether B is put together from files, so that no number of updates makes it from A."""


def scenario(make):
    SCENARIOS[make.__name__] = make
    return make


def drawn(r, **options):
    """Return a settled training and a number of frames in a step."""
    codes, dim = r.choice([(32, 8), (64, 12), (96, 16)])
    frames = r.choice([100, 300, 800])
    return Training(codes, dim, r.randrange(1 << 30), **options).settle(frames), frames


def steps_of(r):
    return r.choice([1, 2, 3, 5, 10, 20, 37, 60, 100, 150])


def unhit(training, but=()):
    """Say whether at least two codes went unhit, the padding's and some others not counted: they tell the number."""
    still = (training.hits == 0) & (training.counts > 1e-30)
    # What is nearest to the bias may be padding for all that the files show.
    for codes in (training.embed, training.before):
        still[torch.cdist(training.bias[None], codes).argmin()] = False
    still[list(but)] = False
    return int(still.sum()) >= 2


def cast(state, dtype):
    return {name: value.to(dtype) for name, value in state.items()}


def updated(r, **options):
    t, frames = drawn(r, **options)
    a, n = t.state(), steps_of(r)
    few = r.choice([frames, max(20, frames // 8)])
    return t, a, t.run(n, few).state(), n


@scenario
def updates(r):
    t, a, b, n = updated(r)
    return Trial(a, b, {UPDATES}, "a to b", n, exact=unhit(t))


@scenario
def updates_read_backwards(r):
    t, a, b, n = updated(r)
    return Trial(b, a, {UPDATES}, "b to a", n, exact=unhit(t))


@scenario
def updates_from_float16(r):
    t, frames = drawn(r)
    t.round(torch.float16)
    a, n = t.state(), steps_of(r)
    b = t.run(n, max(20, frames // r.choice([1, 8]))).state()
    half = cast(a, torch.float16)
    b[WEIGHT], b[BIAS] = half[WEIGHT].float(), half[BIAS].float()
    return Trial(half, b, {UPDATES}, "a to b", n, exact=unhit(t))


@scenario
def updates_in_float16(r):
    _, a, b, n = updated(r)
    return Trial(cast(a, torch.float16), cast(b, torch.float16), {UPDATES}, "a to b", n, tellable=n > 2)


@scenario
def updates_in_bfloat16(r):
    _, a, b, n = updated(r)
    return Trial(cast(a, torch.bfloat16), cast(b, torch.bfloat16), {UPDATES}, "a to b", n, tellable=n > 20)


@scenario
def updates_exported_to_float16(r):
    _, a, b, n = updated(r)
    return Trial(a, cast(b, torch.float16), {UPDATES}, "a to b", n, tellable=n > 2)


@scenario
def updates_with_buffers_in_low_precision(r):
    dtype = r.choice([torch.float16, torch.bfloat16])
    t, frames = drawn(r)
    t.low = dtype
    t.round(dtype)
    a, n = t.state(), steps_of(r)
    return Trial(a, t.run(n, frames).state(), {UPDATES}, "a to b", n, tellable=False)


@scenario
def updates_with_padding_and_all_codes_in_use(r):
    t, frames = drawn(r, padded=r.choice([50, 200, 400]), uniform=True)
    a, n = t.state(), r.choice([1, 2, 5, 10, 37])
    t.padded = max(1, int(t.padded * r.choice([0.2, 0.5, 0.9, 1.0, 1.1, 2.0])))
    b = t.run(n, 12 * frames).state()
    backwards = r.random() < 0.5
    trial = (b, a) if backwards else (a, b)
    return Trial(*trial, {UPDATES}, "b to a" if backwards else "a to b", n, exact=unhit(t))


@scenario
def updates_with_padding(r):
    t, frames = drawn(r, padded=r.choice([50, 200, 400]))
    a, n = t.state(), steps_of(r)
    t.padded = max(1, int(t.padded * r.choice([0.2, 0.5, 1.0, 2.0])))
    b = t.run(n, max(20, frames // 4)).state()
    return Trial(a, b, {UPDATES}, "a to b", n, exact=unhit(t))


@scenario
def updates_and_dead_codes_replaced(r):
    order = r.choice(["before", "after"])
    t, frames = drawn(r)
    a, n = t.state(), steps_of(r)
    b = t.run(n, max(20, frames // 8), expiry=order).state()
    causes = {UPDATES}
    if order == "after" and (t.counts < 2).any():
        causes.add("dead-codes-replaced")
    return Trial(a, b, causes, "a to b", n, exact=unhit(t))


@scenario
def two_trainings_from_one_start(r):
    t, frames = drawn(r)
    few = max(20, frames // 8)
    one, other = t.fork(1), t.fork(2)
    n, m = steps_of(r), steps_of(r)
    a, b = one.run(n, few).state(), other.run(m, few).state()
    still = (one.hits == 0) & (other.hits == 0)
    only = [int(((x.hits > 0) & (y.hits == 0)).sum()) for x, y in ((one, other), (other, one))]
    if not min(only):
        # One training hit all codes that the other hit: the files are as if the longer one went on from the shorter.
        order, steps = ("a to b", m - n) if m > n else ("b to a", n - m)
        return Trial(a, b, {UPDATES}, f"{order}, siblings", steps, tellable=False)
    return Trial(a, b, {UPDATES}, "siblings", None, tellable=int(still.sum()) >= 2 and min(only) >= 3)


@scenario
def updates_and_a_trained_projection(r):
    t, a, b, n = updated(r)
    b[WEIGHT] = b[WEIGHT] + 1e-3 * torch.randn(b[WEIGHT].shape, generator=t.random)
    b[BIAS] = b[BIAS] + 1e-3 * torch.randn(b[BIAS].shape, generator=t.random)
    return Trial(a, b, {UPDATES, PROJECTION}, "a to b", n, exact=unhit(t))


@scenario
def average_of_a_and_a_later_file(r):
    _, a, b, n = updated(r)
    w = r.choice([0.1, 0.3, 0.5, 0.9])
    mixed = {name: a[name] * (1 - w) + b[name] * w for name in a}
    # The projection is averaged as well, with itself.
    return Trial(a, mixed, {UPDATES, MERGED, PROJECTION, "last-places"}, "a to b", None, tellable=n >= 10)


@scenario
def average_of_two_trainings(r):
    t, frames = drawn(r)
    few = max(20, frames // 8)
    one, other = t.fork(1), t.fork(2)
    a, n, m = t.state(), steps_of(r), steps_of(r)
    x, y = one.run(n, few).state(), other.run(m, few).state()
    mixed = {name: (x[name] + y[name]) / 2 for name in a}
    return Trial(a, mixed, {UPDATES, MERGED, EDITED}, "a to b", n if n == m else None, tellable=False)


@scenario
def average_of_equal_files(r):
    t, _ = drawn(r)
    a = t.state()
    w = r.choice([0.3, 0.4, 0.7])
    dtype = r.choice([torch.float32, torch.float16])
    a = cast(a, dtype)
    b = {name: w * value + (1 - w) * value for name, value in a.items()}
    return Trial(a, b, {"last-places", PROJECTION}, tellable=dtype == torch.float32)


@scenario
def moving_average_of_a_training(r):
    t, frames = drawn(r)
    a = t.state()
    shadow = {name: value.clone() for name, value in a.items()}
    for _ in range(r.choice([10, 50, 100])):
        t.step(max(20, frames // 8))
        shadow = {name: 0.99 * shadow[name] + 0.01 * t.state()[name] for name in shadow}
    return Trial(a, shadow, {UPDATES, MERGED, EDITED, PROJECTION}, "a to b", None, tellable=False)


@scenario
def copies_averaged_between_ranks(r):
    t, frames = drawn(r)
    one, other = t.fork(1), t.fork(2)
    a, n = t.state(), steps_of(r)
    few = max(20, frames // 8)
    for _ in range(n):
        for each in (one, other):
            each.step(few)
        for name in ("embed", "counts", "sums"):
            mean = (getattr(one, name) + getattr(other, name)) / 2
            setattr(one, name, mean.clone())
            setattr(other, name, mean.clone())
    one.hits = one.hits + other.hits
    return Trial(a, one.state(), {UPDATES, MERGED}, "a to b", n, tellable=unhit(one))


@scenario
def rows_from_a_later_file(r):
    t, a, b, n = updated(r)
    half = t.codes // 2
    mixed = {k: torch.cat([a[k][:half], b[k][half:]]) if k in (EMBED, SUMS, COUNTS) else a[k] for k in a}
    enough = int((t.hits[half:] == 0).sum()) >= 2 and int((t.hits[half:] > 0).sum()) >= 1
    return Trial(a, mixed, {MERGED, EDITED, UPDATES}, "", None, tellable=enough and n > 1)


@scenario
def scaled(r):
    t, _ = drawn(r)
    dtype = r.choice([torch.float32, torch.float16])
    a, k = t.state(), r.choice([1.05, 0.97, 2.0, 0.5, -1.0, 0.99**5])
    names = r.choice([(EMBED, SUMS), (EMBED,), (SUMS, COUNTS), (EMBED, SUMS, COUNTS), (COUNTS,)])
    k = 3.0 if COUNTS in names and k < 0 else k
    b = {name: value * k if name in names else value for name, value in a.items()}
    return Trial(cast(a, dtype), cast(b, dtype), {"scaled", EDITED})


@scenario
def single_rows_edited(r):
    t, _ = drawn(r)
    dtype = r.choice([torch.float32, torch.float16, torch.bfloat16])
    a = t.state()
    b = {name: value.clone() for name, value in a.items()}
    rows = r.sample(range(t.codes), r.choice([1, 2, 5]))
    for name in r.choice([(EMBED,), (EMBED, SUMS), (SUMS, COUNTS), (EMBED, SUMS, COUNTS)]):
        b[name][rows] *= r.choice([1.1, 0.9, 0.99**5])
    return Trial(cast(a, dtype), cast(b, dtype), {EDITED})


@scenario
def noise_added(r):
    t, _ = drawn(r)
    a = t.state()
    names = r.choice([(EMBED,), (EMBED, SUMS), (EMBED, SUMS, COUNTS)])
    noise = {name: 1 + 0.01 * torch.randn(a[name].shape, generator=t.random) for name in names}
    b = {name: value * noise[name] if name in noise else value for name, value in a.items()}
    return Trial(a, b, {EDITED})


@scenario
def rows_edited_after_updates(r):
    t, a, b, n = updated(r)
    rows = r.sample(range(t.codes), 2)
    b[EMBED][rows] = b[EMBED][rows] * 1.3
    dead = b[COUNTS][rows] < 2
    causes = {UPDATES, EDITED} | ({"dead-codes-replaced"} if dead.any() else set())
    return Trial(a, b, causes, "a to b", n, exact=unhit(t, rows))


@scenario
def codes_exchanged(r):
    t, _ = drawn(r)
    a = t.state()
    order = torch.arange(t.codes)
    rows = r.sample(range(t.codes), r.choice([2, 3]))
    order[rows] = torch.tensor(rows[1:] + rows[:1])
    return Trial(a, {k: v[order] if k in (EMBED, SUMS, COUNTS) else v for k, v in a.items()}, {"permuted"})


@scenario
def codes_exchanged_and_updates(r):
    t, a, b, n = updated(r)
    order = torch.arange(t.codes)
    rows = r.sample(range(t.codes), 2)
    order[rows] = torch.tensor(rows[1:] + rows[:1])
    b = {k: v[order] if k in (EMBED, SUMS, COUNTS) else v for k, v in b.items()}
    return Trial(a, b, {UPDATES, "permuted"}, "a to b", n, exact=unhit(t))


@scenario
def codes_put_back_after_updates(r):
    t, a, b, n = updated(r)
    return Trial(a, b | {EMBED: a[EMBED]}, {UPDATES, EDITED}, "a to b", n, exact=unhit(t))


@scenario
def bookkeeping_put_back_after_updates(r):
    _, a, b, _ = updated(r)
    return Trial(a, a | {EMBED: b[EMBED]}, {EDITED})


@scenario
def another_codebook(r):
    t, _ = drawn(r)
    other = Training(t.codes, t.dim, r.randrange(1 << 30)).settle(300)
    a, b = t.state(), other.state()
    return Trial(a, b | {name: a[name] for name in (WEIGHT, BIAS)}, {"another-codebook"})


@scenario
def projection_alone(r):
    t, _ = drawn(r)
    a = t.state()
    b = {name: value.clone() for name, value in a.items()}
    how = r.choice(["scaled", "ulp", "row", "trained"])
    if how == "scaled":
        b[WEIGHT] *= 1.1
    elif how == "ulp":
        b[WEIGHT] = torch.nextafter(b[WEIGHT], torch.tensor(9.0))
    elif how == "row":
        b[WEIGHT][0] *= 1.1
    else:
        b[WEIGHT] += 1e-3 * torch.randn(b[WEIGHT].shape, generator=t.random)
    return Trial(a, b, {PROJECTION, "last-places"} if how == "ulp" else {PROJECTION})


@scenario
def signs_of_zero(r):
    t, _ = drawn(r)
    a = t.state()
    a[SUMS][3] = 0.0
    a[EMBED] = derive(a[SUMS], a[COUNTS])
    b = {name: value.clone() for name, value in a.items()}
    for name in (EMBED, SUMS):
        b[name][3] = -b[name][3]
    return Trial(a, b, {"zero-signs"})


@scenario
def updates_of_few_codes(r):
    t = Training(r.choice([3, 4, 6]), r.choice([4, 16]), r.randrange(1 << 30))
    frames = r.choice([8, 100])
    t.settle(frames)
    a, n = t.state(), steps_of(r)
    b = t.run(n, frames).state()
    backwards = r.random() < 0.5
    trial = (b, a) if backwards else (a, b)
    return Trial(*trial, {UPDATES}, "b to a" if backwards else "a to b", n, exact=unhit(t))


@scenario
def updates_by_frames_that_are_hardly_off_the_codes(r):
    """Sums stay all but proportional, so that rounding makes codes that were hit look unhit."""
    t = Training(r.choice([16, 32]), 8, r.randrange(1 << 30), noise=0.02, uniform=True)
    frames = r.choice([500, 3000])
    t.settle(frames // 2)
    dtype = r.choice([torch.float16, torch.bfloat16])
    a, n = t.state(), r.choice([1, 3, 5, 13, 37])
    b = t.run(n, frames).state()
    backwards = r.random() < 0.5
    one, other = (b, a) if backwards else (a, b)
    order = "b to a" if backwards else "a to b"
    # Rounding may hide all of it, and make a code of it that did not follow.
    causes = {UPDATES, EDITED, "last-places", "lost-by-rounding"}
    return Trial(cast(one, dtype), cast(other, dtype), causes, order, n, tellable=False)


@scenario
def two_trainings_of_one_length(r):
    t, _ = drawn(r)
    one, other = t.fork(1), t.fork(2)
    n, few = r.choice([1, 2, 3]), r.choice([16, 24])
    same = r.random() < 0.5
    a, b = one.run(n, few).state(), other.run(n, few if same else 2 * few).state()
    if r.random() < 0.3:
        a, b = cast(a, torch.float16), cast(b, torch.float16)
    only = [int(((x.hits > 0) & (y.hits == 0)).sum()) for x, y in ((one, other), (other, one))]
    order = "siblings" if min(only) else "siblings, a to b, b to a"
    return Trial(a, b, {UPDATES, "lost-by-rounding"}, order, None, tellable=False)


@scenario
def two_trainings_in_low_precision(r):
    t, frames = drawn(r)
    one, other = t.fork(1), t.fork(2)
    dtype = r.choice([torch.float16, torch.bfloat16])
    a = one.run(r.choice([10, 37]), max(50, frames // 4)).state()
    b = other.run(r.choice([10, 37, 100]), max(50, frames // 4)).state()
    both = ((one.hits > 0) & (other.hits == 0)).any() and ((other.hits > 0) & (one.hits == 0)).any()
    order = "siblings" if both else "siblings, a to b, b to a"
    return Trial(cast(a, dtype), cast(b, dtype), {UPDATES, "lost-by-rounding"}, order, None, tellable=False)


@scenario
def average_of_a_with_its_sibling(r):
    t, frames = drawn(r)
    one, other = t.fork(1), t.fork(2)
    few = max(20, frames // 8)
    a, x = one.run(steps_of(r), few).state(), other.run(steps_of(r), few).state()
    w = r.choice([0.25, 0.5, 0.75])
    mixed = {name: a[name] * (1 - w) + x[name] * w for name in a}
    # No file is later than the other one; what is earlier on the average may be told of A's own side alone.
    return Trial(a, mixed, {UPDATES, MERGED, EDITED, PROJECTION}, "siblings, a to b", None, tellable=False)


@scenario
def moving_average_and_its_last_file(r):
    t, frames = drawn(r)
    few, m = max(20, frames // 8), r.choice([0.9, 0.99, 0.999])
    shadow = t.state()
    n = r.choice([1, 2, 20])
    for _ in range(n):
        now = t.run(1, few).state()
        shadow = {name: m * shadow[name] + (1 - m) * now[name] for name in shadow}
    # The average counts no updates of its own: an exact number is wrong here, a direction is not.
    return Trial(t.state(), shadow, {UPDATES, MERGED, EDITED, PROJECTION}, "b to a", None, tellable=False)


LOW = [torch.float16, torch.bfloat16]


def averaged_in(dtype, a, b, w):
    """Return the average of two states, calculated in a narrow type."""
    a, b = cast(a, dtype), cast(b, dtype)
    return a, {name: a[name] * (1 - w) + b[name] * w for name in a}


@scenario
def average_in_low_precision(r):
    """With a later file, a sibling, or another codebook altogether."""
    t, frames = drawn(r)
    dtype, w = r.choice(LOW), r.choice([0.1, 0.3, 0.5, 0.7, 0.9])
    few, n, m = max(20, frames // r.choice([1, 8])), steps_of(r), steps_of(r)
    kind = r.choice(["later", "sibling", "another"])
    one, other = t.fork(1), t.fork(2)
    a = t.state() if kind != "sibling" else one.run(n, few).state()
    x = other.run(m, few).state()
    if kind == "another":
        x = Training(t.codes, t.dim, r.randrange(1 << 30)).settle(frames).state()
    a, mixed = averaged_in(dtype, a, x, w)
    causes = {MERGED, PROJECTION, "last-places", "lost-by-rounding"}
    causes |= {"another-projection"} if kind == "another" else {UPDATES}
    order = {"later": "a to b", "sibling": "siblings", "another": ""}[kind]
    return Trial(a, mixed, causes, order, None, tellable=False, averaged=True)


@scenario
def rows_in_low_precision(r):
    """Half of the rows come from a later file, a sibling, or another codebook."""
    t, frames = drawn(r)
    dtype, few = r.choice(LOW), max(20, frames // r.choice([1, 8]))
    kind = r.choice(["later", "sibling", "another"])
    one, other = t.fork(1), t.fork(2)
    a = t.state() if kind != "sibling" else one.run(steps_of(r), few).state()
    x = other.run(steps_of(r), few).state()
    if kind == "another":
        x = Training(t.codes, t.dim, r.randrange(1 << 30)).settle(frames).state()
    a, x = cast(a, dtype), cast(x, dtype)
    part = r.choice([t.codes // 2, t.codes // 4, 3 * t.codes // 4])
    mixed = {k: torch.cat([a[k][:part], x[k][part:]]) if k in (EMBED, SUMS, COUNTS) else a[k] for k in a}
    causes = {MERGED, "lost-by-rounding"}
    return Trial(a, mixed, causes, "", None, tellable=False, averaged=True)


@scenario
def permuted_and_trained_long(r):
    t, frames = drawn(r)
    a, n = t.state(), r.choice([50, 150, 400])
    order = torch.randperm(t.codes, generator=t.random)
    b = t.run(n, frames).state()
    b = {k: v[order] if k in (EMBED, SUMS, COUNTS) else v for k, v in b.items()}
    if r.random() < 0.3:
        a, b = cast(a, torch.float16), cast(b, torch.float16)
    return Trial(a, b, {UPDATES, "permuted"}, "a to b", n, tellable=False)


@scenario
def siblings_of_one_length(r):
    t, frames = drawn(r)
    one, other = t.fork(1), t.fork(2)
    n, few = r.choice([1, 2, 5, 10, 37, 60]), max(16, frames // r.choice([4, 8]))
    a, b = one.run(n, few).state(), other.run(n, few).state()
    still = int(((one.hits == 0) & (other.hits == 0)).sum())
    only = [int(((x.hits > 0) & (y.hits == 0)).sum()) for x, y in ((one, other), (other, one))]
    order = "siblings" if min(only) else "siblings, a to b, b to a"
    return Trial(a, b, {UPDATES}, order, None, tellable=still >= 3 and min(only) >= 3)


@scenario
def short_siblings_in_float16(r):
    t, frames = drawn(r)
    one, other = t.fork(1), t.fork(2)
    n, m, few = r.choice([1, 2]), r.choice([1, 2, 3, 5, 10]), max(16, frames // r.choice([1, 4, 8]))
    a, b = one.run(n, few).state(), other.run(m, few).state()
    if r.random() < 0.5:
        a, b = b, a
        n, m = m, n
    covers = [bool(((x.hits > 0) & (y.hits == 0)).any()) for x, y in ((one, other), (other, one))]
    order = "siblings" if all(covers) else "siblings, a to b, b to a"
    return Trial(
        cast(a, torch.float16), cast(b, torch.float16), {UPDATES, "lost-by-rounding"}, order, None, tellable=False
    )


@scenario
def other_shapes(r):
    """A part of the codes or channels, exported or not; or really another codebook."""
    t, frames = drawn(r)
    a = t.state()
    kind = r.choice(["first", "some", "channels", "other", "updated"])
    part = r.randrange(1, t.codes)
    rows = list(range(part)) if kind in ("first", "updated") else sorted(r.sample(range(t.codes), part))
    if kind == "other":
        b = Training(t.codes + part, t.dim, r.randrange(1 << 30)).settle(frames).state()
        b |= {WEIGHT: a[WEIGHT], BIAS: a[BIAS]}
    elif kind == "channels":
        cut = r.randrange(1, t.dim)
        b = {k: v[:, :cut] if k in (EMBED, SUMS) else v for k, v in a.items()}
    else:
        state = t.run(steps_of(r), frames).state() if kind == "updated" else a
        b = {k: v[rows] if k in (EMBED, SUMS, COUNTS) else v for k, v in state.items()}
    if r.random() < 0.3:
        b = {k: v.half() if k in (EMBED, SUMS, COUNTS) else v for k, v in b.items()}
    causes = {"other-shape"}
    one, other = (b, a) if r.random() < 0.5 else (a, b)
    return Trial(one, other, causes)


@scenario
def one_type_each_role(r):
    """Codes, sums and counts are stored in types of their own."""
    _, a, b, n = updated(r)
    for state in (a, b):
        for name in (EMBED, SUMS, COUNTS):
            state[name] = state[name].to(r.choice([torch.float32, torch.float16, torch.bfloat16]))
    return Trial(a, b, {UPDATES, "lost-by-rounding"}, "a to b", n, tellable=False)


@scenario
def padded_with_frames_of_the_data(r):
    """Reflection and repetition fill batches with frames that occur: some codes are hit by the same ones every time."""
    t, frames = drawn(r)
    repeated = t.centres[r.sample(range(t.codes), r.choice([1, 3, 6]))]
    draw = t.draw
    t.draw = lambda count: torch.cat([draw(count), repeated.repeat(frames // 8 + 1, 1)])
    for _ in range(r.choice([3, 30])):
        t.step(frames)
    t.mark()
    a, n = t.state(), steps_of(r)
    b = t.run(n, max(20, frames // 8)).state()
    backwards = r.random() < 0.5
    order = "b to a" if backwards else "a to b"
    return Trial(*((b, a) if backwards else (a, b)), {UPDATES}, order, n, tellable=False)


@scenario
def tiny_codebooks(r):
    """From a single code to eight, with huge counts or hardly any."""
    t = Training(r.choice([1, 2, 8]), 4, r.randrange(1 << 30))
    frames = r.choice([2, 50, 20000])
    t.settle(frames)
    a, n = t.state(), r.choice([1, 2, 5, 37])
    b = t.run(n, frames).state()
    backwards = r.random() < 0.5
    order = "b to a" if backwards else "a to b"
    causes = {UPDATES, "last-places"}
    return Trial(*((b, a) if backwards else (a, b)), causes, order, n, tellable=False)


@scenario
def counts_reset_between(r):
    """Somebody sets all counts and sums to one count between two trainings."""
    t, frames = drawn(r)
    a = t.run(r.choice([0, 5]), frames).state()
    t.counts = torch.full((t.codes,), r.choice([1.0, 10.0]))
    t.sums = t.embed * t.counts[:, None]
    b = t.run(steps_of(r), frames).state()
    return Trial(a, b, {UPDATES, EDITED, "dead-codes-replaced"}, "a to b", None, tellable=False)


@scenario
def another_decay_than_the_familys(r):
    t, frames = drawn(r)
    a, n = t.state(), steps_of(r)
    t.decay = r.choice([0.8, 0.9, 0.95, 0.999])
    b = t.run(n, max(20, frames // 8)).state()
    return Trial(a, b, {UPDATES}, "a to b", None, tellable=False, averaged=True)


@scenario
def the_same_recordings_in_larger_or_smaller_batches(r):
    """All counts settle at the frames of a batch, so another batch size changes them all by one factor."""
    t, frames = drawn(r)
    recordings, first, second = t.draw(frames), *r.choice([(1, 2), (2, 1), (1, 3), (4, 3)])
    t.decay = 0.5
    for _ in range(40):
        t.step(frames, drawn=recordings.repeat(first, 1))
    t.decay = DECAY
    if kind := r.choice([None, None, torch.float16]):
        t.round(kind)
    a, n = t.state(), r.choice([1, 2, 3, 5, 10, 40])
    for _ in range(n):
        t.step(frames, drawn=recordings.repeat(second, 1))
    b = t.round(kind).state() if kind else t.state()
    return Trial(a, b, {UPDATES}, "a to b", n, tellable=False)


@scenario
def moving_average_against_raw(r):
    """A file's raw copy and its moving average, either way round, in any width."""
    t, frames = drawn(r)
    few, m = max(20, frames // 8), r.choice([0.9, 0.99, 0.999])
    shadow = t.state()
    for _ in range(r.choice([5, 50])):
        now = t.run(1, few).state()
        shadow = {name: m * shadow[name] + (1 - m) * now[name] for name in shadow}
    dtype = r.choice([torch.float32, torch.float16, torch.bfloat16])
    raw, shadow = cast(t.state(), dtype), cast(shadow, dtype)
    causes = {UPDATES, MERGED, PROJECTION, "lost-by-rounding", "last-places"}
    causes |= {EDITED} if dtype == torch.float32 else set()
    # So slow an average is the first file, but for less than rounding hides.
    averaged = m < 0.999 or dtype == torch.float32
    if r.random() < 0.5:
        return Trial(raw, shadow, causes, "b to a", None, tellable=False, averaged=averaged)
    return Trial(shadow, raw, causes, "a to b", None, tellable=False, averaged=averaged)


@scenario
def partial_files(r):
    """A file lacks sums, counts, or both, as some exports do."""
    _, a, b, n = updated(r)
    lacking = r.choice([(SUMS,), (COUNTS,), (SUMS, COUNTS)])
    side = r.choice([(a,), (b,), (a, b)])
    for state in side:
        for name in lacking:
            state.pop(name, None)
    return Trial(a, b, {UPDATES, EDITED}, "a to b", n, tellable=False)


@scenario
def held_codebook_and_moved_projection(r):
    """A codebook that was held, in a file whose projection was trained, exported or not."""
    t, _ = drawn(r)
    a = t.state()
    b = {name: value.clone() for name, value in a.items()}
    b[WEIGHT] += 1e-3 * torch.randn(b[WEIGHT].shape, generator=t.random)
    if r.random() < 0.5:
        b = {name: value.half() for name, value in b.items()}
    return Trial(a, b, {PROJECTION, "moved-within-a-step", "rounding-only", "lost-by-rounding"})
